"""What llama.cpp loaded: a model with its header and buffers, and the contexts that were made of it."""

from __future__ import annotations

from deployfit.measured.logs.log import Cache, Figure

PAIR = 2  # caches of a model with windows: of layers with one, and of those without


class Context:
    """A context: what it was made with, and its buffers."""

    def __init__(self, draft: str) -> None:
        self.draft = draft
        self.settings: dict[str, str] = {}
        self.buffers: dict[str, dict[str, Figure]] = {"KV": {}, "RS": {}, "compute": {}, "output": {}}
        self.cache_sizes: list[Figure] = []
        self.caches: list[Cache] = []
        self.cache_types: tuple[str, str] | None = None
        self.states: list[Figure] = []
        self.state_copies = 0
        self.window = self.swa_full = False
        self.flash: bool | None = None
        self.announced = 0
        self.pending = ""

    def is_whole(self, kind: str) -> bool:
        """Return whether all caches (KV) or states (RS) are in the log, which may end between two of them.

        Models with windows have two caches, each announced. Compute buffers come last.
        """
        if self.buffers["compute"]:
            return True
        if kind == "KV" and self.announced and len(self.cache_sizes) < max(self.announced, PAIR):
            return False
        return self.pending != kind


class Load:
    """A model that was loaded: its header, its buffers, its contexts."""

    def __init__(self, path: str, draft: bool, trial: bool) -> None:
        self.path, self.draft, self.trial = path, draft, trial
        self.header: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        self.types: dict[str, int] = {}
        self.buffers: list[tuple[str, Figure]] = []
        self.offloaded: tuple[int, int] | None = None
        self.mmap: bool | None = None
        self.contexts: list[Context] = []

    @property
    def allocated(self) -> bool:
        """Whether it was more than a trial or a look at the vocabulary."""
        return not self.trial and self.header.get("no_alloc") != "1" and self.header.get("vocab_only") != "1"
