"""Ollama's store: a manifest per tag, which names blobs by their digests; the model's blob is a GGUF file.

Source: Ollama's FAQ and its package server/internal/manifest, 2026-02. What is being pulled ends in `-partial`. Models
for its MLX engine are kept tensor by tensor.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from deployfit.errors import DeployfitError
from deployfit.sources.store import Entry, Places

NAME = "Ollama"
MANIFESTS = ("manifests", "manifests-v2", "manifest-v2")
HOSTS = ("registry.ollama.ai", "ollama.com")  # that are not part of a name
LIBRARY = "library"
SYSTEM = "/usr/share/ollama/.ollama/models"  # of the service on Linux
MODEL_LAYER = "application/vnd.ollama.image.model"
TENSOR_LAYER = "application/vnd.ollama.image.tensor"
MOST_MANIFEST = 4_000_000  # bytes; those with a layer per tensor are long

_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")


def roots(places: Places) -> list[str]:
    """Return the folder that the variable names, else the user's and the service's."""
    if named := places.variable("OLLAMA_MODELS"):
        return [named]
    return [places.at_home(".ollama", "models"), SYSTEM]


def entries(root: str) -> Iterator[Entry]:
    """Yield the models of all tags."""
    os.listdir(root)  # which raises OSError if nobody may look
    for name, path in sorted(_manifests(root).items()):
        yield _entry(root, name, path)


def _manifests(root: str) -> dict[str, str]:
    """Return the manifests by name: HOST/NAMESPACE/MODEL/TAG below their folder."""
    found: dict[str, str] = {}
    for folder in MANIFESTS:
        top = os.path.join(root, folder)
        for path, _, files in os.walk(top):
            for file in files:
                parts = os.path.relpath(os.path.join(path, file), top).split(os.sep)
                if len(parts) == 4 and not file.startswith("."):
                    found.setdefault(_name(parts), os.path.join(path, file))
    return found


def _name(parts: list[str]) -> str:
    """Return a tag as Ollama shows it.

    >>> _name(["registry.ollama.ai", "library", "qwen3.5", "27b"]), _name(["hf.co", "unsloth", "m-GGUF", "Q4_K_M"])
    ('qwen3.5:27b', 'hf.co/unsloth/m-GGUF:Q4_K_M')
    """
    *names, tag = parts
    if names[0] in HOSTS:
        del names[0]
        if names[0] == LIBRARY:
            del names[0]
    return f"{'/'.join(names)}:{tag}"


def _entry(root: str, name: str, path: str) -> Entry:
    from deployfit.formats.untrusted import read_object
    from deployfit.sources.local import first_bytes

    try:
        manifest = read_object(first_bytes(path, MOST_MANIFEST), "its manifest")
    except DeployfitError as error:
        return Entry(name, path, 0, f"its manifest cannot be read: {str(error).rpartition(': ')[2]}")
    layers = [layer for layer in _listed(manifest.get("layers")) if isinstance(layer, dict)]
    models = [layer for layer in layers if layer.get("mediaType") == MODEL_LAYER]
    tensors = [layer for layer in layers if str(layer.get("mediaType", "")).startswith(TENSOR_LAYER)]
    if tensors and not models:
        total = sum(_size(layer) for layer in tensors)
        return Entry(name, path, total, f"{len(tensors)} single tensors for Ollama's MLX engine; they are not read")
    if len(models) != 1:
        return Entry(name, path, 0, "no model in its manifest" if not models else "several models in its manifest")
    return _blob(root, name, path, models[0])


def _blob(root: str, name: str, manifest: str, layer: dict[str, Any]) -> Entry:
    digest = _DIGEST.fullmatch(str(layer.get("digest", "")))
    if digest is None:
        return Entry(name, manifest, 0, "its manifest names no blob")
    blobs = os.path.join(root, "blobs")
    expected = _size(layer)
    for form in ("sha256-", "sha256:"):
        path = os.path.join(blobs, form + digest[1])
        if os.path.isfile(path):
            if not os.path.realpath(path).startswith(os.path.realpath(root) + os.sep):
                return Entry(name, path, expected, "a link out of the store; it is not followed")
            size = os.path.getsize(path)
            fault = f"half downloaded: {size:,} of {expected:,} bytes" if expected and size != expected else ""
            return Entry(name, path, size, fault)
    is_partial = os.path.exists(os.path.join(blobs, f"sha256-{digest[1]}-partial"))
    return Entry(name, manifest, expected, "half downloaded" if is_partial else "its blob is missing")


def _size(layer: dict[str, Any]) -> int:
    size = layer.get("size")
    return size if type(size) is int and 0 <= size <= 10**15 else 0


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
