"""The context that drafts with a model's MTP layer: its graph is one layer behind a projection, and samplers.

Source: graph_mtp in llama.cpp's src/models, and llm_graph_context::build_sampling (ggml 0.25.3, 2026-10-01).
"""

from __future__ import annotations

from collections.abc import Mapping

from deployfit.kept import keep
from deployfit.layers.attention import LatentAttention
from deployfit.layers.blueprint import Blueprint
from deployfit.runtimes.llamacpp.batch import Batch
from deployfit.runtimes.llamacpp.compute import MOST_MODELS, ModelBuffers
from deployfit.runtimes.llamacpp.context import ModelGraph
from deployfit.runtimes.llamacpp.graph import AFTER_NORM, BEFORE_FEED, IN_LAST_LAYER, Stream
from deployfit.runtimes.llamacpp.inputs import I32_BYTES, Input
from deployfit.runtimes.llamacpp.tensors import Tensor

# Where the graph drops the tokens that get no logits, if not after the last norm.
OUTPUTS_CHOSEN: Mapping[str, str] = {"qwen3next": IN_LAST_LAYER, "nemotron_h_moe": BEFORE_FEED}
LAYER_NORM = ("nemotron_h_moe",)  # before the head; all others have a root-mean-square norm there
SAMPLED = 10  # candidates that each slot's sampler leaves


def _alone(blueprint: Blueprint) -> Blueprint:
    """Return a model of the first MTP layer alone: llama.cpp drafts with one, and uses no indexer in it."""
    layer = blueprint.drafts[0].layer
    if isinstance(layer.mixer, LatentAttention):
        layer = layer._replace(mixer=layer.mixer._replace(indexer=None))
    return blueprint._replace(
        layers=(layer,),
        vision=None,
        embedding_scaled=False,
        deepstack=0,
        outputs_chosen=OUTPUTS_CHOSEN.get(blueprint.gguf_architecture, AFTER_NORM),
    )


class DraftBuffers(ModelBuffers):
    """The compute buffers of a context that drafts with the MTP layer."""

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__(_alone(blueprint))

    def inputs(self, batch: Batch) -> Mapping[str, Input]:
        """Return the inputs; a table of embeddings of its own lies on the device, and is read there."""
        inputs = dict(super().inputs(batch))
        if self.blueprint.drafts[0].own_embedding:
            del inputs["embedding"]
        return inputs

    def graph(self, batch: Batch) -> ModelGraph:
        """Return the graph: the last token's embedding and the model's hidden state, joined, through the MTP layer.

        The hidden states come in place of an image's features.
        """
        graph = ModelGraph(self.blueprint, batch, self.inputs(batch))
        states = (self.blueprint.hidden, batch.tokens)
        if graph.has_input("embedding"):
            embedded = graph.input("embedding")
        else:
            embedded = graph.compute("GET_ROWS", states, graph.input("tokens"))
        norms = (graph.norm(embedded), graph.norm(graph.input("features")))
        joined = graph.compute("CONCAT", (2 * states[0], states[1]), *norms)
        stream = Stream(graph, graph.projected(states[0], joined))
        stream.add_layer(self.blueprint.layers[0], is_last=True)
        layer_norm = self.blueprint.gguf_architecture in LAYER_NORM
        _add_samplers(graph, stream.add_head(layer_norm=layer_norm, keeps_chosen=False))
        return graph


def _add_samplers(graph: ModelGraph, logits: Tensor) -> None:
    """Append each slot's choice of the likeliest tokens, with their logits; a row is padded for idle slots."""
    vocab, rows = logits.shape
    padded = graph.compute("PAD", (vocab, rows + 1), logits)
    for _ in range(graph.batch.sequences):
        row = graph.view(padded, vocab)
        candidates = graph.compute("TOP_K", (SAMPLED,), row, width=I32_BYTES)
        values = graph.compute("GET_ROWS", (1, SAMPLED), graph.view(row, 1, vocab), candidates)
        candidates.is_output = values.is_output = True
        graph.expand(values)


_models: dict[int, tuple[Blueprint, DraftBuffers]] = {}


def draft_buffers_of(blueprint: Blueprint) -> DraftBuffers:
    """Return the buffers of the context that drafts with a model's MTP layer."""
    found = _models.get(id(blueprint))
    return (found or keep(_models, id(blueprint), (blueprint, DraftBuffers(blueprint)), MOST_MODELS))[1]
