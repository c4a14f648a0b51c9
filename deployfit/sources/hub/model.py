"""Models out of a repository of the Hub: what `deployfit hub` shows, and what `fit hub:OWNER/NAME` answers from."""

from __future__ import annotations

from deployfit.printable import printable
from deployfit.quants.real_file import RealTensor
from deployfit.quants.weights import Weights
from deployfit.repository import FileGroup, RepoFile, Repository, choose_group, group_files
from deployfit.sources.headers import read_headers
from deployfit.sources.hub.cache import Cache, default_folder
from deployfit.sources.hub.client import HubClient
from deployfit.sources.listing import Progress, silent
from deployfit.sources.model_file import open_listing, weights_of
from deployfit.sources.opened import How, Opened
from deployfit.values import NamedTuple


class RepositoryFiles:
    """The files of a repository as a place."""

    def __init__(self, client: HubClient, repository: Repository) -> None:
        self._client = client
        self._repository = repository
        self.place = printable(f"hub:{repository.repo_id}")
        self.files = repository.files

    def title(self, group: FileGroup) -> str:
        """Return the repository's name."""
        return printable(self._repository.repo_id)

    @property
    def origin(self) -> str:
        """The commit, and whether the Hub was asked."""
        not_asked = "; from the cache, the Hub was not asked" if self._client.from_cache else ""
        return f" at {self._repository.commit[:12]}{not_asked}"

    def prefix(self, file: RepoFile, nbytes: int, known: bytes) -> bytes:
        """Return the first bytes of a file, up to so many."""
        return self._client.prefix(self._repository, file, nbytes, known)

    def keep(self, file: RepoFile, content: bytes) -> None:
        """Keep what could be read."""
        self._client.keep(self._repository, file, content)

    def forget(self, file: RepoFile) -> None:
        """Forget what could not."""
        self._client.forget(self._repository, file)


def client(*, offline: bool) -> HubClient:
    """Return a client with the user's cache."""
    return HubClient(Cache(default_folder()), offline=offline)


def open_repository(repo_id: str, how: How) -> Opened:
    """Return the model that a repository's file is of, and the file itself as a quant."""
    hub = client(offline=how.offline)
    return open_listing(RepositoryFiles(hub, hub.repository(repo_id, how.revision)), how)


class Looked(NamedTuple):
    """A model file that was looked into."""

    group: FileGroup
    weights: Weights
    tensors: tuple[RealTensor, ...]


class Found(NamedTuple):
    """A repository: its model files, the one that was looked into, and whether the cache stood in for the Hub."""

    repository: Repository
    groups: list[FileGroup]
    looked: tuple[Looked, ...]
    from_cache: bool


def look(
    repo_id: str,
    *,
    revision: str | None = None,
    pattern: str | None = None,
    offline: bool = False,
    progress: Progress = silent,
) -> Found:
    """Return what is in a repository; with a pattern, the tensors of the model file that it names too."""
    hub = client(offline=offline)
    repository = hub.repository(repo_id, revision)
    groups = group_files(repository.files)
    looked: list[Looked] = []
    if pattern is not None:
        listing = RepositoryFiles(hub, repository)
        group = choose_group(groups, pattern, repo_id)
        headers = read_headers(listing, group, progress)
        looked.append(Looked(group, weights_of(listing, group, headers), headers.tensors))
    return Found(repository, groups, tuple(looked), hub.from_cache)
