"""What of a model's layers decides its caches and inputs, counted once for each model."""

from __future__ import annotations

from deployfit.kept import keep
from deployfit.layers.attention import Attention, LatentAttention
from deployfit.layers.blueprint import Blueprint, Mixer, Recurrent

NO_END = 1 << 62  # more cells than any cache has


class Kinds:
    """A model's kinds of mixers.

    `caches` are those with a KV cache of their own, with how many layers have such a one; `attentions` those that read
    one. `window`: tokens that layers with a window see, 0 where none has one. `indexed_cells`: how many cells an
    indexer picks. `widest_values`: the most values that a layer caches of a token. `state_elements`: those of all
    recurrent layers, for one sequence.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        counts: dict[Mixer, int] = {}
        for layer in blueprint.layers:
            if layer.mixer is not None:
                counts[layer.mixer] = counts.get(layer.mixer, 0) + 1
        self.blueprint = blueprint
        self.mixers = list(counts)
        self.attentions = [mixer for mixer in counts if isinstance(mixer, Attention | LatentAttention)]
        self.caches = [
            (mixer, counts[mixer])
            for mixer in self.attentions
            if isinstance(mixer, LatentAttention) or not mixer.shared_cache
        ]
        grouped = [mixer for mixer, _ in self.caches if isinstance(mixer, Attention)]
        self.window = max((mixer.window or mixer.chunk for mixer in grouped), default=0)
        self.widest_values = max((mixer.kv_dim for mixer in grouped), default=0)
        indexers = [mixer.indexer for mixer in self.attentions if isinstance(mixer, LatentAttention) and mixer.indexer]
        self.indexed_cells = indexers[0].top if indexers else NO_END
        self.recurrent_layers = self.state_elements = 0
        for mixer, count in counts.items():
            if isinstance(mixer, Recurrent):
                self.recurrent_layers += count
                self.state_elements += count * (mixer.state_elements + mixer.conv_elements)
        self.cached_layers = sum(count for _, count in self.caches)


MOST_MODELS = 64
_models: dict[int, Kinds] = {}


def kinds_of(blueprint: Blueprint) -> Kinds:
    """Return the kinds of a model, made once."""
    return _models.get(id(blueprint)) or keep(_models, id(blueprint), Kinds(blueprint), MOST_MODELS)
