"""Lists of files, of a repository or a folder: what names and sizes say about the models in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from deployfit.errors import InputError, quoted
from deployfit.parameters import param
from deployfit.printable import printable
from deployfit.values import NamedTuple

OTHER = "other"
GGUF = "GGUF"
SAFETENSORS = "safetensors"
FORMATS = {".gguf": GGUF, ".safetensors": SAFETENSORS, ".bin": "PyTorch", ".pt": "PyTorch", ".pth": "PyTorch"}
READ = (GGUF, SAFETENSORS)
MODEL = "model"
MMPROJ = "mmproj"
IMATRIX = "imatrix"  # what a quantizer was told, in a file of the models' format
MOST_SHARDS = 10_000
MOST_NAMED = 12  # files in a complaint

_SHARD = re.compile(
    r"(?P<stem>.+)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})(?P<suffix>\.gguf|\.safetensors)",
    re.DOTALL | re.IGNORECASE,
)


class RepoFile(NamedTuple):
    """A file: its path in the repository, its bytes, and what changes when its content does."""

    name: str
    nbytes: int
    etag: str


class Repository(NamedTuple):
    """A repository at one commit; `params` are the parameters by dtype as the Hub counted them."""

    repo_id: str
    revision: str  # as asked
    commit: str
    files: tuple[RepoFile, ...]
    params: Mapping[str, int]

    @property
    def nbytes(self) -> int:
        """All files together."""
        return sum(file.nbytes for file in self.files)


class FileGroup(NamedTuple):
    """A model file, or the shards that are one."""

    name: str
    format: str
    role: str
    files: tuple[RepoFile, ...]
    missing: int  # shards that the names promise and that are not there

    @property
    def nbytes(self) -> int:
        """All shards together."""
        return sum(file.nbytes for file in self.files)

    @property
    def plain_name(self) -> str:
        """The name without numbers of shards, which a file of its own and shards can have in common."""
        stem, suffix, _ = _shard_of(self.files[0].name)
        return stem + suffix


def format_of(name: str) -> str:
    """Return the format that a file's name tells.

    >>> format_of("Q4_K_M/Qwen3.5-397B-A17B-Q4_K_M-00001-of-00006.gguf")
    'GGUF'
    """
    _, dot, suffix = name.lower().rpartition(".")
    return FORMATS.get(dot + suffix, OTHER)


def role_of(name: str) -> str:
    """Return what a model file is for, by its name.

    >>> role_of("mmproj-F16.gguf"), role_of("imatrix_unsloth.gguf"), role_of("Qwen3.5-4B-Q8_0.gguf")
    ('mmproj', 'imatrix', 'model')
    """
    last = name.rpartition("/")[2].lower()
    return next((role for role in (MMPROJ, IMATRIX) if role in last), MODEL)


def group_files(files: Iterable[RepoFile]) -> list[FileGroup]:
    """Return the model files, shards together, in the order of their names.

    Shards belong together if they have a stem and a number of shards in common.

    >>> names = ["m-Q8_0.gguf", "m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00001-of-00003.gguf"]
    >>> [(group.name, group.missing) for group in group_files(RepoFile(name, 1, "") for name in names)]
    [('m-Q8_0-of-00002.gguf', 1), ('m-Q8_0-of-00003.gguf', 2), ('m-Q8_0.gguf', 0)]
    """
    groups: dict[tuple[str, str, int], list[RepoFile]] = {}
    for file in sorted(files):
        if format_of(file.name) in READ:
            groups.setdefault(_shard_of(file.name), []).append(file)
    names: dict[str, int] = {}
    for stem, suffix, _ in groups:
        names[stem + suffix] = names.get(stem + suffix, 0) + 1
    found = []
    for (stem, suffix, count), members in groups.items():
        name = stem + suffix
        if count and names[name] > 1:
            name = f"{stem}-of-{count:05}{suffix}"
        found.append(FileGroup(name, format_of(name), role_of(name), tuple(members), max(0, count - len(members))))
    return sorted(found)


def _shard_of(name: str) -> tuple[str, str, int]:
    """Return a shard's stem and suffix and of how many it is one; 0 for a file of its own."""
    match = _SHARD.fullmatch(name)
    if match and 1 <= int(match["number"]) <= int(match["count"]) <= MOST_SHARDS:
        return match["stem"], match["suffix"], int(match["count"])
    return name, "", 0


def bytes_by_format(repository: Repository) -> dict[str, int]:
    """Return the bytes of all files by format."""
    totals: dict[str, int] = {}
    for file in repository.files:
        name = format_of(file.name)
        totals[name] = totals.get(name, 0) + file.nbytes
    return totals


def choose_group(groups: Sequence[FileGroup], pattern: str | None, place: str) -> FileGroup:
    """Return the one model that a pattern names, or the one mmproj; raise InputError if it is none or several.

    A pattern without wildcards is a file's name, or how it ends: Q4_K_M.

    >>> files = [RepoFile(f"m-{name}.gguf", 1, "") for name in ("Q4_K_M", "UD-Q4_K_M", "Q4_K_S", "Q8_0")]
    >>> [choose_group(group_files(files), pattern, "a/b").name for pattern in ("Q4_K_M", "q8_0", "*_S.gguf")]
    ['m-Q4_K_M.gguf', 'm-Q8_0.gguf', 'm-Q4_K_S.gguf']
    """
    named = list(groups) if pattern is None else _named(groups, pattern)
    models = [group for group in named if group.role == MODEL] or named
    if len(models) == 1:
        return models[0]
    if not groups:
        raise InputError(f"{quoted(place)}: no model file in it")
    listed = models or groups
    names = ", ".join(printable(group.name) for group in listed[:MOST_NAMED])
    names += ", ..." * (len(listed) > MOST_NAMED)
    if not models:
        raise InputError(f"{quoted(place)}: no model file matches {quoted(pattern)}; it has: {names}")
    raise InputError(f"{quoted(place)}: {len(models)} models; choose one with {param('file')} '*PATTERN*': {names}")


_RECIPE = re.compile(r"[-._](?:UD-)?(?:I?Q[0-9]\w*|T?Q[0-9]_0|MXFP4\w*|NVFP4\w*|BF16|FP?16|F32)", re.IGNORECASE)


def of_one_model(groups: Sequence[FileGroup]) -> bool:
    """Return whether GGUF files differ by their recipes only, as their names tell.

    >>> files = [RepoFile(f"a/m-{name}.gguf", 1, "") for name in ("Q4_K_M", "UD-IQ2_XXS", "BF16")]
    >>> of_one_model(group_files(files)), of_one_model(group_files([*files, RepoFile("n-Q8_0.gguf", 1, "")]))
    (True, False)
    """
    return len({_RECIPE.sub("", _stem(group)) for group in groups}) == 1 and all(
        group.format == GGUF for group in groups
    )


def _named(groups: Sequence[FileGroup], pattern: str) -> list[FileGroup]:
    """Return the groups that a pattern may mean: those that it matches best."""
    if any(mark in pattern for mark in "*?["):
        from fnmatch import fnmatchcase

        return [group for group in groups if any(fnmatchcase(each, pattern) for each in _names(group))]
    exact = [group for group in groups if pattern in _names(group)]
    if exact:
        return exact
    folded = pattern.casefold()
    ending = [group for group in groups if _ends_with(_stem(group), folded)]
    shortest = min((len(group.name) for group in ending), default=0)
    return [group for group in ending if len(group.name) == shortest] or [
        group for group in groups if folded in group.name.casefold()
    ]


def _names(group: FileGroup) -> tuple[str, ...]:
    return (group.name, group.name.rpartition("/")[2], *(file.name for file in group.files))


def _stem(group: FileGroup) -> str:
    return group.name.rpartition("/")[2].rpartition(".")[0].casefold()


def _ends_with(stem: str, word: str) -> bool:
    """Return whether a name ends with a word that begins where a word can begin."""
    return stem.endswith(word) and not stem.removesuffix(word)[-1:].isalnum()
