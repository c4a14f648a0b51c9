"""The graph that llama.cpp computes for one micro-batch of a Qwen3.5 model, as its allocator sees it.

Only what decides where intermediate results are placed is kept: the order of the operations, the bytes of
their results, which results look into others (views), and who reads what. Weights and caches live elsewhere.
The order is the engine's (2026-10-01): an operation stands before the first that reads it.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from deployfit.architectures.qwen35 import Qwen35
from deployfit.formats.ggml import TensorType
from deployfit.units import ceil_to

F32_BYTES = 4
F16_BYTES = 2
I32_BYTES = 4
I64_BYTES = 8
ALIGNMENT = 32  # of every buffer type concerned
POSITION_AXES = 4  # rotary positions: time, height, width and a spare one
VALUE_ROTATION_WIDTH = 64  # quantized values are rotated in chunks of 64, keys by the whole head


class Batch(NamedTuple):
    """The largest micro-batch that a context computes; how long that context is does not change its graph."""

    tokens: int
    outputs: int  # how many of them get logits: all, less the padding to whole sequences
    sequences: int
    kv_types: tuple[TensorType, TensorType]

    @property
    def sequence_tokens(self) -> int:
        """Tokens of each sequence."""
        return self.tokens // self.sequences

    @property
    def streams(self) -> int:
        """How many separate KV caches there are."""
        return self.sequences

    @property
    def mask_bytes_per_cell(self) -> int:
        """The F16 attention mask has a row per token, as wide as one sequence's context."""
        return F16_BYTES * self.tokens


def is_quantized(tensor_type: TensorType) -> bool:
    """Return whether a type stores numbers in blocks."""
    return tensor_type.block_size > 1


def rotation_widths(config: Qwen35, batch: Batch) -> tuple[int, int]:
    """Return the widths of the rotations of quantized keys and values, 0 where nothing is quantized."""
    keys, values = batch.kv_types
    return (
        (config.head_dim & -config.head_dim) * is_quantized(keys),  # the widest power of two that divides a head
        VALUE_ROTATION_WIDTH * is_quantized(values),
    )


def host_bytes(config: Qwen35, batch: Batch, sequence_context: int) -> int:
    """Return the host part of the compute buffers: the graph's inputs and the embedded tokens."""
    tokens = batch.tokens
    key_width, value_width = rotation_widths(config, batch)
    sizes = (
        I32_BYTES * tokens,
        2 * F32_BYTES * config.hidden_size * tokens,
        I32_BYTES * batch.sequences,
        I32_BYTES * POSITION_AXES * tokens,
        F32_BYTES * key_width**2,
        F32_BYTES * value_width**2,
        I64_BYTES * tokens,
        I64_BYTES * tokens,
        batch.mask_bytes_per_cell * sequence_context,
        I32_BYTES * batch.outputs,
    )
    return sum(ceil_to(size, ALIGNMENT) for size in sizes)


Shape = tuple[int, ...]


NO_SLOT = -1


class Tensor:
    """One node of the compute graph, with the reference counts the allocator keeps.

    `size` are its bytes, beside `per_cell` bytes for each cell of a sequence's context. `root` is set for
    views and names the tensor whose memory is looked into; `external` marks memory outside the arena
    (caches); `shape` is None where the layout is not contiguous. `slot` numbers its place once it has one.
    """

    __slots__ = (
        "external",
        "is_output",
        "op",
        "per_cell",
        "readers",
        "root",
        "shape",
        "size",
        "slot",
        "sources",
        "views",
    )

    def __init__(
        self,
        op: str,
        size: int,
        shape: Shape | None,
        sources: tuple[Tensor, ...],
        root: Tensor | None = None,
        external: bool = False,
    ) -> None:
        self.op = op
        self.size = size
        self.shape = shape
        self.sources = sources
        self.root = root
        self.external = external
        self.is_output = False
        self.readers = 0
        self.views = 0
        self.per_cell = 0
        self.slot = NO_SLOT


class Graph:
    """Builder of the node list."""

    def __init__(self, config: Qwen35, batch: Batch) -> None:
        self.config = config
        self.batch = batch
        self.nodes: list[Tensor] = []

    def compute(self, op: str, shape: Shape, *sources: Tensor, itemsize: int = F32_BYTES) -> Tensor:
        """Append an operation with a contiguous result of its own."""
        node = Tensor(op, itemsize * prod(shape), shape, sources)
        for source in sources:
            source.readers += 1
        self.nodes.append(node)
        return node

    def view(self, source: Tensor, shape: Shape | None = None) -> Tensor:
        """Append a view, reshape, permutation or transposition."""
        root = source.root or source
        node = Tensor("VIEW", 0, shape, (source,), root, root.external)
        source.readers += 1
        root.views += 1
        self.nodes.append(node)
        return node

    def store(self, op: str, cache: Tensor, *sources: Tensor) -> Tensor:
        """Append an operation that writes into a cache (memory outside the arena)."""
        node = Tensor(op, 0, None, sources, cache.root or cache, True)
        for source in sources:
            source.readers += 1
        self.nodes.append(node)
        return node

    def copy_in(self, size: int, shape: Shape | None = None, per_cell: int = 0) -> Tensor:
        """Append the device copy of a host tensor, made at the start of the split."""
        node = Tensor("NONE", size, shape, ())
        node.per_cell = per_cell
        self.nodes.append(node)
        return node


def external_tensor() -> Tensor:
    """Return a tensor that lives outside the arena: a cache or a host tensor."""
    return Tensor("NONE", 0, None, (), None, True)


class Inputs(NamedTuple):
    """Device copies of the host tensors, in the order the graph first reads them."""

    embedding: Tensor
    state_rows: Tensor
    no_state_rows: Tensor
    positions: Tensor
    key_rotation: Tensor | None
    value_rotation: Tensor | None
    key_rows: Tensor
    value_rows: Tensor
    mask: Tensor
    output_rows: Tensor


def add_inputs(graph: Graph) -> Inputs:
    """Append the copies at the start of the device split."""
    config, batch = graph.config, graph.batch
    tokens = batch.tokens
    embedding = graph.copy_in(F32_BYTES * config.hidden_size * tokens, (config.hidden_size, tokens))
    state_rows = graph.copy_in(I32_BYTES * batch.sequences)
    no_state_rows = graph.copy_in(0)
    positions = graph.copy_in(I32_BYTES * POSITION_AXES * tokens)
    key_width, value_width = rotation_widths(config, batch)
    return Inputs(
        embedding,
        state_rows,
        no_state_rows,
        positions,
        key_rotation=graph.copy_in(F32_BYTES * key_width**2) if key_width else None,
        value_rotation=graph.copy_in(F32_BYTES * value_width**2) if value_width else None,
        key_rows=graph.copy_in(I64_BYTES * tokens),
        value_rows=graph.copy_in(I64_BYTES * tokens),
        mask=graph.copy_in(0, per_cell=batch.mask_bytes_per_cell),
        output_rows=graph.copy_in(I32_BYTES * batch.outputs),
    )


def add_norm(graph: Graph, source: Tensor, shape: Shape) -> Tensor:
    """Append a root-mean-square norm and the product with its weight."""
    return graph.compute("MUL", shape, graph.compute("RMS_NORM", shape, source))


def add_state_read(graph: Graph, inputs: Inputs, cache: Tensor, width: int) -> Tensor:
    """Append the gathering of one recurrent state per sequence (and of no spare ones)."""
    rows = graph.view(cache)
    graph.store("SCALE", cache, graph.view(rows))
    states = graph.compute("GET_ROWS", (width, graph.batch.sequences), rows, inputs.state_rows)
    spare = graph.compute("GET_ROWS", (width, 0), rows, inputs.no_state_rows)
    graph.store("CPY", cache, spare, graph.view(cache))
    return states


def add_convolution(graph: Graph, inputs: Inputs, normed: Tensor) -> tuple[Tensor, Tensor]:
    """Append the short convolution with its state; return its result and the cache it used."""
    config, batch = graph.config, graph.batch
    channels, keep = config.conv_channels, config.linear_conv_kernel_dim - 1
    cache = external_tensor()
    states = add_state_read(graph, inputs, cache, keep * channels)
    states = graph.view(states)
    mixed = graph.compute("MUL_MAT", (channels, batch.tokens), normed)
    mixed = graph.view(graph.view(mixed))
    window = graph.compute("CONCAT", (keep + batch.sequence_tokens, channels, batch.sequences), states, mixed)
    last = graph.view(window)
    graph.store("CPY", cache, last, graph.view(cache))
    return window, cache


def add_linear_attention(graph: Graph, inputs: Inputs, normed: Tensor) -> Tensor:
    """Append one gated delta net layer; return its projection back to the hidden size."""
    config, batch = graph.config, graph.batch
    tokens, per, sequences = batch.tokens, batch.sequence_tokens, batch.sequences
    head, values = config.linear_value_head_dim, config.linear_num_value_heads
    window, _ = add_convolution(graph, inputs, normed)
    cache = external_tensor()
    state = add_state_read(graph, inputs, cache, head * config.linear_value_dim)
    mixed = graph.compute("SSM_CONV", (config.conv_channels, per, sequences), window)
    mixed = graph.compute("UNARY", (config.conv_channels, per, sequences), mixed)
    key_shape = (head, config.linear_num_key_heads, per, sequences)
    query = graph.compute("SCALE", key_shape, graph.compute("RMS_NORM", key_shape, graph.view(mixed)))
    key = graph.compute("SCALE", key_shape, graph.compute("RMS_NORM", key_shape, graph.view(mixed)))
    value = graph.view(mixed)
    gate_shape = (values, per, sequences)
    alpha = graph.view(graph.compute("MUL_MAT", (values, tokens), normed), gate_shape)
    alpha = graph.compute("UNARY", gate_shape, graph.compute("ADD", gate_shape, alpha))
    gate = graph.view(graph.compute("MUL", gate_shape, alpha))
    beta_shape = (1, values, per, sequences)
    beta = graph.view(graph.compute("MUL_MAT", (values, tokens), normed), beta_shape)
    beta = graph.compute("UNARY", beta_shape, beta)
    state = graph.view(state)
    rows = tokens + head * sequences
    result = graph.compute("GATED_DELTA_NET", (config.linear_value_dim, rows), query, key, value, gate, beta, state)
    new_state = graph.view(result)
    graph.store("CPY", cache, new_state, graph.view(cache))
    value_shape = (head, values, per, sequences)
    output = add_norm(graph, graph.view(result, value_shape), value_shape)
    silu = graph.view(graph.compute("MUL_MAT", (config.linear_value_dim, tokens), normed), value_shape)
    silu = graph.compute("UNARY", value_shape, silu)
    output = graph.view(graph.compute("MUL", value_shape, output, silu))
    return graph.view(
        graph.compute("MUL_MAT", (config.hidden_size, per, sequences), output), (config.hidden_size, tokens)
    )


def add_rotation(graph: Graph, source: Tensor, rotation: Tensor | None, width: int, shape: Shape) -> Tensor:
    """Append the Hadamard rotation used with quantised caches."""
    if rotation is None:
        return source
    rows = prod(shape) // width
    rotated = graph.compute("MUL_MAT", (width, rows), rotation, graph.view(source))
    return graph.view(rotated, shape)


def add_cache_write(graph: Graph, values: Tensor, rows: Tensor) -> Tensor:
    """Append the scatter of new keys or values into the cache; return the cache."""
    cache = external_tensor()
    flat = graph.view(values)
    target = graph.view(cache) if graph.batch.streams > 1 else cache
    graph.store("SET_ROWS", cache, flat, rows, target)
    return cache


def add_cache_read(graph: Graph, cache: Tensor, tensor_type: TensorType) -> Tensor:
    """Append the view of a whole cache; flash attention wants an F32 cache copied to F16 first."""
    config, batch = graph.config, graph.batch
    stored = graph.view(graph.view(cache))
    if tensor_type.name != "F32":
        return stored
    copy = graph.compute("CPY", (0,), stored)
    copy.per_cell = F16_BYTES * config.head_dim * config.num_key_value_heads * batch.streams
    return copy


def add_full_attention(graph: Graph, inputs: Inputs, normed: Tensor) -> Tensor:
    """Append one gated softmax attention layer; return its projection back to the hidden size."""
    config, batch = graph.config, graph.batch
    tokens, head = batch.tokens, config.head_dim
    width = head * config.num_attention_heads
    key_width, value_width = rotation_widths(config, batch)
    query_shape = (head, config.num_attention_heads, tokens)
    key_shape = (head, config.num_key_value_heads, tokens)
    query_and_gate = graph.compute("MUL_MAT", (2 * width, tokens), normed)
    query = add_norm(graph, graph.view(query_and_gate), query_shape)
    query = graph.compute("ROPE", query_shape, query, inputs.positions)
    query = add_rotation(graph, query, inputs.key_rotation, key_width, query_shape)
    value = graph.view(graph.compute("MUL_MAT", (head * config.num_key_value_heads, tokens), normed), key_shape)
    value = add_rotation(graph, value, inputs.value_rotation, value_width, key_shape)
    key = graph.view(graph.compute("MUL_MAT", (head * config.num_key_value_heads, tokens), normed), key_shape)
    key = add_norm(graph, key, key_shape)
    key = graph.compute("ROPE", key_shape, key, inputs.positions)
    key = add_rotation(graph, key, inputs.key_rotation, key_width, key_shape)
    key_cache = add_cache_write(graph, key, inputs.key_rows)
    value_cache = add_cache_write(graph, value, inputs.value_rows)
    query = graph.view(graph.view(query))
    key_type, value_type = batch.kv_types
    keys = add_cache_read(graph, key_cache, key_type)
    values = add_cache_read(graph, value_cache, value_type)
    result = graph.compute("FLASH_ATTN_EXT", (width, tokens), query, keys, values, inputs.mask)
    result = graph.view(result, (width, tokens))
    result = add_rotation(graph, result, inputs.value_rotation, value_width, (width, tokens))
    gate = graph.compute("CONT", (width, tokens), graph.view(query_and_gate))
    gate = graph.compute("UNARY", (width, tokens), gate)
    result = graph.compute("MUL", (width, tokens), result, gate)
    return graph.compute("MUL_MAT", (config.hidden_size, tokens), result)


def add_gated_ffn(graph: Graph, normed: Tensor, width: int) -> Tensor:
    """Append a SwiGLU feed-forward block."""
    tokens = graph.batch.tokens
    gate = graph.compute("MUL_MAT", (width, tokens), normed)
    up = graph.compute("MUL_MAT", (width, tokens), normed)
    product = graph.compute("GLU", (width, tokens), gate, up)
    return graph.compute("MUL_MAT", (graph.config.hidden_size, tokens), product)


def add_routing(graph: Graph, normed: Tensor) -> tuple[Tensor, Tensor]:
    """Append the expert choice; return the chosen expert numbers and their weights."""
    config, tokens = graph.config, graph.batch.tokens
    used = config.num_experts_per_tok
    every = (config.num_experts, tokens)
    probabilities = graph.compute("SOFT_MAX", every, graph.compute("MUL_MAT", every, normed))
    reshaped = graph.view(probabilities)
    chosen = graph.view(graph.compute("ARGSORT", every, probabilities, itemsize=I32_BYTES))
    weights = graph.view(graph.compute("GET_ROWS", (1, used, tokens), reshaped, chosen), (used, tokens))
    total = graph.compute("SUM_ROWS", (1, tokens), weights)
    total = graph.compute("CLAMP", (1, tokens), total)
    weights = graph.view(graph.compute("DIV", (used, tokens), weights, total))
    return chosen, weights


def add_experts(graph: Graph, normed: Tensor) -> Tensor:
    """Append routed and shared experts."""
    config, tokens = graph.config, graph.batch.tokens
    used, hidden = config.num_experts_per_tok, config.hidden_size
    chosen, weights = add_routing(graph, normed)
    rows = graph.view(normed)
    inner = (config.moe_intermediate_size, used, tokens)
    gate = graph.compute("MUL_MAT_ID", inner, rows, chosen)
    up = graph.compute("MUL_MAT_ID", inner, rows, chosen)
    product = graph.compute("GLU", inner, gate, up)
    outputs = graph.compute("MUL_MAT_ID", (hidden, used, tokens), product, chosen)
    outputs = graph.compute("MUL", (hidden, used, tokens), outputs, weights)
    parts = [graph.view(outputs) for _ in range(used)]
    routed = parts[0]
    for part in parts[1:]:
        routed = graph.compute("ADD", (hidden, tokens), routed, part)
    shared = add_gated_ffn(graph, normed, config.shared_expert_intermediate_size)
    gate = graph.compute("UNARY", (1, tokens), graph.compute("MUL_MAT", (1, tokens), normed))
    shared = graph.compute("MUL", (hidden, tokens), shared, gate)
    return graph.compute("ADD", (hidden, tokens), routed, shared)


def add_layer(graph: Graph, inputs: Inputs, hidden_state: Tensor, is_full: bool) -> Tensor:
    """Append one decoder layer."""
    config = graph.config
    shape = (config.hidden_size, graph.batch.tokens)
    normed = add_norm(graph, hidden_state, shape)
    attention = add_full_attention if is_full else add_linear_attention
    residual = graph.compute("ADD", shape, attention(graph, inputs, normed), hidden_state)
    normed = add_norm(graph, residual, shape)
    mixed = add_experts(graph, normed) if config.num_experts else add_gated_ffn(graph, normed, config.intermediate_size)
    return graph.compute("ADD", shape, mixed, residual)


def add_head(graph: Graph, inputs: Inputs, hidden_state: Tensor) -> None:
    """Append the final norm, the choice of output rows and the logits."""
    config, batch = graph.config, graph.batch
    normed = add_norm(graph, hidden_state, (config.hidden_size, batch.tokens))
    rows = graph.compute("GET_ROWS", (config.hidden_size, batch.outputs), normed, inputs.output_rows)
    logits = graph.compute("MUL_MAT", (config.vocab_size, batch.outputs), rows)
    for tensor in (normed, rows, logits):
        tensor.is_output = True


def build_graph(config: Qwen35, batch: Batch, n_layers: int) -> Graph:
    """Return the graph of one micro-batch with `n_layers` decoder layers."""
    graph = Graph(config, batch)
    inputs = add_inputs(graph)
    state = inputs.embedding
    for index in range(n_layers):
        state = add_layer(graph, inputs, state, (index + 1) % config.full_attention_interval == 0)
    add_head(graph, inputs, state)
    return graph
