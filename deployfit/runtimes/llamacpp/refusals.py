"""What llama.cpp refuses, with its reasons, and what a model was not trained for."""

from __future__ import annotations

from deployfit.errors import InputError, quoted, unknown
from deployfit.layers.attention import Attention, LatentAttention
from deployfit.layers.blueprint import Blueprint
from deployfit.layers.feed import Mlp
from deployfit.layers.recurrent import KimiDelta
from deployfit.parameters import param
from deployfit.runtimes.llamacpp.batch import is_quantized
from deployfit.runtimes.llamacpp.caches import kv_tensor_type
from deployfit.runtimes.llamacpp.graph import MIXERS
from deployfit.runtimes.llamacpp.kinds import kinds_of
from deployfit.runtimes.llamacpp.settings import KV_TYPES, MOST_PARALLEL, MOST_UBATCH, SLOTS, LlamaCppSettings

VOCAB_DIFFERENCE = 128  # tokens by which a draft model's vocabulary may differ (common/speculative.cpp)


def check(blueprint: Blueprint, settings: LlamaCppSettings) -> None:
    """Raise InputError for settings that the engine would refuse or that the model was not trained for."""
    _check_layers(blueprint)
    trained = blueprint.trained_context
    slots = settings.parallel if settings.outputs == SLOTS else 1
    if not 1 <= settings.context_tokens <= trained * max(slots, 1):
        each = f" for each of {slots} sequences" if slots > 1 else ""
        raise InputError(
            f"{param('context')}: {settings.context_tokens:,} tokens; choose from 1 to the trained {trained:,}{each}"
        )
    if not 1 <= settings.parallel <= MOST_PARALLEL:
        raise InputError(f"{param('parallel')}: {settings.parallel:,} sequences; choose from 1 to {MOST_PARALLEL}")
    if not 1 <= settings.ubatch <= MOST_UBATCH:
        raise InputError(f"{param('ubatch')}: {settings.ubatch:,} tokens; choose from 1 to {MOST_UBATCH:,}")
    for name in (settings.kv_type_k, settings.kv_type_v):
        if name not in KV_TYPES:
            raise unknown("KV type", name, KV_TYPES)
    _check_kv_types(blueprint, settings)
    _check_draft_model(blueprint, settings)


def _check_draft_model(blueprint: Blueprint, settings: LlamaCppSettings) -> None:
    model = settings.draft_model
    if model is None:
        return
    if abs(model.blueprint.vocab - blueprint.vocab) > VOCAB_DIFFERENCE:
        raise InputError(
            f"{param('draft_model')}: {model.name} has a vocabulary of {model.blueprint.vocab:,},"
            f" the model one of {blueprint.vocab:,}; choose a smaller model of the same family"
        )
    if model.blueprint.trained_context * settings.streams < settings.cells:
        raise InputError(
            f"{param('draft_model')}: {model.name} was trained for {model.blueprint.trained_context:,} tokens;"
            f" ask for no more with {param('context')}"
        )
    check(model.blueprint, settings._replace(draft_model=None, kv_type_k="f16", kv_type_v="f16"))


def _check_layers(blueprint: Blueprint) -> None:
    for mixer in kinds_of(blueprint).mixers:
        if mixer.kind not in MIXERS:
            raise InputError(f"llama.cpp: what it allocates for layers of kind {quoted(mixer.kind)} is not known")


def _check_kv_types(blueprint: Blueprint, settings: LlamaCppSettings) -> None:
    types = (settings.kv_type_k, settings.kv_type_v)
    if not settings.flash_attn and is_quantized(kv_tensor_type(types[1])):
        raise InputError(f"KV type {types[1]}: quantized values need {param('flash_attn')}")
    for mixer, _ in kinds_of(blueprint).caches:
        is_latent = isinstance(mixer, LatentAttention)
        if is_latent and types[0] != types[1]:
            raise InputError(f"KV types {types[0]} and {types[1]}: latent attention has one cache; choose equal types")
        for name, size in zip(types, _head_sizes(blueprint, mixer), strict=True):
            if size % kv_tensor_type(name).block_size:
                raise InputError(f"KV type {name}: heads of {size} do not divide into its blocks; choose f16")
    _check_graph_size(blueprint, settings)
    _check_equal_sequences(blueprint, settings)


def _head_sizes(blueprint: Blueprint, mixer: Attention | LatentAttention) -> tuple[int, int]:
    """Return the sizes of a key's and a value's head that the engine divides into blocks."""
    if isinstance(mixer, Attention):
        return mixer.head_dim, mixer.head_dim
    if any(isinstance(each, KimiDelta) for each in kinds_of(blueprint).mixers):
        # Kimi-Linear's files do not say how long values are; the engine then takes a share of the hidden size.
        return mixer.cache_row, blueprint.hidden // mixer.heads
    return mixer.cache_row, mixer.kv_rank


# Of a layer with one tensor for queries, keys and values and one for both input projections (Phi): the graph has so
# many operations, the engine's scheduler room for 8 tensors of a graph per tensor of the file. Counted in its graphs.
FUSED_OPERATIONS, FUSED_WEIGHTS, CACHES = 29, 6, 2
ROTATION_OPERATIONS = 3  # of each of queries, keys, values and results
OUTSIDE_OPERATIONS, OUTSIDE_WEIGHTS, INPUTS = 6, 3, 7
ROOM_PER_WEIGHT, LEAST_ROOM = 8, 1_024
HASH_SIZES = (1_031, 2_053, 4_099, 8_209, 16_411)  # the engine's: primes after powers of two


def _check_graph_size(blueprint: Blueprint, settings: LlamaCppSettings) -> None:
    """Raise InputError where the engine aborts because its graph has more tensors than it made room for."""
    if not all(isinstance(mixer, Attention) and mixer.fused for mixer in kinds_of(blueprint).mixers):
        return
    if not all(isinstance(layer.feed, Mlp) and layer.feed.fused for layer in blueprint.layers):
        return
    layers = len(blueprint.layers)
    quantized = sum(is_quantized(kv_tensor_type(name)) for name in (settings.kv_type_k, settings.kv_type_v))
    operations = FUSED_OPERATIONS + 2 * ROTATION_OPERATIONS * quantized + CACHES * (settings.streams > 1)
    tensors = layers * (operations + FUSED_WEIGHTS + CACHES) + OUTSIDE_OPERATIONS + OUTSIDE_WEIGHTS + INPUTS + quantized
    room = max(LEAST_ROOM, ROOM_PER_WEIGHT * (layers * FUSED_WEIGHTS + OUTSIDE_WEIGHTS))
    if tensors > next((size for size in HASH_SIZES if size >= room), tensors):
        raise InputError(
            f"KV types {settings.kv_type_k} and {settings.kv_type_v} with {settings.streams} separate sequences:"
            f" llama.cpp aborts, for the graph is larger than planned; choose f16, or {param('kv_unified')}"
        )


def _check_equal_sequences(blueprint: Blueprint, settings: LlamaCppSettings) -> None:
    """Raise InputError where Kimi-Linear's graph cannot be parted among sequences; others get a padded micro-batch."""
    rest = settings.micro_batch % settings.streams
    if rest and any(isinstance(mixer, KimiDelta) for mixer in kinds_of(blueprint).mixers):
        raise InputError(
            f"{param('ubatch')}: llama.cpp aborts with this model if {settings.micro_batch} tokens do not divide among"
            f" {settings.streams} separate sequences; choose {settings.micro_batch - rest}, or {param('kv_unified')}"
        )
