"""How fast it runs: tokens per second as a roofline, with coefficients fitted to measurements.

Decoding a token reads the weights that are active, the caches, and reads and writes the recurrent state, at a share
of the memory's bandwidth; each layer costs some time of its own; llama.cpp's K and IQ types cost arithmetic besides.
Prefill is arithmetic: two operations per active parameter and token, and attention over what was read before. The
coefficients are in `data/speed_coefficients.csv`; `benchmarks/fit_speed.py` makes them from the measurements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

from deployfit.architectures.qwen35 import Qwen35, text_shapes
from deployfit.basis import Basis
from deployfit.errors import DataError
from deployfit.hardware import Mac, MacRow, find_chip
from deployfit.quants.weights import Weights, is_embedding, is_expert
from deployfit.runtimes.running import Settings
from deployfit.tables import Row, parse_table

GENERATIONS = (1, 2, 3, 4, 5, 6)  # of chips that were measured; a later one is taken for the last
EVERY_RUNTIME = (
    "bandwidth_share",
    "cache_share",
    "dense_layer_us",
    "moe_layer_us",
    "ultra_factor",
    *(f"bandwidth_factor_m{generation}" for generation in GENERATIONS),
    *(f"layer_factor_m{generation}" for generation in GENERATIONS),
    "prefill_share_dense",
    "prefill_share_moe",
    "prefill_share_attention",
    *(f"prefill_factor_m{generation}" for generation in GENERATIONS),
    *(f"decode_{end}{where}" for end in ("low", "high") for where in ("", "_unseen")),
    *(f"prefill_{end}{where}" for end in ("low", "high") for where in ("", "_neural", "_unseen")),
)
ROWS = "rows:"  # of a chip: how many measurements stand behind it

Coefficients = Mapping[str, float]


def parse_coefficients(text: str, place: str) -> dict[str, Coefficients]:
    """Return the coefficients of a CSV text with the columns of `data/speed_coefficients.csv`, by runtime."""

    def parse(row: Row) -> tuple[str, str, float]:
        return row.text("runtime"), row.text("coefficient"), row.decimal("value")

    found: dict[str, dict[str, float]] = {}
    for runtime, name, value in parse_table(text, place, ["runtime", "coefficient", "value"], parse):
        found.setdefault(runtime, {})[name] = value
    faults = [
        f"{place}: {runtime}: no coefficient {name}"
        for runtime, values in found.items()
        for name in EVERY_RUNTIME
        if name not in values
    ]
    if faults:
        raise DataError(faults)
    return dict(found)


class Drafting(NamedTuple):
    """What drafting with the MTP layer was seen to make of the decoding speed, over so many pairs of measurements."""

    low: float
    high: float
    pairs: int


def parse_drafting(text: str, place: str) -> dict[str, Drafting]:
    """Return the range of a CSV text with the columns of `data/mtp_speedups.csv`, by runtime."""

    def parse(row: Row) -> tuple[str, float]:
        return row.text("runtime"), row.decimal("with_tps") / (row.decimal("without_tps") or 1.0)

    found: dict[str, list[float]] = {}
    for runtime, factor in parse_table(text, place, ["runtime", "without_tps", "with_tps"], parse):
        found.setdefault(runtime, []).append(factor)
    return {runtime: Drafting(min(factors), max(factors), len(factors)) for runtime, factors in found.items()}


class Rate(NamedTuple):
    """Tokens per second, with the interval that four of five measurements should fall into."""

    tps: float
    low_tps: float
    high_tps: float


class Speed(NamedTuple):
    """How fast a model runs: decoding at the start and with the whole context, and reading the whole context in."""

    decode: Rate
    decode_full: Rate
    prefill: Rate
    basis: Basis
    note: str  # what the chip's figures rest on
    drafting: Drafting | None  # what MTP drafting makes of `decode`, if it is asked for and was measured


class Work(NamedTuple):
    """What a runtime has to do for one token; `Any` number may be a numpy array, for many at once."""

    read_bytes: Any  # of the weights
    state_bytes: Any  # of the recurrent state, read and written
    kernel_flops: Any  # that unpacking the weights' types costs
    layers: int
    is_moe: bool
    active_params: int
    attention_flops: int  # per token of the context


def active_bytes(config: Qwen35, weights: Weights) -> int:
    """Return the bytes of the weights that decoding one token reads: of the routed experts the active ones.

    The embedding table is read for one row only, unless it is the output head too.

    >>> from deployfit.catalog import models, recipes
    >>> from deployfit.quants.gguf import gguf_weights
    >>> model = models()["Qwen3.5-35B-A3B"]
    >>> active_bytes(model.config, gguf_weights(model, recipes()["Q4_K_M"], imatrix=False, mtp=False))
    1975675392
    """
    read = weights.text_bytes - weights.expert_bytes
    if not config.tie_word_embeddings:
        read -= weights.embedding_bytes
    if config.is_moe:
        read += weights.expert_bytes * config.num_experts_per_tok // config.num_experts
    return read


@lru_cache(maxsize=64)
def active_params(config: Qwen35) -> int:
    """Return the parameters that one token of a prompt is multiplied with: no embedding, no output head.

    >>> from deployfit.catalog import models
    >>> active_params(models()["Qwen3.5-27B"].config)
    24353201664
    """
    total = experts = 0
    for name, shape in text_shapes(config):
        if is_expert(name):
            experts += prod(shape)
        elif not is_embedding(name) and not name.startswith("lm_head."):
            total += prod(shape)
    return total + (experts * config.num_experts_per_tok // config.num_experts if config.is_moe else 0)


def work_of(config: Qwen35, weights: Weights, state_bytes: Any, coefficients: Coefficients) -> Work:
    """Return what one token costs; `state_bytes` are those of one sequence's recurrent state."""
    read = active_bytes(config, weights)
    kernel = kernel_of(weights.recipe)
    return Work(
        read_bytes=read,
        state_bytes=2 * state_bytes,
        kernel_flops=coefficients.get(kernel, 0.0) * read * 8 / weights.bits_per_weight,
        layers=config.num_hidden_layers,
        is_moe=config.is_moe,
        active_params=active_params(config),
        attention_flops=4 * config.num_attention_heads * config.head_dim * config.full_attention_layers,
    )


def kernel_of(recipe: str) -> str:
    """Return which coefficient says what unpacking a recipe's types costs, "" if it costs next to nothing.

    >>> kernel_of("unsloth:UD-Q4_K_XL"), kernel_of("IQ4_NL"), kernel_of("Q8_0")
    ('kernel_k', 'kernel_iq4_nl', '')
    """
    name = recipe.rpartition(":")[2].removeprefix("UD-")
    if name.startswith("IQ4_NL"):
        return "kernel_iq4_nl"
    if name.startswith("IQ"):
        return "kernel_iq"
    return "kernel_k" if "_K" in name else ""


def decode_seconds(chip: MacRow, coefficients: Coefficients, work: Work, cache_bytes: Any) -> Any:
    """Return the seconds that decoding one token takes with so many bytes of KV cache before it."""
    generation = _generation(chip)
    bandwidth = chip.bandwidth_gb_s * 1e9
    share = coefficients["bandwidth_share"] * coefficients[f"bandwidth_factor_m{generation}"]
    per_layer = coefficients["dense_layer_us"] + (coefficients["moe_layer_us"] if work.is_moe else 0)
    per_layer *= coefficients[f"layer_factor_m{generation}"]
    if chip.chip.endswith("Ultra"):
        per_layer *= coefficients["ultra_factor"]
    return (
        (work.read_bytes + work.state_bytes) / (bandwidth * share)
        + cache_bytes / (bandwidth * coefficients["cache_share"])
        + work.layers * per_layer * 1e-6
        + work.kernel_flops / (chip.shader_tflops * 1e12)
    )


def prefill_seconds(chip: MacRow, coefficients: Coefficients, work: Work, prompt_tokens: Any) -> Any:
    """Return the seconds that each token of a prompt takes on average."""
    flops = chip.fp16_tflops * 1e12 * coefficients[f"prefill_factor_m{_generation(chip)}"]
    share = coefficients["prefill_share_moe" if work.is_moe else "prefill_share_dense"]
    attention = work.attention_flops * prompt_tokens / 2
    return 2 * work.active_params / (flops * share) + attention / (flops * coefficients["prefill_share_attention"])


def _generation(chip: MacRow) -> int:
    return min(max(chip.generation, GENERATIONS[0]), GENERATIONS[-1])


class Speeds(NamedTuple):
    """What is known of speed: the coefficients by runtime, and the chips."""

    coefficients: Mapping[str, Coefficients]
    drafting: Mapping[str, Drafting]
    macs: Sequence[MacRow]

    def chip(self, mac: Mac) -> MacRow | None:
        """Return the chip of a Mac, None where its speed is not known."""
        found = find_chip(mac, self.macs)
        return found if found and found.bandwidth_gb_s and found.fp16_tflops else None

    def why_not(self, mac: Mac) -> str:
        """Return why no speed can be said of a Mac, "" if one can."""
        if self.chip(mac):
            return ""
        if not mac.chip:
            return "the chip decides: say it with --mac, such as 'M4 Max 64'"
        return f"bandwidth and arithmetic of the {mac.chip} are not known"

    def speed(
        self, mac: Mac, config: Qwen35, weights: Weights, settings: Settings, *, mtp: bool = False
    ) -> Speed | None:
        """Return how fast a model runs, None where that is not known.

        Of several sequences at once it is the speed of one that runs alone.
        """
        chip = self.chip(mac)
        if chip is None:
            return None
        coefficients = self.coefficients[settings.runtime]
        memory = settings.memory(config)
        work = work_of(config, weights, memory.recurrent_state_bytes // settings.sequences, coefficients)
        cache = memory.kv_cache_bytes // settings.sequences
        unseen = "" if coefficients.get(ROWS + chip.chip) else "_unseen"
        neural = unseen or ("_neural" if chip.neural_accelerators else "")

        def rate(seconds: float, interval: str) -> Rate:
            low, high = (coefficients[interval.format(end)] for end in ("low", "high"))
            return Rate(1 / seconds, low / seconds, high / seconds)

        return Speed(
            decode=rate(decode_seconds(chip, coefficients, work, 0), "decode_{}" + unseen),
            decode_full=rate(decode_seconds(chip, coefficients, work, cache), "decode_{}" + unseen),
            prefill=rate(prefill_seconds(chip, coefficients, work, settings.context_tokens), "prefill_{}" + neural),
            basis=Basis.ASSUMED if unseen else Basis.DERIVED,
            note=self._note(chip, coefficients, settings.runtime),
            drafting=self.drafting.get(settings.runtime) if mtp else None,
        )

    def _note(self, chip: MacRow, coefficients: Coefficients, runtime: str) -> str:
        rows = int(coefficients.get(ROWS + chip.chip, 0))
        if rows:
            counted = "1 measurement" if rows == 1 else f"{rows} measurements"
            return f"{counted} of {runtime} on an {chip.chip} {'is' if rows == 1 else 'are'} among them"
        return (
            f"no measurement of {runtime} on an {chip.chip}: from its bandwidth of {chip.bandwidth_gb_s} GB/s, and what"
            f" other chips make of theirs; the interval is that of a chip left out of the fit"
        )


NO_SPEEDS = Speeds({}, {}, ())
