"""Finding the architecture of a configuration by its name.

`model_type` names the module. Relatives that are read by another's module are rows of `data/architectures.csv`, as is
what llama.cpp and MLX call and do with an architecture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from deployfit.architectures.numbers import Numbers
from deployfit.errors import DataError, InputError, quoted
from deployfit.layers.blueprint import Blueprint
from deployfit.tables import Row, Table
from deployfit.values import NamedTuple

if TYPE_CHECKING:
    from deployfit.architectures.gguf_numbers import Scalar, Shapes


class ArchitectureRow(NamedTuple):
    """A row of `data/architectures.csv`.

    `module` reads it. `gguf` is llama.cpp's name. `tools` of MLX load it. What MLX's converter makes of its matrices,
    by role: `eight_bit` ones keep 8 bits whatever is asked for, `unquantized` ones are no module that is quantized,
    `float32` ones keep that type, those with `?` behind them if the checkpoint has it.
    """

    model_type: str
    module: str
    gguf: str
    tools: tuple[str, ...]
    eight_bit: tuple[str, ...]
    unquantized: tuple[str, ...]
    float32: tuple[str, ...]


COLUMNS = ["model_type", "module", "gguf", "tools", "eight_bit", "unquantized", "float32"]


def _architecture(row: Row) -> ArchitectureRow:
    lists = [tuple(row.text(column, blank=True).split()) for column in COLUMNS[3:]]
    name = row.text("model_type")
    return ArchitectureRow(name, row.text("module", blank=True) or name, row.text("gguf", blank=True), *lists)


ARCHITECTURES = Table("architectures.csv", COLUMNS, _architecture)


def read_blueprint(config: Mapping[str, Any], place: str, rows: Mapping[str, ArchitectureRow]) -> Blueprint:
    """Return the blueprint that a `config.json` describes; raise DataError with every fault found in it.

    Text and vision may be sections of their own (`text_config`, `vision_config`), or the text's numbers may stand at
    the top, as in a model without vision. A text section of an architecture of its own is read by that one.
    """
    faults: list[str] = []
    top = Numbers(config, f"{place}: ", faults)
    text = top.section("text_config") or top
    model_type = top.text("model_type") or text.text("model_type")
    if faults:
        raise DataError(faults)
    if not model_type:
        raise InputError(f"{place}: no model_type in it, so its architecture is not known")
    name = _known(model_type, rows)
    if name is None:
        raise InputError(unknown_architecture(place, "model_type", model_type))
    name = _known(text.text("model_type"), rows) or name
    return _read(name, text, top, rows.get(name))


def blueprint_of_gguf(
    metadata: Mapping[str, Scalar],
    arrays: Mapping[str, Sequence[Scalar]],
    shapes: Shapes,
    place: str,
    rows: Mapping[str, ArchitectureRow],
) -> Blueprint:
    """Return the text model's blueprint that a GGUF file's header describes; raise DataError with every fault in it.

    `arrays` are the lists among the key-values that have an entry per layer, `shapes` those of the tensors, the row
    length first. Raise InputError if nobody wrote the architecture.
    """
    from deployfit.architectures.gguf_numbers import GgufNumbers  # what an answer about the catalogue does not need

    given = metadata.get("general.architecture")
    # a dense relative's name is that of the mixture of experts without its ending (Nemotron-H)
    alike = (row for row in rows.values() if given and given in (row.gguf, row.gguf.removesuffix("_moe")))
    row = next(alike, None)
    if row is None:
        raise InputError(unknown_architecture(place, "general.architecture", given))
    numbers = GgufNumbers(metadata, arrays, shapes, f"{place}: ", [])
    if numbers.value("vocab_size") is None:
        numbers.faults.append(f"{place}: no token_embd.weight of two dimensions in it")
    return _read(row.model_type, numbers, numbers, row)._replace(gguf_architecture=str(given))


def _known(model_type: str, rows: Mapping[str, ArchitectureRow]) -> str | None:
    """Return the name under which an architecture is known; that of a text section may have `_text` behind it."""
    names = (model_type, model_type.removesuffix("_text"))
    return next((name for name in names if name in rows), None) or next(filter(_has_module, names), None)


def _has_module(name: str) -> bool:
    from importlib.util import find_spec  # only a name without a row needs it

    return name.isascii() and name.isidentifier() and find_spec(f"{__package__}.{name}") is not None


def _read(name: str, text: Numbers, top: Numbers, row: ArchitectureRow | None) -> Blueprint:
    """Return the blueprint that an architecture makes of these numbers; raise DataError with every fault found."""
    module = import_module(f"{__package__}.{row.module if row else name}")
    if not hasattr(module, "blueprint"):  # what architectures share
        raise InputError(unknown_architecture(top.place.removesuffix(": "), "model_type", name))
    blueprint: Blueprint = module.blueprint(text, top)
    if not top.faults:
        top.faults += [top.place + fault for fault in blueprint.contradictions()]
    if top.faults:
        raise DataError(top.faults)
    named = blueprint.gguf_architecture or (row.gguf if row else "")
    return blueprint._replace(model_type=name, gguf_architecture=named)


def unknown_architecture(place: str, key: str, name: object) -> str:
    """Return the sentence that says that nobody wrote an architecture yet."""
    return f"{place}: {key} {quoted(name)} is an architecture that deployfit does not know"
