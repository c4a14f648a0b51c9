"""A model as a list of layers: what an architecture file makes of a configuration, and all that engines ask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deployfit.layers.attention import Attention, LatentAttention
from deployfit.layers.feed import Experts, Mlp
from deployfit.layers.recurrent import DeltaNet, KimiDelta, Mamba2, ShortConvolution
from deployfit.layers.tensor import OUTSIDE, Part, Tensor
from deployfit.layers.vision import VisionTower
from deployfit.values import NamedTuple

Mixer = Attention | LatentAttention | DeltaNet | KimiDelta | Mamba2 | ShortConvolution
Recurrent = DeltaNet | KimiDelta | Mamba2 | ShortConvolution
Feed = Mlp | Experts

PRE_NORMS = ("attn_norm", "ffn_norm")


class Layer(NamedTuple):
    """One decoder layer: a mixer, a feed-forward block, or both, each behind a norm and added to the stream.

    `norms` are the roles of its norms of the hidden size, in the order of the forward pass. `per_layer_width`: that
    of the per-layer embedding that is mixed in (Gemma's E models). `scaled`: its output is multiplied by a number of
    its own (Gemma 4). `residual_first`: which blocks ("mixer", "feed") are added as stream + block, not block + stream;
    an engine may overwrite the first of the two.
    """

    mixer: Mixer | None
    feed: Feed | None
    norms: tuple[str, ...] = PRE_NORMS
    per_layer_width: int = 0
    scaled: bool = False
    residual_first: tuple[str, ...] = ()


class Draft(NamedTuple):
    """A multi-token-prediction (MTP) layer: predicts one token more than the model itself.

    `own_embedding`: it has an embedding and an output head of its own (GLM).
    """

    layer: Layer
    own_embedding: bool = False


class Blueprint(NamedTuple):
    """A model's text part, draft layers and vision tower.

    `model_type` is that of config.json, `gguf_architecture` llama.cpp's name (`general.architecture`).
    `rope_factors`: elements of a table of rotation factors that llama.cpp's file holds once; `rope_tables` of them, one
    for long and one for short contexts if there are two (Phi). `embedding_normed`: embeddings go through an RMS norm
    without a weight. `embedding_scaled`, `residual_scaled`, `logits_scaled`: what is multiplied by a constant.
    `logits_capped`: logits go through tanh. `deepstack`: at how many layers image features are added.
    `per_layer_vocab`: rows of the table of per-layer embeddings. `norm_role`: the role of the last norm.
    `position_axes`: how many numbers tell a token's position. `outputs_chosen`: where a forward pass drops the tokens
    that get no logits: in the "last_layer", after all layers but "before_norm", or "after_norm", because drafting
    reads what stands there.
    """

    model_type: str
    gguf_architecture: str
    hidden: int
    vocab: int
    tied: bool
    trained_context: int
    layers: tuple[Layer, ...]
    drafts: tuple[Draft, ...] = ()
    vision: VisionTower | None = None
    rope_factors: int = 0
    rope_tables: int = 1
    embedding_normed: bool = False
    embedding_scaled: bool = False
    residual_scaled: bool = False
    logits_scaled: bool = False
    logits_capped: bool = False
    deepstack: int = 0
    per_layer_vocab: int = 0
    norm_role: str = "output_norm"
    position_axes: int = 1
    outputs_chosen: str = "last_layer"

    @property
    def per_layer_width(self) -> int:
        """Width of a per-layer embedding, 0 where there is none."""
        return self.layers[0].per_layer_width if self.layers else 0  # of a bare one only the weights are known

    @property
    def experts(self) -> Experts | None:
        """The mixture of experts, None in a dense model."""
        return next((layer.feed for layer in self.layers if isinstance(layer.feed, Experts)), None)

    @property
    def attentions(self) -> list[Attention | LatentAttention]:
        """The mixers with a KV cache of their own, layer by layer."""
        return [
            layer.mixer
            for layer in self.layers
            if isinstance(layer.mixer, LatentAttention)
            or (isinstance(layer.mixer, Attention) and not layer.mixer.shared_cache)
        ]

    @property
    def recurrents(self) -> list[Recurrent]:
        """The mixers that keep a state, layer by layer."""
        return [layer.mixer for layer in self.layers if isinstance(layer.mixer, Recurrent)]

    def first_tensors(self) -> Iterator[Tensor]:
        """Yield the text model's tensors before its layers."""
        yield self._outside("token_embd", self.vocab, self.hidden)
        if self.per_layer_width:
            width = self.per_layer_width * len(self.layers)
            yield self._outside("per_layer_token_embd", self.per_layer_vocab, width)
            yield self._outside("per_layer_model_proj", width, self.hidden)
            yield self._outside("per_layer_proj_norm", self.per_layer_width)

    def last_tensors(self) -> Iterator[Tensor]:
        """Yield the text model's tensors after its layers."""
        yield self._outside(self.norm_role, self.hidden)
        if not self.tied:
            yield self._outside("output", self.vocab, self.hidden)

    def _outside(self, role: str, *shape: int) -> Tensor:
        return Tensor(role, shape, OUTSIDE, Part.TEXT, "model")

    def text_tensors(self) -> Iterator[Tensor]:
        """Yield the text model's tensors in the order of the forward pass."""
        yield from self.first_tensors()
        for index, layer in enumerate(self.layers):
            yield from layer_tensors(layer, self.hidden, index, Part.TEXT)
        yield from self.last_tensors()

    def tensor_classes(self, *, drafts: bool) -> Iterator[tuple[Tensor, Sequence[int]]]:
        """Yield the text model's tensors, one for all that are equal but for their layer, with those layers.

        The tensor is that of the first. With the draft layers', if they are wanted.
        """
        for tensor in (*self.first_tensors(), *self.last_tensors()):
            yield tensor, (OUTSIDE,)
        alike: dict[Layer, list[int]] = {}
        for index, layer in enumerate(self.layers):
            alike.setdefault(layer, []).append(index)
        for layer, indices in alike.items():
            for tensor in layer_tensors(layer, self.hidden, indices[0], Part.TEXT):
                yield tensor, indices
        if drafts:
            for tensor in self.draft_tensors():
                yield tensor, (tensor.layer,)

    def draft_tensors(self) -> Iterator[Tensor]:
        """Yield the draft layers' tensors; they share embedding and head with the text model unless said otherwise."""
        hidden = self.hidden
        for index, draft in enumerate(self.drafts, len(self.layers)):
            own: list[tuple[str, tuple[int, ...]]] = [
                ("nextn.eh_proj", (hidden, 2 * hidden)),
                ("nextn.enorm", (hidden,)),
                ("nextn.hnorm", (hidden,)),
            ]
            if draft.own_embedding:
                own += [("nextn.embed_tokens", (self.vocab, hidden)), ("nextn.shared_head_head", (self.vocab, hidden))]
            for role, shape in own:
                yield Tensor(role, shape, index, Part.MTP, "draft")
            yield from layer_tensors(draft.layer, hidden, index, Part.MTP)
            yield Tensor("nextn.shared_head_norm", (hidden,), index, Part.MTP, "draft")

    def vision_tensors(self) -> Iterator[Tensor]:
        """Yield the vision tower's tensors."""
        if self.vision:
            for name, shape in self.vision.tensors():
                yield Tensor(name, shape, OUTSIDE, Part.VISION, "vision")

    def params(self) -> dict[Part, int]:
        """Return how many numbers each part has."""
        counts = dict.fromkeys(Part, 0)
        for tensor, layers in self.tensor_classes(drafts=True):
            counts[tensor.part] += tensor.params * len(layers)
        counts[Part.VISION] = sum(tensor.params for tensor in self.vision_tensors())
        return counts

    def contradictions(self) -> list[str]:
        """Return what cannot be true together."""
        found: dict[str, None] = {}
        for layer in {*self.layers, *(draft.layer for draft in self.drafts)}:
            mixer, feed = layer.mixer, layer.feed
            if isinstance(mixer, Attention) and mixer.heads % mixer.kv_heads:
                found[
                    f"num_attention_heads: {mixer.heads} is not a multiple of num_key_value_heads, {mixer.kv_heads}"
                ] = None
            if isinstance(mixer, DeltaNet) and mixer.value_heads % mixer.key_heads:
                found["linear_num_value_heads: not a multiple of linear_num_key_heads"] = None
            if isinstance(feed, Experts) and feed.used > feed.count:
                found[f"num_experts_per_tok: {feed.used} is more than num_experts, {feed.count}"] = None
        return list(found)

    def tensors(self) -> Iterator[Tensor]:
        """Yield every tensor."""
        yield from self.text_tensors()
        yield from self.draft_tensors()
        yield from self.vision_tensors()


def layer_tensors(layer: Layer, hidden: int, index: int, part: Part) -> Iterator[Tensor]:
    """Yield a layer's tensors; `index` counts from 0, draft layers after all others."""
    for role in layer.norms:
        yield Tensor(role, (hidden,), index, part, "layer")
    for block in (layer.mixer, layer.feed):
        if block is not None:
            for role, shape in block.tensors(hidden):
                yield Tensor(role, shape, index, part, block.kind)
    if layer.per_layer_width:
        yield Tensor("inp_gate", (layer.per_layer_width, hidden), index, part, "layer")
        yield Tensor("proj", (hidden, layer.per_layer_width), index, part, "layer")
        yield Tensor("post_norm", (hidden,), index, part, "layer")
    if layer.scaled:
        yield Tensor("layer_output_scale", (1,), index, part, "layer")
