"""Feed-forward blocks in the graph: dense, and mixtures of experts."""

from __future__ import annotations

from deployfit.layers.feed import Experts, Mlp
from deployfit.runtimes.llamacpp.inputs import I32_BYTES
from deployfit.runtimes.llamacpp.tensors import Graph, Tensor


def dense(graph: Graph, feed: Mlp, normed: Tensor) -> Tensor:
    """Return the output of a dense block."""
    hidden, tokens = normed.shape
    inner = (feed.width, tokens)
    if feed.fused:
        product = graph.compute("GLU", inner, graph.compute("MUL_MAT", (2 * feed.width, tokens), normed))
    elif feed.gated:
        gate = graph.compute("MUL_MAT", inner, normed)
        up = graph.compute("MUL_MAT", inner, normed)
        product = graph.compute("GLU", inner, gate, up)
    else:
        product = graph.compute("MUL_MAT", inner, normed)
    return graph.compute("MUL_MAT", (hidden, tokens), product)


def mixture(graph: Graph, feed: Experts, normed: Tensor) -> Tensor:
    """Return the output of routed experts and of those that every token goes through."""
    tokens = normed.shape[1]
    logits = graph.compute("MUL_MAT", (feed.count, tokens), normed)
    output = _routed(graph, feed, normed, logits)
    if feed.shared_width:
        shared = dense(graph, Mlp(feed.shared_width, feed.gated), normed)
        if feed.shared_gate:
            shared = graph.compute("MUL", shared.shape, shared, graph.compute("MUL_MAT", (1, tokens), normed))
        output = graph.compute("ADD", output.shape, output, shared)
    return output


def beside_dense(graph: Graph, feed: Experts, beside: Mlp, stream: Tensor) -> Tensor:
    """Return the sum of a dense block and of experts, each with norms of its own before and after (Gemma 4).

    The router looks at the stream itself, through a norm without a weight.
    """

    def norm(tensor: Tensor) -> Tensor:
        return graph.compute("RMS_NORM", tensor.shape, tensor)

    one = norm(dense(graph, beside, norm(stream)))
    logits = graph.compute("MUL_MAT", (feed.count, stream.shape[1]), norm(stream))
    other = norm(_routed(graph, feed, norm(stream), logits))
    return graph.compute("ADD", one.shape, one, other)


def _routed(graph: Graph, feed: Experts, normed: Tensor, logits: Tensor) -> Tensor:
    hidden, tokens = normed.shape
    used = feed.used
    chosen, weights = _routing(graph, feed, logits)
    graph.expand(weights)
    source = graph.compute("MUL_MAT", (feed.latent, tokens), normed) if feed.latent else normed
    size = feed.latent or hidden
    rows = graph.view(source, size, 1, tokens)
    if feed.weight_first:
        every = (size, used, tokens)
        rows = graph.compute("MUL", every, graph.compute("REPEAT", every, rows), weights)
    outputs = graph.compute("MUL_MAT_ID", (size, used, tokens), _inner(graph, feed, rows, chosen), chosen)
    if feed.beside:  # a factor for each expert
        factors = graph.compute("REPEAT", (1, feed.count, tokens))
        factors = graph.compute("GET_ROWS", (1, used, tokens), factors, chosen)
        outputs = graph.compute("MUL", outputs.shape, outputs, factors)
    if feed.biases:
        outputs = graph.compute("ADD_ID", outputs.shape, outputs, chosen)
    if not feed.weight_first:
        outputs = graph.compute("MUL", outputs.shape, outputs, weights)
    graph.expand(outputs)
    parts = [graph.view(outputs, size, tokens) for _ in range(used)]
    for part in parts:
        graph.expand(part)
    total = parts[0]
    for part in parts[1:]:
        total = graph.compute("ADD", (size, tokens), total, part)
    graph.expand(total)
    if used == 1:
        total = graph.compute("CONT", (size, tokens), total)
    return graph.compute("MUL_MAT", (hidden, tokens), total) if feed.latent else total


def _inner(graph: Graph, feed: Experts, rows: Tensor, chosen: Tensor) -> Tensor:
    """Return what the chosen experts' last matrices are multiplied with."""
    tokens = rows.shape[2]
    inner = (feed.width, feed.used, tokens)

    def projected(width: int) -> Tensor:
        result = graph.compute("MUL_MAT_ID", (width, feed.used, tokens), rows, chosen)
        return graph.compute("ADD_ID", result.shape, result, chosen) if feed.biases else result

    if feed.fused:
        both = projected(2 * feed.width)
        return graph.compute("GLU", inner, graph.view(both, *inner), graph.view(both, *inner))
    if feed.gated:
        gate = projected(feed.width)
        return graph.compute("GLU", inner, gate, projected(feed.width))
    return projected(feed.width)


def _routing(graph: Graph, feed: Experts, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return the numbers of the chosen experts and their weights."""
    used, (count, tokens) = feed.used, logits.shape
    every = (count, tokens)
    if feed.scoring == "softmax_chosen":
        scores = logits
    else:
        scores = graph.compute("SOFT_MAX" if feed.scoring == "softmax" else "UNARY", every, logits)
    selection = logits if feed.weight_first else scores
    if feed.selection_bias:
        selection = graph.compute("ADD", every, scores)
    if feed.groups > 1:
        selection = _masked_groups(graph, feed, selection)
    chosen = graph.view(graph.compute("ARGSORT", every, selection, width=I32_BYTES), used, tokens)
    weights = graph.compute("GET_ROWS", (1, used, tokens), graph.view(scores, 1, count, tokens), chosen)
    if feed.scoring == "softmax_chosen":
        flat = graph.view(weights, used, tokens)
        weights = graph.view(graph.compute("SOFT_MAX", (used, tokens), flat), 1, used, tokens)
    elif feed.normalized:
        flat = graph.view(weights, used, tokens)
        total = graph.compute("SUM_ROWS", (1, tokens), flat)
        weights = graph.view(graph.compute("DIV", (used, tokens), flat, total), 1, used, tokens)
    if feed.scaled and weights.root is not None:
        weights = graph.compute("SCALE", (1, used, tokens), weights)
    return chosen, weights


def _masked_groups(graph: Graph, feed: Experts, selection: Tensor) -> Tensor:
    """Return the scores of the experts in the best groups; a group's score is that of its best two."""
    (count, tokens), groups, used = selection.shape, feed.groups, feed.groups_used
    size = count // groups
    grouped = graph.view(selection, size, groups, tokens)
    best = graph.view(graph.compute("ARGSORT", grouped.shape, grouped, width=I32_BYTES), 2, groups, tokens)
    singles = graph.view(grouped, 1, size, groups, tokens)
    best_scores = graph.view(graph.compute("GET_ROWS", (1, 2, groups, tokens), singles, best), 2, groups, tokens)
    group_scores = graph.view(graph.compute("SUM_ROWS", (1, groups, tokens), best_scores), groups, tokens)
    ranked = graph.compute("ARGSORT", (groups, tokens), group_scores, width=I32_BYTES)
    chosen = graph.view(ranked, used, tokens)
    kept = graph.compute("GET_ROWS", (size, used, tokens), grouped, chosen)
    masked = graph.written("SET_ROWS", graph.compute("FILL", grouped.shape, grouped), kept, chosen)
    return graph.view(masked, count, tokens)
