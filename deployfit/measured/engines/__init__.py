"""How measurements about each runtime are worded: a file each, found by its name.

An engine's module says, of a measurement's words:

- `NAME`: the runtime's; `LABEL`: as people write it; `ORDER`: who is asked first whether a text means it
- `is_meant(runtime, model)`: whether the words about runtime and model (both case-folded) mean this one
- `quant_name(text)`: the name of the quant in a text, "" if there is none
- `FIGURE_PARTS`: what of memory it logs; `UNIT`, in which where none is said; `NEEDS_QUANT`, if the quant matters
- `memory_settings(...)`: context and settings of a logged figure, as they would be typed; `run_settings(flags)` those
  of a user's report, `speed_settings()` those of a speed
- `BENCHMARK_PROMPT`: tokens that its benchmark reads in where it says 0; `check_version(text, blueprint)`: raises
  NotJudged for a version whose speed with such a model is not comparable
- `PREFILL_STEP`: how many tokens of a prompt it reads in at once; `PREFILL_TAIL`: whether all layers are computed for
  them, those behind the last cache too
"""
