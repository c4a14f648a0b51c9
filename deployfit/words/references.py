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
    **dict.fromkeys(("lmstudio.ai", "model.lmstudio.ai"), LM_STUDIO),
}
OLLAMA_LIBRARY = "library"  # the owner of what Ollama itself publishes
_PAGES_OF_OLLAMA = ("tags", "blobs")

_NOT_MODELS = ("datasets", "spaces", "collections", "papers", "docs", "blog", "organizations")
_FILES = (".gguf", ".safetensors")
_IN_REVISION = ("tree", "blob", "resolve", "raw")  # of the Hub's addresses: /blob/main/FILE
_LOCAL = ("/", "./", "../", "~", ".\\", "..\\")
_CACHED = "models--"  # of the Hub's cache: models--OWNER--NAME
_SHOWN_FILE = "show_file_info="  # in the address of a repository's page, where a file on it was clicked
# The commands by which a model is started or fetched, with nothing else in them, and those that have more.
_COMMAND = (
    r"(?:\$ )?(?:(?P<ollama>ollama) (?:run|pull|show)|lms (?:get|load)|(?:hf|huggingface-cli) download"
    r"|docker model (?:run|pull)|(?:\./)?llama-[a-z]+ (?:-hfr?|--hf-repo)|(?:python3? -m )?mlx_v?lm[. ][a-z]+ --model)"
    r" (?P<name>\S+)(?: (?P<file>\S+\.gguf))?(?P<more> .*)?"
)
_PROGRAMS = ("$", "ollama", "lms", "hf", "huggingface-cli", "docker", "llama-", "./llama-", "python", "mlx_")


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


def is_path(text: str) -> bool:
    """Return whether a text is the path of a file or folder here, whatever it is called."""
    typed = cleaned(text)
    return typed.startswith(_LOCAL) or "\\" in typed


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
    if " " in typed and typed.casefold().startswith(_PROGRAMS) and (command := re.fullmatch(_COMMAND, typed, re.I)):
        return _of_command(text, command)
    return _referred(text, typed)


def _of_command(text: str, command: re.Match[str]) -> Reference:
    """Return what a command starts or fetches; its other words say what an option does here, and are not read."""
    if command["more"]:
        raise InputError(f"{quoted(text)} is a whole command; name the model in it: {quoted(command['name'])}")
    found = _referred(text, command["name"])
    if command["ollama"] and not (found.host or found.owner):
        found = found._replace(host=OLLAMA)
    return found._replace(file=command["file"]) if command["file"] else found


def _referred(text: str, typed: str) -> Reference:
    if is_path(typed):
        parts = re.split(r"[/\\]", typed.rstrip("/\\"))
        return _plain(parts[-1]) if parts[-1].startswith(_CACHED) else Reference(file=parts[-1])
    scheme, mark, rest = typed.partition("://")
    address = rest if mark else typed
    host, _, path = address.partition("/")
    site = HOSTS.get(host.casefold().removeprefix("www."))
    if mark and scheme.casefold() == "hf":
        return _on_hub(address)
    if mark and scheme.casefold() == "lmstudio":  # as the Hub's button opens LM Studio
        return _on_hub(rest.partition("model=")[2].partition("&")[0])
    if site is None and mark:
        raise InputError(f"{quoted(text)} is no address of the Hub or of Ollama")
    if site is None:
        return _plain(typed)
    if "%" in path:
        from urllib.parse import unquote

        path = unquote(path)
    path, _, query = path.partition("?")
    path = path.partition("#")[0].strip("/")
    if site == HUB:
        found = _on_hub(path)
        shown = next((part for part in query.split("&") if part.startswith(_SHOWN_FILE)), "")
        return found._replace(file=shown.removeprefix(_SHOWN_FILE).rpartition("/")[2]) if shown else found
    parts = [part for part in path.split("/") if part not in ("models", "model", "download")]
    if site == OLLAMA:
        return _of_ollama([part for part in parts if part not in ("v2", "manifests")])
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
    whose = parts[0] if len(parts) > 1 and parts[1] not in _PAGES_OF_OLLAMA else OLLAMA_LIBRARY
    name, *rest = parts[1:] if whose == parts[0] else parts
    found = _tagged(Reference(OLLAMA, "" if whose.casefold() == OLLAMA_LIBRARY else whose, name))
    is_stored = rest and rest[0] not in _PAGES_OF_OLLAMA and not found.tag  # as its store and its registry have it
    return found._replace(tag=rest[0]) if is_stored else found


def _plain(typed: str) -> Reference:
    """Return what a text without an address refers to: NAME, OWNER/NAME, OWNER/NAME/FILE, NAME:TAG, FILE."""
    if typed.startswith(_CACHED):
        typed = typed.removeprefix(_CACHED).replace("--", "/")
    parts = [part.strip() for part in typed.split("/") if part.strip()]
    if not parts:
        return Reference()
    if parts[0].casefold() in (OLLAMA_LIBRARY, OLLAMA, "ollama_chat") and len(parts) > 1:
        return _of_ollama([OLLAMA_LIBRARY, *parts[1:]])
    last = parts[-1]
    if last.casefold().endswith(_FILES) and len(parts) < 3:
        if len(parts) == 1 and (cached := re.fullmatch(r"([^_]+)_(.+-gguf)_(.+)", last, re.IGNORECASE)):
            return Reference(owner=cached[1], name=cached[2], file=cached[3])  # as llama.cpp's own cache has it
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
