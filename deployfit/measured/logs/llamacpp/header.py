"""What llama.cpp printed of a model: its file, its names, and the numbers of its header."""

from __future__ import annotations

import re

from deployfit.measured.logs.llamacpp.loads import Load
from deployfit.measured.logs.log import LoggedModel
from deployfit.measured.logs.names import file_of, recipe_of, repository_of, said_name

_COUNT = re.compile(r"-?\d{1,12}")


def model_of(load: Load | None, named: LoggedModel) -> LoggedModel:
    """Return what a load says of its model; `named` is what the program around it called the file."""
    if load is None:
        return named._replace(quant=quant_of(named.file))
    keys, header = load.keys, load.header
    architecture = said_name(keys.get("general.architecture", header.get("arch", "")))
    numbers: dict[str, tuple[int, ...]] = {}
    for name, value in header.items():
        counts = _counts(value)
        if counts:
            numbers[name] = counts
    for name, value in keys.items():
        short = name.removeprefix(f"{architecture}.")
        if short != name and _COUNT.fullmatch(value):
            numbers[short] = (int(value),)
    params = re.match(r"(\d{1,9}\.\d{1,4}) ([TBMK])", header.get("model params", ""))
    scale = {"T": 10**12, "B": 10**9, "M": 10**6, "K": 1000}
    file_type = header.get("file type", header.get("model ftype", ""))
    file = file_of(load.path) or named.file
    return LoggedModel(
        file=file,
        repository=repository_of(load.path) or named.repository,
        name=said_name(header.get("general.name", keys.get("general.name", ""))),
        architecture=architecture,
        file_type=file_type if recipe_of(file_type) else "",
        quant=recipe_of(file_type) or quant_of(file),
        params=round(float(params[1]) * scale[params[2]]) if params else 0,
        numbers=numbers,
        types=load.types,
    )


def quant_of(file: str) -> str:
    """Return the recipe in a file's name, "" if there is none.

    >>> quant_of("Qwen3.5-9B-UD-Q4_K_XL.gguf")
    'Q4_K_XL'
    """
    found = re.search(r"(?:UD-)?I?Q\d_(?:K_XL|K_[SML]|K|XXS|XS|NL|S|M|0|1)|BF16|F16|MXFP4", file, re.IGNORECASE)
    return found[0].upper().removeprefix("UD-") if found else ""


def _counts(value: str) -> tuple[int, ...]:
    """Return a header's number, or its list of numbers, one a layer."""
    if value.startswith("[") and value.endswith("]"):
        items = value[1:-1].split(",")
        return tuple(map(int, items)) if all(_COUNT.fullmatch(item.strip()) for item in items) else ()
    return (int(value),) if _COUNT.fullmatch(value) else ()
