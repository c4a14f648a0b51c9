"""The next step: the command that starts what was asked about, and where the file is."""

from __future__ import annotations

from collections.abc import Sequence

from deployfit import catalogue
from deployfit.commands.flags import OLLAMA
from deployfit.quants import shelf
from deployfit.values import NamedTuple
from deployfit.verdict import Answer

ON_THE_HUB = "hub:"
HUB = "https://huggingface.co/"
LIBRARY = "https://ollama.com/library/"


class NextStep(NamedTuple):
    """A command, and the page of the file, "" where it is nobody's.

    `server`: what starts the server that the command asks, "" where any will do. `settings`: what no command says.
    """

    command: str
    address: str
    server: str = ""
    settings: Sequence[str] = ()


def next_step(answer: Answer) -> NextStep | None:
    """Return what to type next; None where the application cannot be told by a command.

    >>> from deployfit import fit
    >>> next_step(fit("Qwen3.5-27B", "unsloth:Q4_K_M", mac=32, app="llama-server", context="32k")[0]).command
    'llama-server -hf unsloth/Qwen3.5-27B-GGUF:Q4_K_M -c 32768 --no-mmproj'
    """
    run = answer.run
    if run.app is None:
        return None
    if answer.quant.publisher == OLLAMA and "{ollama}" not in run.app.command:
        tag = _ollama_tag(run.model.name, answer.weights.recipe.rpartition(":")[2])
        return NextStep(f"ollama run {tag}", f"{LIBRARY}{tag}") if tag else None
    step = _of_file(answer) if "/" in answer.quant.name else _of_model(answer)
    return step and _with_options(answer, step)


def _of_model(answer: Answer) -> NextStep | None:
    run = answer.run
    assert run.app is not None
    recipe = answer.weights.recipe.rpartition(":")[2] if answer.quant.publisher else answer.quant.name
    repo = repository_of(answer, recipe)
    tag = _ollama_tag(run.model.name, recipe) if "{ollama}" in run.app.command else ""
    local = f"{run.model.name}-{recipe}" + (".gguf" if run.runtime.formats[0] == "GGUF" else "")
    command = run.app.command
    if repo and "{ollama}" in command:
        tag = f"hf.co/{repo}:{recipe}"  # Ollama takes GGUF repositories of the Hub as they are
    if "{ollama}" in command and not tag:
        return None
    if not repo:
        command = command.replace("-hf {repo}:{recipe}", "-m {repo}")
    text = command.format(
        repo=repo or local, recipe=recipe, context=run.settings.context_tokens, ollama=tag, model=run.model.name
    )
    address = f"{HUB}{repo}" if repo else f"{LIBRARY}{tag}" if "{ollama}" in run.app.command else ""
    return NextStep(text, address)


def _with_options(answer: Answer, step: NextStep) -> NextStep:
    """Return the command with all that was asked for."""
    from deployfit.commands.flags import spoken

    said = spoken(answer, from_hub=" -hf " in step.command)
    command, server = " ".join([step.command, *said.options]), ""
    for program in said.programs:
        command = f"{program} {command.partition(' ')[2]}"
    if said.environment:
        server = f"{' '.join(said.environment)} {command.partition(' ')[0]} serve"
    return step._replace(command=command, server=server, settings=said.settings)


def _of_file(answer: Answer) -> NextStep | None:
    """Return the command for a file that was looked into, on the Hub or here; its name is place and file.

    `hub:OWNER/NAME/FILE`, or a path.
    """
    from shlex import quote

    run, name = answer.run, answer.quant.name
    command = run.app.command if run.app else ""
    if not name.startswith(ON_THE_HUB):
        if "{ollama}" in command or "lms " in command:
            return None  # they run what is in their own stores
        place = name if run.runtime.formats[0] == answer.quant.format == "GGUF" else name.rpartition("/")[0]
        text = command.replace("-hf {repo}:{recipe}", "-m {repo}")
        return NextStep(text.format(repo=quote(place), context=run.settings.context_tokens, model=run.model.name), "")
    owner, repository, *rest = name.removeprefix(ON_THE_HUB).split("/")
    repo = f"{owner}/{repository}"
    text = command.replace("-hf {repo}:{recipe}", f"-hf {{repo}} -hff {quote('/'.join(rest))}")
    text = text.format(repo=repo, context=run.settings.context_tokens, ollama=f"hf.co/{repo}", model=run.model.name)
    return NextStep(text, f"{HUB}{repo}")


def repository_of(answer: Answer, recipe: str) -> str:
    """Return the repository of a publisher's file, "" for what is nobody's or no repository of the Hub."""
    if answer.quant.publisher in ("", OLLAMA) or answer.quant.publisher not in shelf.publishers():
        return ""
    publisher = shelf.publishers()[answer.quant.publisher]
    seen = publisher.best_size(recipe, answer.run.model.name)
    row = publisher.row_of(recipe)
    return seen.repo if seen else row.repo.format(model=answer.run.model.name, recipe=recipe)


def _ollama_tag(model: str, recipe: str) -> str:
    """Return the name of Ollama's library for a model's file, "" where none is known; another file's is none."""
    from deployfit.words.aliases import ALIASES

    rows = [row for row in catalogue.rows(ALIASES) if (row.kind, row.model) == (OLLAMA, model)]
    exact = [row.name for row in rows if row.quant == recipe and "latest" not in row.name]
    return min(exact or [row.name for row in rows if not row.quant], key=len, default="")
