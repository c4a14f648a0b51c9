"""The programs whose logs are read: a file each, found by its name.

A program's module says which lines it wants, and reads them:

- `WORDS`: what stands before a line's first colon (`llama_context` of "0.01.2 I llama_context: n_ctx = 4096")
- `STARTS`, `MARKS`: how other lines of its begin, or what stands anywhere in them
- `ORDER`: 0 for an engine, more for an application that starts one and whose lines stand around the engine's
- `read(lines)`: returns the `EngineLog` of the lines that it asked for, None if they are not its own
"""
