"""The graph that llama.cpp computes for one micro-batch of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from deployfit.layers.blueprint import Blueprint, Layer
from deployfit.layers.feed import Experts, Mlp
from deployfit.runtimes.llamacpp.attention import attention
from deployfit.runtimes.llamacpp.batch import Batch
from deployfit.runtimes.llamacpp.context import ModelGraph
from deployfit.runtimes.llamacpp.feed import beside_dense, dense, mixture
from deployfit.runtimes.llamacpp.latent import latent_attention
from deployfit.runtimes.llamacpp.recurrent import delta_net, kimi_delta, mamba2, short_convolution
from deployfit.runtimes.llamacpp.tensors import Tensor

# The kinds of layers that the engine knows.
MIXERS: Mapping[str, Callable[[ModelGraph, Any, Tensor], Tensor]] = {
    "attention": attention,
    "latent_attention": latent_attention,
    "delta_net": delta_net,
    "kimi_delta": kimi_delta,
    "mamba2": mamba2,
    "short_convolution": short_convolution,
}

IN_LAST_LAYER, BEFORE_NORM, AFTER_NORM = "last_layer", "before_norm", "after_norm"
BEFORE_FEED = "before_feed"  # of the last layer


def build_graph(blueprint: Blueprint, batch: Batch, layers: tuple[Layer, ...]) -> ModelGraph:
    """Return the graph with these layers of the model."""
    graph = ModelGraph(blueprint, batch)
    add_layers(graph, layers)
    return graph


def add_layers(graph: ModelGraph, layers: tuple[Layer, ...]) -> None:
    """Append these layers to a graph that is empty, and the head."""
    stream = Stream(graph, graph.input("embedding"))
    stream.add_embedding()
    for index, layer in enumerate(layers):
        graph.layer = index
        stream.add_layer(layer, is_last=index + 1 == len(layers))
    graph.layer = len(layers)
    stream.add_head()


class Stream:
    """The stream of hidden states that layers add to."""

    def __init__(self, graph: ModelGraph, state: Tensor) -> None:
        self.graph = graph
        self.state = state
        self.features: Tensor | None = None  # of an image, for each of the first layers
        self.per_layer: Tensor | None = None
        self.added = 0

    def add_embedding(self) -> None:
        """Append what is done with the tokens' embeddings before the first layer."""
        graph, blueprint = self.graph, self.graph.blueprint
        if blueprint.deepstack:
            wide = (blueprint.hidden * (1 + blueprint.deepstack), graph.batch.tokens)
            padded = graph.compute("PAD", wide, self.state)
            self.state = self.features = graph.view(padded, *self.state.shape)
            graph.expand(self.state)
        if blueprint.embedding_normed:
            self.state = graph.norm(self.state)
        rows = self._per_layer_rows() if blueprint.per_layer_width else None
        if blueprint.embedding_scaled:
            self.state = graph.compute("SCALE", self.state.shape, self.state)
            graph.expand(self.state)
        if rows is not None:
            self._mix_in_stream(rows)

    def _per_layer_rows(self) -> Tensor:
        """Return the tokens' embeddings of each layer."""
        rows = self.graph.input("per_layer")
        scaled = self.graph.compute("SCALE", rows.shape, rows)
        self.graph.expand(scaled)
        return scaled

    def _mix_in_stream(self, rows: Tensor) -> None:
        """Add a projection of the stream to the embeddings of each layer."""
        graph = self.graph
        width, layers, tokens = rows.shape
        projected = graph.view(graph.projected(width * layers, self.state), *rows.shape)
        mixed = graph.compute("ADD", rows.shape, graph.norm(projected), rows)
        by_layer = (width, tokens, layers)
        self.per_layer = graph.compute("CONT", by_layer, graph.view(mixed, *by_layer))

    def add_layer(self, layer: Layer, *, is_last: bool) -> None:
        """Append one decoder layer."""
        graph, residual = self.graph, self.state
        graph.begun.append(len(graph.placed))
        sandwich = len(layer.norms) > 2  # each block has a norm after it too
        first = layer.residual_first
        output = residual
        if layer.mixer is not None:
            output = MIXERS[layer.mixer.kind](graph, layer.mixer, graph.norm(residual))
        elif layer.feed is not None:
            output = self._fed(layer.feed, residual)
        if is_last and graph.blueprint.outputs_chosen == IN_LAST_LAYER:
            output, residual = self._chosen(output), self._chosen(residual)
        if layer.mixer is None:
            self.state = self._sum(output, residual)
            return
        if sandwich:
            output = graph.norm(output)
        self.state = self._sum(output, residual, residual_first="mixer" in first)
        if is_last and graph.blueprint.outputs_chosen == BEFORE_FEED:
            self.state = self._chosen(self.state)
        if layer.feed is not None:
            output = self._fed(layer.feed, self.state)
            if sandwich:
                output = graph.norm(output)
            self.state = self._sum(output, self.state, residual_first="feed" in first)
        if self.per_layer is not None:
            self._mix_per_layer()
        if self.features is not None and self.added < graph.blueprint.deepstack:
            self.added += 1
            self.state = self._sum(self.state, graph.view(self.features, *self.state.shape))

    def _fed(self, feed: Mlp | Experts, stream: Tensor) -> Tensor:
        graph = self.graph
        if isinstance(feed, Mlp):
            return dense(graph, feed, graph.norm(stream))
        if feed.beside:
            return beside_dense(graph, feed, feed.beside, stream)
        return mixture(graph, feed, graph.norm(stream))

    def _mix_per_layer(self) -> None:
        graph, state = self.graph, self.state
        assert self.per_layer is not None
        width, tokens = self.per_layer.shape[:2]
        slice_of_layer = graph.view(self.per_layer, width, tokens)
        mixed = graph.compute("MUL", (width, tokens), graph.projected(width, state), slice_of_layer)
        mixed = graph.norm(graph.projected(graph.blueprint.hidden, mixed))
        self.state = self._sum(mixed, state, residual_first=True)

    def _sum(self, output: Tensor, residual: Tensor, *, residual_first: bool = False) -> Tensor:
        """Return the sum; of operands that nothing else reads, the first is overwritten."""
        operands = (residual, output) if residual_first else (output, residual)
        return self.graph.compute("ADD", output.shape, *operands)

    def _chosen(self, tensor: Tensor) -> Tensor:
        """Return the rows of the tokens that get logits."""
        graph = self.graph
        rows = (graph.blueprint.hidden, graph.batch.outputs)
        return graph.compute("GET_ROWS", rows, tensor, graph.input("output_rows"))

    def add_head(self, *, layer_norm: bool = False, keeps_chosen: bool = True) -> Tensor:
        """Append the final norm, the choice of output rows where it is not done yet, and the logits; return these.

        What can be read afterwards keeps its place; whether the chosen rows can, depends on the graph.
        """
        graph, chosen = self.graph, self.graph.blueprint.outputs_chosen
        state = self.state
        kept = []
        if chosen == BEFORE_NORM:
            kept.append(state)
            state = self._chosen(state)
        normed = graph.compute("NORM", state.shape, state) if layer_norm else graph.norm(state)
        kept.append(normed)
        if chosen == AFTER_NORM:
            normed = self._chosen(normed)
            if keeps_chosen:
                kept.append(normed)
        logits = graph.projected(graph.blueprint.vocab, normed)
        for tensor in (*kept, logits):
            tensor.is_output = True
        graph.expand(logits)
        return logits
