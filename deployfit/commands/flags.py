"""What was asked for in the words of the application: its options, its server's environment, its settings."""

from __future__ import annotations

from deployfit import catalogue
from deployfit.apps import FLAGS, Flag
from deployfit.quants import shelf
from deployfit.runtimes.runtime import DraftModel
from deployfit.values import NamedTuple
from deployfit.verdict import Answer, Run

OLLAMA = "ollama"  # whose files are in no repository of the Hub
OPTION, ENVIRONMENT, SETTING, PROGRAM = "option", "environment", "setting", "program"


class Spoken(NamedTuple):
    """What to say, by the way it is said."""

    options: list[str]
    environment: list[str]
    settings: list[str]
    programs: list[str]


def spoken(answer: Answer, *, from_hub: bool) -> Spoken:
    """Return all that was asked for beside model, file and context; `from_hub`: the command fetches the file."""
    run = answer.run
    assert run.app is not None
    own = [row for row in catalogue.rows(FLAGS) if (row.app, row.runtime) == (run.app.name, run.runtime.name)]
    values = _values(run, from_hub=from_hub)
    wanted = _wanted(run, {row.parameter for row in own})
    if _has_tower(answer):
        wanted.add("vision")
    found = Spoken([], [], [], [])
    ways = dict(zip((OPTION, ENVIRONMENT, SETTING, PROGRAM), found, strict=True))
    for name in run.app.options:
        row = _row(own, name, values) if name in wanted else None
        if row is None:
            continue
        needed = _row(own, row.needs, values) if row.needs and row.needs not in wanted else None
        for each in (needed, row):
            if each and (text := each.says.format(value=values[each.parameter], **values)):
                ways[each.how].append(text)
    return found


def _row(own: list[Flag], name: str, values: dict[str, str]) -> Flag | None:
    """Return how a parameter is said: the row of its value, else that of any."""
    of_name = [row for row in own if row.parameter == name]
    exact = [row for row in of_name if row.value == values[name]]
    return next(iter(exact or [row for row in of_name if not row.value]), None)


def _wanted(run: Run, sayable: set[str]) -> set[str]:
    """Return the parameters to say; both halves of a KV type where an application takes each."""
    wanted = {*run.typed}
    if "kv_type" in wanted and "kv_type" not in sayable:
        wanted |= {"kv_type_k", "kv_type_v"}
    if run.options.mtp:
        wanted.add("mtp")
    if "context" in sayable:
        from deployfit.app_context import ollama_slot

        wanted |= {"context"} if _slot(run) != ollama_slot(run) else set()
    return wanted


def _has_tower(answer: Answer) -> bool:
    """Return whether a vision tower is counted, or could be beside the model's file."""
    model = answer.run.model
    if model.blueprint.vision or answer.estimate.bytes_of("vision"):
        return True
    from deployfit.formats.mlx_towers import TOWERS, tower_params

    return tower_params(model.name, model.blueprint.hidden, catalogue.rows(TOWERS)) > 0


def _slot(run: Run) -> int:
    return int(run.settings.context_tokens) // run.runtime.sequences(run.settings)


def _values(run: Run, *, from_hub: bool) -> dict[str, str]:
    """Return what there is to say, by parameter, and what it is said with."""
    settings, model = run.settings, run.model.name
    values = {name: _text(value) for name, value in run.runtime.columns(settings).items()}
    values |= {"context": str(settings.context_tokens), "of_slot": str(_slot(run)), "mtp": _text(run.options.mtp)}
    values["vision"] = _text(run.options.vision)
    values["kv_type"] = values.get("kv_type_k", "")
    if values.get("gpu_layers") == "":
        values["gpu_layers"] = "all"
    values["tower"] = "" if from_hub else f"--mmproj {_quoted(f'mmproj-{model}-F16.gguf')}"
    values["no_tower"] = "--no-mmproj" if from_hub else ""
    if values.get("prompt"):
        values["answer"] = str(max(settings.context_tokens - settings.prompt_tokens, 1))
    if settings.draft_model:
        values["draft_model"] = _file_of(settings.draft_model, is_file=run.runtime.formats[0] == "GGUF")
    return values


def _file_of(model: DraftModel, *, is_file: bool) -> str:
    """Return how a model that drafts is named: its place on the Hub, else a file or a folder that one has made."""
    name = model.name.partition(":")[0]
    owner, _, label = model.weights.recipe.rpartition(":")
    publisher = shelf.publishers().get(owner) if owner != OLLAMA else None
    repo = publisher.row_of(label).repo.format(model=name, recipe=label) if publisher else ""
    if is_file:
        return f"-hfd {repo}:{label}" if repo else f"-md {name}-{label}.gguf"
    return repo or f"{name}-{label}"


def _quoted(name: str) -> str:
    """Return a file's name as a shell takes it: a model may be called as a file of anybody's is."""
    if name.isascii() and name.replace("-", "").replace(".", "").replace("_", "").isalnum():
        return name
    from shlex import quote

    return quote(name)


def _text(value: object) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
