"""`hub:OWNER/NAME`, `hub:OWNER/NAME:FILE`, and addresses of the Hub as they are copied."""

from __future__ import annotations

import re
from urllib.parse import unquote

from deployfit.errors import InputError, quoted
from deployfit.sources.opened import How, Opened
from deployfit.values import NamedTuple

PREFIX = "hub:"
_ADDRESS = re.compile(
    r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co|hf-mirror\.com)/(?P<path>[^?#]*)", re.IGNORECASE
)
_FILE_VIEWS = ("blob", "resolve", "raw", "tree")
FILES = (".gguf", ".safetensors")
SECTIONS = ("datasets", "spaces", "docs", "papers", "collections", "models", "blog", "api")


class Named(NamedTuple):
    """What a text names: a repository, a revision and a file or pattern; None where it says nothing."""

    repo_id: str
    revision: str | None = None
    file: str | None = None


def takes(text: str) -> bool:
    """Return whether the text is for this kind.

    >>> takes("hub:unsloth/Qwen3.5-27B-GGUF"), takes("hf.co/unsloth/Qwen3.5-9B-GGUF:Q8_0"), takes("Qwen/Qwen3.5-27B")
    (True, True, False)
    """
    return text.startswith(PREFIX) or _ADDRESS.match(text.strip()) is not None


def read(text: str) -> Named:
    """Return what a text names.

    >>> read("hub:unsloth/Qwen3.5-27B-GGUF:Q4_K_M")
    Named(repo_id='unsloth/Qwen3.5-27B-GGUF', revision=None, file='Q4_K_M')
    >>> read("https://huggingface.co/unsloth/Qwen3.5-27B-GGUF/blob/main/BF16/a%20b.gguf?download=true")
    Named(repo_id='unsloth/Qwen3.5-27B-GGUF', revision='main', file='BF16/a b.gguf')
    """
    match = _ADDRESS.match(text.removeprefix(PREFIX).strip())
    path = unquote(match["path"]) if match else text.removeprefix(PREFIX).strip()
    path, _, file = path.partition(":")
    owner, _, rest = path.strip("/").partition("/")
    name, _, rest = rest.partition("/")
    if match and owner in SECTIONS:
        raise InputError(f"{quoted(text)}: not a model's page; give hub:OWNER/NAME")
    repo_id = f"{owner}/{name}" if name else owner
    view, _, within = rest.partition("/")
    if view in _FILE_VIEWS:
        revision, _, named = within.partition("/")
        folder = f"{named}/*" if view == "tree" and named else named
        return Named(repo_id, revision or None, file or folder or None)
    if rest.lower().endswith(FILES):  # hub:OWNER/NAME/FILE, as answers call it
        return Named(repo_id, None, rest)
    return Named(f"{repo_id}/{rest}" if rest else repo_id, None, file or None)


def open_model(text: str, how: How) -> Opened:
    """Return the model of a repository's file."""
    from deployfit.sources.hub.model import open_repository

    named = read(text)
    revision = how.revision if how.revision is not None else named.revision
    pattern = how.pattern if how.pattern is not None else named.file
    return open_repository(named.repo_id, how._replace(revision=revision, pattern=pattern))
