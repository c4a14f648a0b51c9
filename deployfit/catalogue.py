"""The data files: rows of the tables in `data/`, and the models of the catalogue.

It imports no domain but models and architectures; whoever needs rows declares their table, and asks here for them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, TypeVar, cast

from deployfit.architectures.registry import ARCHITECTURES, ArchitectureRow, read_blueprint
from deployfit.errors import DataError, InputError, quoted
from deployfit.kept import OnDemand
from deployfit.layers.blueprint import Blueprint
from deployfit.models import MODELS, Model, ModelRow, check_countable, own_model
from deployfit.parameters import param
from deployfit.tables import Row, Table

T = TypeVar("T")
MOST_CATALOG_BYTES = 4 * 2**20  # a config.json has some 2 kB; as JSON they may take 25 times as much memory
MOST_CATALOG_LAYERS = 10_000  # twice as many as data/models.csv has


@cache
def _folder() -> str:
    """Return the folder of the data: `deployfit.data` once installed, `data/` beside the package in a checkout.

    importlib.resources would do the same for a zip file too, for 20 ms of a 70 ms answer.
    """
    try:
        import deployfit.data as package
    except ModuleNotFoundError:
        return os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data")
    return os.path.dirname(package.__file__ or "")


def data_text(name: str) -> str:
    """Return a data file's text."""
    with open(os.path.join(_folder(), name), encoding="utf-8") as file:
        return file.read()


_read: dict[tuple[str, Callable[[Row], Any]], list[Any]] = {}


def rows(table: Table[T]) -> list[T]:
    """Return the rows of a table in `data/`, read once.

    >>> rows(MODELS)[0].name
    'Qwen3.5-397B-A17B'
    """
    key = (table.file, table.parse)
    if key not in _read:
        _read[key] = table.rows(data_text(table.file), f"data/{table.file}")
    return _read[key]


def rows_by(table: Table[T], column: str) -> dict[str, list[Row]]:
    """Return the rows of a table in `data/` by their text in a column, to be parsed when they are needed."""
    return table.by(column, data_text(table.file), f"data/{table.file}")


@cache
def architectures() -> dict[str, ArchitectureRow]:
    """Return what is known of architectures by `model_type`."""
    return {row.model_type: row for row in rows(ARCHITECTURES)}


class Catalogue(OnDemand[Model]):
    """The models by name, in the order of the table; each configuration is read when its model is asked for.

    `rows` are what is known beside the configurations.
    """

    def __init__(self, unread: Mapping[str, list[Row]]) -> None:
        twice = sorted(name for name, known in unread.items() if len(known) > 1)
        if twice:
            raise DataError([f"data/models.csv: model {quoted(name)} is defined twice" for name in twice])
        self.rows: Mapping[str, ModelRow] = OnDemand(unread, lambda name: MODELS.parsed(unread[name])[0])
        super().__init__(unread, lambda name: Model(_published(name), self.rows[name]))


def _published(name: str) -> Blueprint:
    file = f"configs/{name}.json"
    return _own_blueprint(data_text(file), f"data/{file}")


@cache
def models() -> Catalogue:
    """Return the catalogue.

    >>> len(models()["Qwen3.5-27B"].blueprint.attentions)
    16
    """
    return Catalogue(rows_by(MODELS, "model"))


def load_models(path: str, wanted: str) -> dict[str, Model]:
    """Return the models of a user's file: a config.json, several by name in one object, or a CSV like data/models.csv.

    A config.json does not say its model's name; it goes by the wanted one, else by that of its folder. The
    configurations that a CSV names lie in `configs/` beside it.
    """
    file = os.path.basename(path)
    text = _file_text(path, f"{param('catalog')} {quoted(path)}")
    if _is_json(file, text):
        listed = _json_models(text, file, wanted or os.path.basename(os.path.dirname(os.path.abspath(path))) or file)
    else:
        known = MODELS.rows(text, file)
        folder = os.path.dirname(path)
        listed = (Model(_listed_blueprint(row.name, folder, file), row) for row in known)
    found, layers = [], 0
    for model in listed:
        found.append(model)
        layers += len(model.blueprint.layers)
        if layers > MOST_CATALOG_LAYERS:
            raise DataError([f"{file}: its models have more than {MOST_CATALOG_LAYERS:,} layers; give fewer at once"])
    named = {model.name: model for model in found}
    twice = [model.name for model in found if named[model.name] is not model]
    faults = [f"{file}: model {quoted(name)} is defined twice" for name in dict.fromkeys(twice)]
    faults += [f"{file}: {model.name}: {fault}" for model in found for fault in model.faults()]
    if faults:
        raise DataError(faults)
    return named


def own_config(path: str, name: str) -> Mapping[str, Any]:
    """Return the config.json of one of a user's own models, from a file that `load_models` has read."""
    file = os.path.basename(path)
    text = _file_text(path, f"{param('catalog')} {quoted(path)}")
    if not _is_json(file, text):
        return _parsed(_listed_config(name, os.path.dirname(path), file), f"{name}.json")
    content = _parsed(text, file)
    config = content if _is_config(content) else content[name]
    return cast("Mapping[str, Any]", config)


def _is_json(file: str, text: str) -> bool:
    return file.lower().endswith(".json") or text.lstrip().startswith("{")


def _is_config(content: Mapping[str, Any]) -> bool:
    """Return whether an object is one model's configuration, and not several by name."""
    return "model_type" in content or "text_config" in content


def _listed_blueprint(name: str, folder: str, file: str) -> Blueprint:
    """Return the blueprint of a model that a user's CSV lists."""
    blueprint = _own_blueprint(_listed_config(name, folder, file), f"{name}.json")
    check_countable(blueprint, f"{name}.json")
    return blueprint


def _listed_config(name: str, folder: str, file: str) -> str:
    if os.path.basename(name) != name or name.startswith("."):
        raise DataError([f"{file}: model: {quoted(name)} is no name of a file in configs/"])
    config = f"configs/{name}.json"
    return _file_text(os.path.join(folder, config), f"{file}: {quoted(config)}")


def _file_text(path: str, what: str) -> str:
    wanted = "give a config.json, or a CSV like data/models.csv with configs/ beside it"
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise InputError(f"{what}: not a file; {wanted}")
        with open(path, encoding="utf-8-sig") as opened:
            text = opened.read(MOST_CATALOG_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise InputError(f"{what}: {reason}; {wanted}") from None
    if len(text) > MOST_CATALOG_BYTES:
        raise InputError(f"{what}: more than 4 MiB; {wanted}")
    return text


def _parsed(text: str, place: str) -> dict[str, Any]:
    import json

    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError([f"{place}: not JSON: {quoted(error)}"]) from None
    if not isinstance(content, dict):
        raise DataError([f"{place}: expected a config.json, got {quoted(type(content).__name__)}"])
    return content


def _own_blueprint(text: str, place: str) -> Blueprint:
    return read_blueprint(_parsed(text, place), place, architectures())


def _json_models(text: str, place: str, wanted: str) -> Iterable[Model]:
    content = _parsed(text, place)
    if _is_config(content):
        if not wanted.isprintable() or not wanted.strip():
            raise InputError(f"expected the name of a model, got {quoted(wanted)}")
        return [own_model(wanted, read_blueprint(content, place, architectures()), place)]
    if not all(isinstance(config, dict) for config in content.values()):
        raise DataError([f"{place}: expected a config.json, or an object of such objects by model name"])
    odd = [f"{place}: expected a printable name, got {quoted(name)}" for name in content if not name.isprintable()]
    if odd or not content:
        raise DataError(odd or [f"{place}: no model in it; expected a config.json"])
    return (
        own_model(name, read_blueprint(config, f"{place}: {quoted(name)}", architectures()), place)
        for name, config in content.items()
    )
