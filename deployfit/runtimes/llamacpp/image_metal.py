"""The order in which Metal computes a graph: operations that can run side by side are brought together.

Source: llama.cpp's Metal backend of 2026-10-01 (ggml-metal-common.cpp, ggml-metal-fusion.cpp). Norms with their weight
and bias are one kernel and stay together. Since September 2026 (pull request 28948) what a fused kernel could read is
kept until it is done (`keeping_inputs`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deployfit.runtimes.llamacpp.tensors import Tensor
from deployfit.values import NamedTuple

FORWARD = 64  # so far ahead an operation is looked for
MOVED = frozenset({"ADD", "CONT", "CPY", "MUL", "MUL_MAT", "NORM", "ROPE", "UNARY", "VIEW"})
FUSED_NORM = ("NORM", "MUL", "ADD")
MOST_ADDS = 7
VIEW = "VIEW"


class _Step(NamedTuple):
    """Nodes that stay together, with the memory that they read from outside and that they write."""

    nodes: tuple[Tensor, ...]
    reads: frozenset[int]
    writes: frozenset[int]

    @property
    def op(self) -> str:
        return self.nodes[0].op


class _Group:
    """Steps that may run side by side: none writes what another reads or writes."""

    def __init__(self) -> None:
        self._reads: set[int] = set()
        self._writes: set[int] = set()

    def add(self, step: _Step) -> None:
        self._reads |= step.reads
        self._writes |= step.writes

    def admits(self, step: _Step) -> bool:
        return not (step.reads & self._writes or step.writes & self._writes or step.writes & self._reads)


def in_metal_order(nodes: Sequence[Tensor]) -> list[Tensor]:
    """Return the nodes in Metal's order."""
    steps = list(_steps(nodes))
    done = [False] * len(steps)
    ordered: list[Tensor] = []
    together = _Group()
    for index, step in enumerate(steps):
        if done[index]:
            continue
        if step.op != VIEW and not together.admits(step):
            waiting = _Group()
            waiting.add(step)
            for ahead in range(index + 1, min(index + FORWARD, len(steps))):
                later = steps[ahead]
                if done[ahead]:
                    continue
                if later.op not in MOVED:
                    break
                if (later.op == VIEW or together.admits(later)) and waiting.admits(later):
                    together.add(later)
                    ordered += later.nodes
                    done[ahead] = True
                else:
                    waiting.add(later)
            together = _Group()
        together.add(step)
        ordered += step.nodes
    return ordered


def _steps(nodes: Sequence[Tensor]) -> Iterator[_Step]:
    index = 0
    while index < len(nodes):
        fused = tuple(node.op for node in nodes[index : index + 3]) == FUSED_NORM
        together = tuple(nodes[index : index + 3]) if fused else (nodes[index],)
        index += len(together)
        own = {id(node) for node in together}
        reads = (source for node in together for source in node.sources if id(source) not in own)
        yield _Step(together, frozenset(map(_memory, reads)), frozenset(map(_memory, together)))


def _memory(tensor: Tensor) -> int:
    return id(tensor.root or tensor)


def keeping_inputs(nodes: Sequence[Tensor], ordered: Sequence[Tensor]) -> list[Tensor]:
    """Return the nodes in Metal's order, with marks that keep what operations read that could be one kernel.

    Which could be is asked of the order in which they were made. A mark is a reader without a result.
    """
    kept = dict(_kept_inputs(nodes))
    marked: list[Tensor] = []
    for node in ordered:
        marked.append(node)
        inputs = kept.get(id(node), ())
        if inputs:
            for each in inputs:
                each.readers += 1
            marked.append(Tensor("NONE", (), inputs, external=True))
    return marked


def _kept_inputs(nodes: Sequence[Tensor]) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
    """Yield the last node of each row of operations that could be one kernel, and what they read from outside."""
    index = 0
    while index < len(nodes):
        row = nodes[index : index + _fusible(nodes, index)]
        index += len(row)
        if len(row) > 1:
            own = {id(node) for node in row}
            read = {id(source): source for node in row for source in node.sources if id(source) not in own}
            yield id(row[-1]), tuple(read.values())


def _fusible(nodes: Sequence[Tensor], index: int) -> int:
    """Return how many nodes from this one on look like one kernel; whether they can be one is not asked."""
    ops = [node.op for node in nodes[index : index + MOST_ADDS]]
    if ops[0] == "NORM" and ops[1:2] == ["MUL"]:
        return 3 if ops[2:3] == ["ADD"] else 2
    adds = 0
    while adds < len(ops) and ops[adds] == "ADD":
        adds += 1
    return max(1, adds)
