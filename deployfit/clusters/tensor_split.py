"""MLX's tensor split: of each matrix a part on every rank, by rows or by columns; what is small is whole everywhere.

mlx-lm's `shard()` and exo's strategies split the same matrices of nearly all models, so that a role says how: those
that make heads and hidden widths by rows, those that read them by columns. Source: mlx-lm 0.32.2 and mlx 0.32.4
(nn/layers/distributed.py), exo b5375f8.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deployfit.layers.attention import Attention, LatentAttention
from deployfit.layers.blueprint import Blueprint, Layer, Mixer
from deployfit.layers.recurrent import DeltaNet, Mamba2
from deployfit.layers.tensor import OUTSIDE, Part
from deployfit.quants.weights import WeightClass, Weights
from deployfit.values import NamedTuple

BY_ROWS = frozenset(
    {
        *("attn_q", "attn_k", "attn_v", "attn_q.bias", "attn_k.bias", "attn_v.bias", "attn_sinks"),
        *("attn_q_b", "attn_kv_b", "attn_k_b", "attn_v_b"),
        *(
            "attn_qkv",
            "attn_gate",
            "attn_qkv+attn_gate",
            "ssm_beta",
            "ssm_alpha",
            "ssm_ba",
            "ssm_conv1d",
            "ssm_dt.bias",
            "ssm_a",
        ),
        *("ffn_gate", "ffn_up", "ffn_gate_exps", "ffn_up_exps", "ffn_gate_shexp", "ffn_up_shexp"),
        *("ffn_gate_exps.bias", "ffn_up_exps.bias", "ffn_gate.bias", "ffn_up.bias"),
    }
)
BY_COLUMNS = frozenset({"attn_output", "ssm_out", "ffn_down", "ffn_down_exps", "ffn_down_shexp"})
KEYS_AND_VALUES = ("attn_k", "attn_v", "attn_k.bias", "attn_v.bias")
HEADS_FIRST = ("attn_k_b", "attn_v_b")  # stacks with a matrix for each head
GROUPS = {"mxfp4": 32, "mxfp8": 32, "nvfp4": 16}


class TensorSplit(NamedTuple):
    """How an engine splits a model: roles that it splits by rows beside the usual ones.

    `repeats_kv`: with more ranks than KV heads each rank gets a head of its own, some of them the same.
    """

    also: frozenset[str] = frozenset()
    repeats_kv: bool = False

    def is_split(self, role: str) -> bool:
        """Return whether a rank has only a part of a tensor."""
        return role in BY_ROWS or role in BY_COLUMNS or role in self.also

    def parts_of(self, each: WeightClass, layer: int, blueprint: Blueprint, count: int) -> int:
        """Return into how many parts a tensor of a layer is split."""
        if not self.is_split(each.role):
            return 1
        if self.repeats_kv and each.role in KEYS_AND_VALUES:
            mixer = blueprint.layers[layer].mixer
            if isinstance(mixer, Attention):
                return min(count, mixer.kv_heads)
        return count

    def rank_bytes(self, weights: Weights, blueprint: Blueprint, count: int) -> int:
        """Return the bytes of the text model that every rank holds; they are the same for all."""
        total = 0
        for each in weights.classes:
            if each.part is not Part.TEXT:
                continue
            if not self.repeats_kv or each.role not in KEYS_AND_VALUES:
                total += each.total_bytes // self.parts_of(each, each.layers[0], blueprint, count)
            else:
                total += sum(each.nbytes // self.parts_of(each, layer, blueprint, count) for layer in each.layers)
        return total

    def why_not(self, blueprint: Blueprint, count: int) -> str:
        """Return why no file of a model can be split so, "" if nothing speaks against it."""
        for mixer in dict.fromkeys(layer.mixer for layer in blueprint.layers):
            for name, heads in _heads(mixer):
                alone = self.repeats_kv and name == "KV heads" and count % heads == 0
                if heads % count and not alone:
                    return f"{count} Macs: its {heads} {name} do not divide by {count}"
        if "output" in self.also and not blueprint.tied and blueprint.vocab % count:
            return f"{count} Macs: its vocabulary of {blueprint.vocab:,} does not divide by {count}"
        return ""

    def why_not_weights(self, blueprint: Blueprint, weights: Weights, count: int) -> str:
        """Return why these weights cannot be split so: rows, and columns by whole groups, have to divide."""
        shapes: dict[str, set[tuple[int, ...]]] = {}
        for tensor, _ in blueprint.tensor_classes(drafts=False):
            for role, shape in _as_mlx_has_it(tensor.role, tensor.shape, blueprint):
                shapes.setdefault(role, set()).add(shape)
        for each in weights.classes:
            if each.part is not Part.TEXT or not self.is_split(each.role):
                continue
            for shape in shapes.get(each.role, ()):
                if each.role in BY_COLUMNS:
                    group = group_of(each.type)
                    columns = shape[-1] // group
                    what = f"{columns} groups of {group}" if group > 1 else f"{columns} columns"
                else:
                    is_repeated = self.repeats_kv and each.role in KEYS_AND_VALUES
                    columns = 0 if is_repeated else _rows(each.role, shape)
                    what = f"{columns} rows"
                if columns % count:
                    return f"{count} Macs: the {what} of its {each.role} do not divide by {count}"
        return ""


def group_of(tensor_type: str) -> int:
    """Return how many weights share a scale; 1 where none do.

    >>> group_of("affine4g64"), group_of("mxfp4"), group_of("BF16")
    (64, 32, 1)
    """
    if tensor_type.startswith("affine"):
        return int(tensor_type.rpartition("g")[2])
    return GROUPS.get(tensor_type, 1)


def _rows(role: str, shape: tuple[int, ...]) -> int:
    """Return the length that a split by rows divides: of a stack of experts that of each."""
    if role.endswith("_exps.bias"):
        return shape[-1]
    if role in HEADS_FIRST or len(shape) < 3 or role == "ssm_conv1d":
        return shape[0]
    return shape[-2]


def _as_mlx_has_it(role: str, shape: tuple[int, ...], blueprint: Blueprint) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the roles under which MLX holds a tensor, with the shapes that are split."""
    if role == "ffn_gate_up_exps":
        for part in ("ffn_gate_exps", "ffn_up_exps"):
            yield part, (shape[0], shape[1] // 2, shape[2])
        return
    if role == "attn_kv_b":
        heads = next(each.heads for each in blueprint.attentions if isinstance(each, LatentAttention))
        for part in HEADS_FIRST:
            yield part, (heads, 1, 1)
    yield role, shape


def _heads(mixer: Mixer | None) -> Iterator[tuple[str, int]]:
    if isinstance(mixer, Attention):
        yield "heads", mixer.heads
        yield "KV heads", mixer.kv_heads
    elif isinstance(mixer, LatentAttention):
        yield "heads", mixer.heads
    elif isinstance(mixer, DeltaNet):
        yield "key heads of linear attention", mixer.key_heads
        yield "value heads of linear attention", mixer.value_heads
    elif isinstance(mixer, Mamba2):
        yield "Mamba heads", mixer.heads
        yield "Mamba groups", mixer.groups


def rank_layers(layers: Sequence[Layer], count: int) -> tuple[Layer, ...]:
    """Return the layers as a rank computes them: with its heads only; caches follow from those."""
    known: dict[Layer, Layer] = {}
    for layer in layers:
        if layer not in known:
            known[layer] = layer._replace(mixer=_of_rank(layer.mixer, count))
    return tuple(known[layer] for layer in layers)


def _of_rank(mixer: Mixer | None, count: int) -> Mixer | None:
    if isinstance(mixer, Attention):
        return mixer._replace(heads=max(1, mixer.heads // count), kv_heads=max(1, mixer.kv_heads // count))
    if isinstance(mixer, LatentAttention):
        return mixer._replace(heads=max(1, mixer.heads // count))
    if isinstance(mixer, DeltaNet):
        return mixer._replace(key_heads=mixer.key_heads // count, value_heads=mixer.value_heads // count)
    if isinstance(mixer, Mamba2):
        return mixer._replace(heads=mixer.heads // count, groups=mixer.groups // count)
    return mixer


def bytes_of_layers(weights: Weights, layers: Sequence[int]) -> int:
    """Return the bytes of the text model that a stage of a pipeline holds: its layers, and all that is in none."""
    held = {*layers, OUTSIDE}
    return sum(
        each.nbytes * sum(layer in held for layer in each.layers) for each in weights.classes if each.part is Part.TEXT
    )
