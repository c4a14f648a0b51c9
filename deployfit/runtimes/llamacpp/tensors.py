"""A compute graph as ggml's allocator sees it, built as ggml builds it.

Only what decides where intermediate results are placed is kept: the order of the operations, the bytes of their
results, which results look into others (views), and who reads what. Weights and caches live elsewhere. What always
overwrites its only operand moves nothing and is left out: the product with a norm's weight, a bias, a constant
factor, an activation, where the operand is a result that nothing else reads.

An operation is made first and placed when something that is expanded needs it, operands in their order, as
`ggml_build_forward_expand` does.
"""

from __future__ import annotations

from math import prod

from deployfit.runtimes.llamacpp.batch import CELLS, F32_BYTES

ALIGNMENT = 32  # of every buffer type concerned
NO_SLOT = -1
NO_SCRATCH = (0, 0)

Shape = tuple[int, ...]  # ggml's order: the row's length first


class Tensor:
    """One node of the compute graph, with the reference counts that the allocator keeps.

    `size` are its bytes, beside `per_cell` bytes for each cell of a sequence's context. `root` is set for views and
    names the tensor whose memory is looked into. `external` marks an operation without a result of its own: it writes
    into a cache. `slot` numbers its place once it has one. `scratch` is what a device wants behind the result: bytes,
    and bytes for each block of cells.
    """

    __slots__ = (
        "external",
        "is_input",
        "is_output",
        "op",
        "per_cell",
        "placed",
        "readers",
        "root",
        "scratch",
        "shape",
        "size",
        "slot",
        "sources",
        "views",
        "width",
    )

    def __init__(
        self,
        op: str,
        shape: Shape,
        sources: tuple[Tensor, ...] = (),
        width: int = F32_BYTES,
        root: Tensor | None = None,
        external: bool = False,
    ) -> None:
        self.op = op
        self.shape = shape
        self.sources = sources
        self.width = width
        self.root = root
        self.external = external
        self.is_input = False
        self.is_output = False
        self.placed = False
        self.readers = 0
        self.views = 0
        self.slot = NO_SLOT
        self.scratch = NO_SCRATCH
        self.size = self.per_cell = 0
        if root is None and not external:
            nbytes = width * prod(shape)
            if nbytes < 0:  # a dimension is CELLS
                self.per_cell = nbytes // CELLS
            else:
                self.size = nbytes


class Graph:
    """Builder of the list of nodes; `layer` is the number of the one that is being built, the head's after all.

    `begun`: how many operations were placed before each layer.
    """

    layer = 0

    def __init__(self) -> None:
        self.leaves: list[Tensor] = []
        self.copies: list[Tensor] = []
        self.placed: list[Tensor] = []
        self.begun: list[int] = []

    @property
    def nodes(self) -> list[Tensor]:
        """All nodes in the order in which they get their places: copies are made at the start."""
        return [*self.leaves, *self.copies, *self.placed]

    def first_node(self, layer: int) -> int:
        """Return how many nodes get their places before the first one of a layer does."""
        return len(self.leaves) + len(self.copies) + self.begun[layer]

    def copied_input(self, shape: Shape, width: int = F32_BYTES) -> Tensor:
        """Return the device's copy of a tensor in ordinary memory; they are made in the order of the first readers."""
        tensor = Tensor("NONE", shape, width=width)
        tensor.is_input = tensor.placed = True
        return tensor

    def leaf(self, shape: Shape) -> Tensor:
        """Return a tensor that is there from the start, and is no copy."""
        tensor = Tensor("NONE", shape)
        tensor.placed = True
        self.leaves.append(tensor)
        return tensor

    def compute(self, op: str, shape: Shape, *sources: Tensor, width: int = F32_BYTES) -> Tensor:
        """Return an operation with a contiguous result of its own."""
        return Tensor(op, shape, sources, width)

    def view(self, source: Tensor, *shape: int) -> Tensor:
        """Return a view, reshape, permutation or transposition."""
        return Tensor("VIEW", shape, (source,), root=source.root or source)

    def written(self, op: str, target: Tensor, *sources: Tensor) -> Tensor:
        """Return an operation that writes into a result that is there already, which it reads last."""
        return Tensor(op, target.shape, (*sources, target), root=target.root or target)

    def store(self, op: str, *sources: Tensor) -> None:
        """Place an operation that writes into a cache."""
        self.expand(Tensor(op, (), sources, external=True))

    def expand(self, tensor: Tensor) -> None:
        """Place an operation after all that it needs."""
        if tensor.placed:
            return
        tensor.placed = True
        sources = tensor.sources
        for source in sources:
            if not source.placed:
                self.expand(source)
        for source in sources:
            if source.is_input and not source.readers:
                self.copies.append(source)
            source.readers += 1
        if tensor.root is not None:
            tensor.root.views += 1
        self.placed.append(tensor)
