"""A path of this machine: a model file, one of its shards, a folder of a model, a config.json."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from deployfit.errors import InputError, quoted
from deployfit.parameters import param

if TYPE_CHECKING:
    from deployfit.sources.opened import How, Opened

SUFFIXES = (".gguf", ".safetensors", ".json")
STARTS = ("./", "../", "/", "~")


def takes(text: str) -> bool:
    """Return whether the text is for this kind: it looks like a path, or is one of a model's file.

    >>> takes("./model.gguf"), takes("/models/m"), takes("Qwen3.5-27B"), takes(".")
    (True, True, False, True)
    """
    if text.startswith(STARTS) or text in (".", ".."):
        return True
    return (os.sep in text and os.path.exists(text)) or (text.lower().endswith(SUFFIXES) and os.path.isfile(text))


def open_model(text: str, how: How) -> Opened:
    """Return the model of a file or a folder; raise InputError for what is none."""
    from deployfit.formats.gguf_reader import MAGIC
    from deployfit.repository import GGUF, MODEL, READ, FileGroup, format_of, group_files
    from deployfit.sources.local import beside, first_bytes, folder_of
    from deployfit.sources.local_config import open_config
    from deployfit.sources.model_file import open_group, open_listing

    path = os.path.expanduser(text)
    if how.revision is not None:
        raise InputError(f"{quoted(text)} is on this machine; leave out {param('revision')}")
    if os.path.isdir(path):
        listing = folder_of(path)
        config = os.path.join(text, "config.json")
        if not group_files(listing.files) and os.path.isfile(os.path.expanduser(config)):
            raise InputError(f"{quoted(text)}: no model file in it; for recipes of such a model give {quoted(config)}")
        return open_listing(listing, how)
    if how.pattern is not None:
        raise InputError(f"{quoted(text)} is no folder; leave out {param('file')}")
    if not os.path.exists(path):
        raise InputError(f"{quoted(text)}: no such file or folder")
    if first_bytes(path, len(MAGIC)) != MAGIC and format_of(path) not in READ:
        return open_config(path)
    listing = beside(path)
    name = os.path.basename(path)
    groups = group_files(listing.files)
    group = next((group for group in groups if any(file.name == name for file in group.files)), None)
    if group is None:  # a GGUF file without its ending, as Ollama keeps them
        group = FileGroup(name, GGUF, MODEL, tuple(file for file in listing.files if file.name == name), 0)
    return open_group(listing, groups, group, how)
