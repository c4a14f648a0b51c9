"""References to repositories and files, as sites, engines and stores write them: owner, name, tag, file."""

from __future__ import annotations

import re

from deployfit.errors import InputError, quoted
from deployfit.values import NamedTuple
from deployfit.words.text import LONGEST, cleaned

HUB = "hub"
OLLAMA = "ollama"
LM_STUDIO = "lmstudio"

HOSTS = {
    **dict.fromkeys(("huggingface.co", "hf.co", "hf-mirror.com", "modelscope.cn"), HUB),
    **dict.fromkeys(("ollama.com", "ollama.ai", "registry.ollama.ai"), OLLAMA),
    "lmstudio.ai": LM_STUDIO,
}
OLLAMA_LIBRARY = "library"  # the owner of what Ollama itself publishes

_NOT_MODELS = ("datasets", "spaces", "collections", "papers", "docs", "blog", "organizations")
_FILES = (".gguf", ".safetensors")
_IN_REVISION = ("tree", "blob", "resolve", "raw")  # of the Hub's addresses: /blob/main/FILE
_LOCAL = ("/", "./", "../", "~", ".\\", "..\\")


class Reference(NamedTuple):
    """What a text refers to; "" for what it does not say.

    `host` is the site, where the text names one. `name` is the repository's, or all there is. `tag` stands behind the
    colon: a recipe, a size, a revision. `file` is a file's name without its folders, or the last folder.
    """

    host: str = ""
    owner: str = ""
    name: str = ""
    tag: str = ""
    file: str = ""

    @property
    def repository(self) -> str:
        """Owner and name as the Hub has them, "" without an owner.

        >>> reference("hf.co/unsloth/Qwen3.5-9B-GGUF:Q8_0").repository
        'unsloth/Qwen3.5-9B-GGUF'
        """
        return f"{self.owner}/{self.name}" if self.owner and self.host != OLLAMA else ""


def reference(text: str) -> Reference:
    """Return what a text refers to; raise InputError for the address of something that is no model.

    >>> reference("https://huggingface.co/unsloth/Qwen3.5-27B-GGUF/blob/main/Qwen3.5-27B-Q4_K_M.gguf")
    Reference(host='hub', owner='unsloth', name='Qwen3.5-27B-GGUF', tag='', file='Qwen3.5-27B-Q4_K_M.gguf')
    >>> reference("https://ollama.com/library/qwen3.5:27b")
    Reference(host='ollama', owner='', name='qwen3.5', tag='27b', file='')
    """
    typed = cleaned(text)
    if len(typed) > LONGEST or not typed.isprintable():
        raise InputError(f"expected the name of a model, got {quoted(text)}")
    if typed.startswith(_LOCAL) or "\\" in typed:
        return Reference(file=re.split(r"[/\\]", typed.rstrip("/\\"))[-1])
    scheme, mark, rest = typed.partition("://")
    address = rest if mark else typed
    host, _, path = address.partition("/")
    site = HOSTS.get(host.casefold().removeprefix("www."))
    if mark and scheme.casefold() == "hf":
        return _on_hub(address)
    if site is None and mark:
        raise InputError(f"{quoted(text)} is no address of the Hub or of Ollama")
    if site is None:
        return _plain(typed)
    if "%" in path:
        from urllib.parse import unquote

        path = unquote(path)
    path = re.split(r"[?#]", path)[0].strip("/")
    if site == HUB:
        return _on_hub(path)
    parts = [part for part in path.split("/") if part not in ("models", "model")]
    if site == OLLAMA:
        return _of_ollama(parts)
    return _tagged(Reference(LM_STUDIO, parts[0] if len(parts) > 1 else "", parts[min(1, len(parts) - 1)]))


def _on_hub(path: str) -> Reference:
    parts = path.split("/")
    if parts[0] == "api":
        parts = parts[1:]
    if parts[0] == "models":
        parts = parts[1:]
    if not parts or parts[0] in _NOT_MODELS:
        raise InputError(f"{quoted(path)} is no model's address; expected OWNER/NAME on the Hub")
    if len(parts) == 1:
        return _tagged(Reference(HUB, "", parts[0]))
    inside = parts[4:] if len(parts) > 3 and parts[2] in _IN_REVISION else []
    return _tagged(Reference(HUB, parts[0], parts[1], file=inside[-1] if inside else ""))


def _of_ollama(parts: list[str]) -> Reference:
    """Return a model of Ollama's; pages under it, such as its tags, mean the model."""
    if parts and parts[0].casefold() == OLLAMA_LIBRARY:
        return _tagged(Reference(OLLAMA, "", parts[1] if len(parts) > 1 else ""))
    owner = parts[0] if len(parts) > 1 and parts[1] not in ("tags", "blobs") else ""
    return _tagged(Reference(OLLAMA, owner, parts[1] if owner else parts[0]))


def _plain(typed: str) -> Reference:
    """Return what a text without an address refers to: NAME, OWNER/NAME, OWNER/NAME/FILE, NAME:TAG, FILE."""
    if typed.startswith("models--"):  # a folder of the Hub's cache
        typed = typed.removeprefix("models--").replace("--", "/")
    parts = [part for part in typed.split("/") if part]
    if not parts:
        return Reference()
    if parts[0].casefold() in (OLLAMA_LIBRARY, OLLAMA) and len(parts) > 1:
        return _of_ollama(parts[1:])
    last = parts[-1]
    if last.casefold().endswith(_FILES) and len(parts) < 3:
        whole, _, inside = last.partition(":")
        return (
            Reference(owner=parts[0], name=whole, file=inside) if inside and len(parts) == 2 else Reference(file=last)
        )
    if len(parts) == 1:
        return _tagged(Reference(name=last))
    return _tagged(Reference("", parts[0], parts[1], file=last if len(parts) > 2 else ""))


def _tagged(found: Reference) -> Reference:
    """Return a reference with what stands behind a colon, or behind LM Studio's @, taken off its name."""
    name, _, tag = re.sub("@", ":", found.name, count=1).partition(":")
    if tag.casefold().endswith(_FILES):
        return found._replace(name=name, file=tag)
    return found._replace(name=name, tag=tag)
