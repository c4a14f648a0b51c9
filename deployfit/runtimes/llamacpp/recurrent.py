"""Layers with a state in the graph: delta nets, Mamba-2, short convolutions.

Each reads one state per sequence, and none of the spare ones: a result of no bytes, which keeps its neighbours in the
arena apart all the same.
"""

from __future__ import annotations

from deployfit.layers.recurrent import DeltaNet, KimiDelta, Mamba2, ShortConvolution
from deployfit.runtimes.llamacpp.context import ModelGraph
from deployfit.runtimes.llamacpp.tensors import Tensor


def _state(graph: ModelGraph, elements: int) -> Tensor:
    """Return the states of the sequences in the batch, read from the cache."""
    states = graph.compute("GET_ROWS", (elements, graph.batch.sequences), graph.input("state_rows"))
    graph.expand(states)
    _spare_states(graph, elements)
    return states


def _spare_states(graph: ModelGraph, elements: int) -> None:
    graph.store("CPY", graph.compute("GET_ROWS", (elements, 0), graph.input("spare_rows")))


def _convolution(graph: ModelGraph, states: Tensor, mixed: Tensor, channels: int, kernel: int) -> Tensor:
    """Return the convolution of what the states remember and of the new tokens; the end is remembered."""
    per, sequences = graph.batch.sequence_tokens, graph.batch.sequences
    window = graph.compute("CONCAT", (kernel - 1 + per, channels, sequences), states, mixed)
    graph.store("CPY", graph.view(window, kernel - 1, channels, sequences))
    return graph.compute("SSM_CONV", (channels, per, sequences), window)


def delta_net(graph: ModelGraph, mixer: DeltaNet, normed: Tensor) -> Tensor:
    """Return the output of a gated delta net."""
    batch, tokens = graph.batch, normed.shape[1]
    per, sequences = batch.sequence_tokens, batch.sequences
    head, values, channels = mixer.head_dim, mixer.value_heads, mixer.conv_channels
    graph.expand(normed)
    states = graph.view(_state(graph, mixer.conv_elements), mixer.kernel - 1, channels, sequences)
    mixed = graph.view(graph.projected(channels, normed), tokens, channels)
    mixed = _convolution(graph, states, mixed, channels, mixer.kernel)
    state = _state(graph, mixer.state_elements)
    keys = [_delta_key(graph, mixer, mixed) for _ in range(2)]
    value = graph.view(mixed, head, values, per, sequences)
    decay, strength = _gates(graph, mixer, normed)
    result = _delta_rule(graph, mixer.value_dim, head, (*keys, value, decay, strength), state)
    output = graph.norm(graph.view(result, head, values, per, sequences))
    silu = graph.view(graph.projected(mixer.value_dim, normed), *output.shape)
    output = graph.compute("MUL", output.shape, output, graph.compute("UNARY", silu.shape, silu))
    return _projected_back(graph, graph.view(output, mixer.value_dim, per, sequences), tokens)


def _delta_key(graph: ModelGraph, mixer: DeltaNet, mixed: Tensor) -> Tensor:
    """Return queries or keys, normed; where the gates are one projection, they are repeated for each value head."""
    per, sequences = graph.batch.sequence_tokens, graph.batch.sequences
    key = graph.norm(graph.view(mixed, mixer.head_dim, mixer.key_heads, per, sequences))
    repeats = mixer.value_heads // mixer.key_heads
    if not mixer.fused or repeats == 1:
        return key
    rows = (mixer.head_dim, repeats, mixer.key_heads, per * sequences)
    repeated = graph.compute("REPEAT", rows, graph.view(key, mixer.head_dim, 1, *rows[2:]))
    return graph.view(repeated, mixer.head_dim, mixer.value_heads, per, sequences)


def _gates(graph: ModelGraph, mixer: DeltaNet, normed: Tensor) -> tuple[Tensor, Tensor]:
    """Return decay and write strength."""
    batch, values = graph.batch, mixer.value_heads
    shape = (values, batch.sequence_tokens, batch.sequences)
    if mixer.fused:
        both = graph.projected(2 * values, normed)
        strength = graph.compute("CONT", (1, *shape), graph.view(both, *shape))
        decay = graph.compute("CONT", shape, graph.view(both, *shape))
        return graph.view(decay, 1, *shape), graph.view(strength, 1, *shape)
    decay = graph.compute("ADD", shape, graph.view(graph.projected(values, normed), *shape))
    strength = graph.compute("UNARY", (1, *shape), graph.view(graph.projected(values, normed), 1, *shape))
    return graph.view(decay, 1, *shape), strength


def _delta_rule(graph: ModelGraph, width: int, head: int, sources: tuple[Tensor, ...], state: Tensor) -> Tensor:
    """Return the outputs with the new states behind them, one or several of each sequence, written to the cache."""
    batch = graph.batch
    rows = batch.tokens + head * batch.sequences * batch.snapshots
    result = graph.compute("GATED_DELTA_NET", (width, rows), *sources, graph.view(state, *state.shape))
    graph.store("CPY", graph.view(result, width * head, batch.sequences * batch.snapshots))
    return result


def _projected_back(graph: ModelGraph, output: Tensor, tokens: int) -> Tensor:
    hidden = graph.blueprint.hidden
    return graph.view(graph.projected(hidden, output), hidden, tokens)


def kimi_delta(graph: ModelGraph, mixer: KimiDelta, normed: Tensor) -> Tensor:
    """Return the output of Kimi delta attention."""
    batch, tokens = graph.batch, normed.shape[1]
    per, sequences = batch.sequence_tokens, batch.sequences
    inner, head, heads = mixer.inner, mixer.head_dim, mixer.heads
    shape = (head, heads, per, sequences)
    graph.expand(normed)
    states = _state(graph, mixer.conv_elements)
    convolved = []
    for _ in "qkv":
        part = graph.view(states, mixer.kernel - 1, inner, sequences)
        mixed = graph.view(graph.projected(inner, normed), tokens, inner)
        flat = graph.view(_convolution(graph, part, mixed, inner, mixer.kernel), inner, tokens)
        convolved.append(graph.view(graph.compute("UNARY", (inner, tokens), flat), *shape))
    decay = graph.view(graph.projected(inner, graph.projected(head, normed)), head, heads, tokens)
    decay = graph.view(graph.compute("MUL", decay.shape, decay), *shape)
    strength = graph.view(graph.projected(heads, normed), 1, *shape[1:])
    strength = graph.compute("UNARY", strength.shape, strength)
    state = _state(graph, mixer.state_elements)
    query, key, value = convolved
    sources = (graph.norm(query), graph.norm(key), value, decay, strength)
    result = graph.view(_delta_rule(graph, inner, head, sources, state), *shape)
    result = graph.view(graph.compute("CONT", shape, result), head, heads, tokens)
    output = graph.norm(result)
    gate = graph.view(graph.projected(inner, graph.projected(head, normed)), head, heads, tokens)
    output = graph.compute("MUL", output.shape, output, graph.compute("UNARY", gate.shape, gate))
    output = graph.compute("CONT", (inner, tokens), output)
    return graph.projected(graph.blueprint.hidden, output)


def mamba2(graph: ModelGraph, mixer: Mamba2, normed: Tensor) -> Tensor:
    """Return the output of a Mamba-2 block."""
    batch, tokens = graph.batch, normed.shape[1]
    per, sequences, channels = batch.sequence_tokens, batch.sequences, mixer.conv_channels
    shape = (mixer.head_dim, mixer.heads, per, sequences)
    states = graph.view(_state(graph, mixer.conv_elements), mixer.kernel - 1, channels, sequences)
    joint = graph.projected(mixer.inner + channels + mixer.heads, normed)
    mixed = _convolution(graph, states, graph.view(joint, tokens, channels), channels, mixer.kernel)
    values, keys, queries = (graph.view(mixed, *shape) for _ in range(3))
    step = graph.compute("CONT", (mixer.heads, per, sequences), graph.view(joint, mixer.heads, per, sequences))
    written = sequences * batch.snapshots
    elements = mixer.inner * tokens + mixer.state_elements * written
    sources = (values, step, keys, queries, graph.input("state_rows"))
    scanned = graph.compute("SSM_SCAN", (elements,), *sources)
    graph.expand(scanned)
    _spare_states(graph, mixer.state_elements)
    graph.store("CPY", graph.view(scanned, mixer.state_elements, written))
    output = graph.view(scanned, *shape)
    output = graph.compute("ADD", shape, output, graph.compute("MUL", shape, values))
    gate = graph.compute("CONT", shape, graph.view(joint, *shape))
    output = graph.compute("GLU", shape, gate, output)
    output = graph.norm(graph.view(output, mixer.inner // mixer.groups, mixer.groups, per, sequences))
    return graph.projected(graph.blueprint.hidden, graph.view(output, mixer.inner, tokens))


def short_convolution(graph: ModelGraph, mixer: ShortConvolution, normed: Tensor) -> Tensor:
    """Return the output of a gated short convolution."""
    batch, tokens = graph.batch, normed.shape[1]
    per, sequences, channels = batch.sequence_tokens, batch.sequences, mixer.channels
    shape = (channels, per, sequences)
    joint = graph.projected(3 * channels, graph.view(normed, *shape))
    mixed = graph.compute("MUL", shape, graph.view(joint, *shape), graph.view(joint, *shape))
    states = graph.view(_state(graph, mixer.conv_elements), mixer.kernel - 1, channels, sequences)
    output = _convolution(graph, states, graph.view(mixed, tokens, channels), channels, mixer.kernel)
    output = graph.compute("MUL", shape, graph.view(joint, *shape), output)
    return _projected_back(graph, output, tokens)
