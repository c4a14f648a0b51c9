"""How fast it runs: tokens per second as a roofline, with coefficients fitted to measurements.

Decoding a token reads the weights that are active, the caches, and reads and writes the recurrent state, at a share
of the memory's bandwidth; each layer costs some time of its own; llama.cpp's K and IQ types cost arithmetic besides.
Prefill is arithmetic: two operations per active parameter and token, and attention over what was read before. The
coefficients are in `data/speed_coefficients.csv`; `benchmarks/fit_speed.py` makes them from the measurements.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from deployfit.basis import Basis
from deployfit.errors import DataError
from deployfit.estimate import Estimate
from deployfit.hardware.mac import Mac, MacRow, find_chip
from deployfit.layers.attention import Attention, LatentAttention
from deployfit.layers.blueprint import Blueprint
from deployfit.layers.tensor import Part
from deployfit.quants.weights import EMBEDDINGS, WeightClass, Weights
from deployfit.tables import Row, Table

GENERATIONS = (1, 2, 3, 4, 5, 6)  # of chips that were measured; a later one is taken for the last
EVERY_RUNTIME = (
    "bandwidth_share",
    "cache_share",
    "dense_layer_us",
    "moe_layer_us",
    "ultra_factor",
    *(f"bandwidth_factor_m{generation}" for generation in GENERATIONS),
    *(f"layer_factor_m{generation}" for generation in GENERATIONS),
    "prefill_share_dense",
    "prefill_share_moe",
    "prefill_share_attention",
    *(f"prefill_factor_m{generation}" for generation in GENERATIONS),
    *(f"decode_{end}{where}" for end in ("low", "high") for where in ("", "_unseen")),
    *(f"prefill_{end}{where}" for end in ("low", "high") for where in ("", "_neural", "_unseen")),
)
ROWS = "rows:"  # of a chip: how many measurements stand behind it

Coefficients = Mapping[str, float]


COEFFICIENTS = Table(
    "speed_coefficients.csv",
    ["runtime", "coefficient", "value"],
    lambda row: (row.text("runtime"), row.text("coefficient"), row.decimal("value")),
)


def by_runtime(rows: Sequence[tuple[str, str, float]]) -> dict[str, Coefficients]:
    """Return the coefficients by runtime; raise DataError if one is missing."""
    found: dict[str, dict[str, float]] = {}
    for runtime, name, value in rows:
        found.setdefault(runtime, {})[name] = value
    faults = [
        f"data/{COEFFICIENTS.file}: {runtime}: no coefficient {name}"
        for runtime, values in found.items()
        for name in EVERY_RUNTIME
        if name not in values
    ]
    if faults:
        raise DataError(faults)
    return dict(found)


class Drafting(NamedTuple):
    """What drafting with the MTP layer was seen to make of the decoding speed, over so many pairs of measurements."""

    low: float
    high: float
    pairs: int


def _drafting_row(row: Row) -> tuple[str, float]:
    return row.text("runtime"), row.decimal("with_tps") / (row.decimal("without_tps") or 1.0)


DRAFTING = Table("mtp_speedups.csv", ["runtime", "without_tps", "with_tps"], _drafting_row)


def drafting_of(rows: Sequence[tuple[str, float]]) -> dict[str, Drafting]:
    """Return the range of the measured factors by runtime."""
    found: dict[str, list[float]] = {}
    for runtime, factor in rows:
        found.setdefault(runtime, []).append(factor)
    return {runtime: Drafting(min(factors), max(factors), len(factors)) for runtime, factors in found.items()}


class Rate(NamedTuple):
    """Tokens per second, with the interval that four of five measurements should fall into."""

    tps: float
    low_tps: float
    high_tps: float


class Speed(NamedTuple):
    """How fast a model runs: decoding at the start and with the whole context, and reading the whole context in."""

    decode: Rate
    decode_full: Rate
    prefill: Rate
    basis: Basis
    note: str  # what the chip's figures rest on
    drafting: Drafting | None  # what MTP drafting makes of `decode`, if it is asked for and was measured


class Work(NamedTuple):
    """What a runtime has to do for one token; `Any` number may be a numpy array, for many at once."""

    read_bytes: Any  # of the weights
    state_bytes: Any  # of the recurrent state, read and written
    kernel_flops: Any  # that unpacking the weights' types costs
    layers: int
    is_moe: bool
    active_params: int
    attention_flops: int  # per token of the context


def active_bytes(blueprint: Blueprint, weights: Weights) -> int:
    """Return the bytes of the weights that decoding one token reads: of the routed experts the active ones.

    An embedding table is read for one row only, unless it is the output head too.

    >>> from deployfit.catalogue import models, rows
    >>> from deployfit.formats.gguf_recipes import RECIPES, recipes_of
    >>> from deployfit.quants.gguf import gguf_weights
    >>> model = models()["Qwen3.5-35B-A3B"]
    >>> recipe = recipes_of(rows(RECIPES))["Q4_K_M"]
    >>> active_bytes(model.blueprint, gguf_weights(model, recipe, imatrix=False, mtp=False))
    1975675392
    """
    experts = blueprint.experts
    read = weights.text_bytes - weights.expert_bytes - _unread_bytes(blueprint, weights)
    return read + (weights.expert_bytes * experts.used // experts.count if experts else weights.expert_bytes)


def _unread_bytes(blueprint: Blueprint, weights: Weights) -> int:
    """Return the bytes of the tables of which decoding reads one row."""
    return sum(
        each.total_bytes
        for each in weights.classes
        if each.part is Part.TEXT and each.role in EMBEDDINGS and not (blueprint.tied and each.role == "token_embd")
    )


@lru_cache(maxsize=64)
def active_params(blueprint: Blueprint) -> int:
    """Return the parameters that one token of a prompt is multiplied with: no embedding, no output head.

    >>> from deployfit.catalogue import models
    >>> active_params(models()["Qwen3.5-27B"].blueprint)
    24353201664
    """
    total = routed = 0
    for tensor in blueprint.text_tensors():
        if "_exps" in tensor.role:
            routed += tensor.params
        elif tensor.role not in (*EMBEDDINGS, "output"):
            total += tensor.params
    experts = blueprint.experts
    return total + (routed * experts.used // experts.count if experts else 0)


def work_of(blueprint: Blueprint, weights: Weights, state_bytes: Any, coefficients: Coefficients) -> Work:
    """Return what one token costs; `state_bytes` are those of one sequence's recurrent state."""
    read = active_bytes(blueprint, weights)
    kernel = kernel_of(weights.classes)
    return Work(
        read_bytes=read,
        state_bytes=2 * state_bytes,
        kernel_flops=coefficients.get(kernel, 0.0) * read * 8 / weights.bits_per_weight,
        layers=len(blueprint.layers),
        is_moe=blueprint.experts is not None,
        active_params=active_params(blueprint),
        attention_flops=sum(map(_attention_flops, blueprint.attentions)),
    )


def _attention_flops(mixer: Attention | LatentAttention) -> int:
    """Return the operations of a layer's attention, per token and token of the context: scores, and values' sum."""
    if isinstance(mixer, Attention):
        return 0 if mixer.window or mixer.chunk else 4 * mixer.query_dim
    return 2 * mixer.heads * (mixer.cache_row + mixer.kv_rank)


KERNELS: Mapping[str, str] = {"IQ4_NL": "kernel_iq4_nl", "IQ": "kernel_iq"}  # by how a type's name begins


def kernel_of(classes: Sequence[WeightClass]) -> str:
    """Return which coefficient says what unpacking costs of the types that most bytes have, "" if next to nothing.

    >>> from deployfit.layers.tensor import Part
    >>> head = WeightClass("output", "Q8_0", Part.TEXT, (-1,), 9)
    >>> kernel_of([WeightClass("ffn_up", "Q4_K", Part.TEXT, (0,), 100), head])
    'kernel_k'
    """
    sizes: dict[str, int] = {}
    for each in classes:
        if each.part is Part.TEXT and each.role not in EMBEDDINGS:
            kernel = _kernel(each.type)
            sizes[kernel] = sizes.get(kernel, 0) + each.total_bytes
    return max(sizes, key=lambda kernel: sizes[kernel], default="")


def _kernel(tensor_type: str) -> str:
    for beginning, kernel in KERNELS.items():
        if tensor_type.startswith(beginning):
            return kernel
    return "kernel_k" if tensor_type.endswith("_K") else ""


def decode_seconds(chip: MacRow, coefficients: Coefficients, work: Work, cache_bytes: Any) -> Any:
    """Return the seconds that decoding one token takes with so many bytes of KV cache before it."""
    generation = _generation(chip)
    bandwidth = chip.bandwidth_gb_s * 1e9
    share = coefficients["bandwidth_share"] * coefficients[f"bandwidth_factor_m{generation}"]
    per_layer = coefficients["dense_layer_us"] + (coefficients["moe_layer_us"] if work.is_moe else 0)
    per_layer *= coefficients[f"layer_factor_m{generation}"]
    if chip.chip.endswith("Ultra"):
        per_layer *= coefficients["ultra_factor"]
    return (
        (work.read_bytes + work.state_bytes) / (bandwidth * share)
        + cache_bytes / (bandwidth * coefficients["cache_share"])
        + work.layers * per_layer * 1e-6
        + work.kernel_flops / (chip.shader_tflops * 1e12)
    )


def prefill_seconds(chip: MacRow, coefficients: Coefficients, work: Work, prompt_tokens: Any) -> Any:
    """Return the seconds that each token of a prompt takes on average."""
    flops = chip.fp16_tflops * 1e12 * coefficients[f"prefill_factor_m{_generation(chip)}"]
    share = coefficients["prefill_share_moe" if work.is_moe else "prefill_share_dense"]
    attention = work.attention_flops * prompt_tokens / 2
    return 2 * work.active_params / (flops * share) + attention / (flops * coefficients["prefill_share_attention"])


def _generation(chip: MacRow) -> int:
    return min(max(chip.generation, GENERATIONS[0]), GENERATIONS[-1])


class Speeds(NamedTuple):
    """What is known of speed: the coefficients by runtime, and the chips."""

    coefficients: Mapping[str, Coefficients]
    drafting: Mapping[str, Drafting]
    macs: Sequence[MacRow]

    def chip(self, mac: Mac) -> MacRow | None:
        """Return the chip of a Mac, None where its speed is not known."""
        found = find_chip(mac, self.macs)
        return found if found and found.bandwidth_gb_s and found.fp16_tflops else None

    def why_not(self, mac: Mac) -> str:
        """Return why no speed can be said of a Mac, "" if one can."""
        if self.chip(mac):
            return ""
        if not mac.chip:
            return "the chip decides: say it with --mac, such as 'M4 Max 64'"
        return f"bandwidth and arithmetic of the {mac.chip} are not known"

    def speed(
        self,
        mac: Mac,
        blueprint: Blueprint,
        weights: Weights,
        needed: Estimate,
        *,
        runtime: str,
        sequences: int,
        context_tokens: int,
        states: int = 0,
        mtp: bool = False,
    ) -> Speed | None:
        """Return how fast a model runs, None where that is not known.

        Of several sequences at once it is the speed of one that runs alone. `states`: how many there are of them all,
        if not one of each.
        """
        chip = self.chip(mac)
        if chip is None:
            return None
        coefficients = self.coefficients[runtime]
        state = needed.bytes_of("recurrent_state") // (states or sequences)
        work = work_of(blueprint, weights, state, coefficients)
        cache = needed.bytes_of("kv_cache") // sequences
        unseen = "" if coefficients.get(ROWS + chip.chip) else "_unseen"
        neural = unseen or ("_neural" if chip.neural_accelerators else "")

        def rate(seconds: float, interval: str, most: float = math.inf) -> Rate:
            low, high = (coefficients[interval.format(end)] for end in ("low", "high"))
            return Rate(1 / seconds, low / seconds, min(high / seconds, most))

        most = chip.bandwidth_gb_s * 1e9 / work.read_bytes  # the memory gives no more
        return Speed(
            decode=rate(decode_seconds(chip, coefficients, work, 0), "decode_{}" + unseen, most),
            decode_full=rate(decode_seconds(chip, coefficients, work, cache), "decode_{}" + unseen, most),
            prefill=rate(prefill_seconds(chip, coefficients, work, context_tokens), "prefill_{}" + neural),
            basis=Basis.ASSUMED if unseen else Basis.DERIVED,
            note=self._note(chip, coefficients, runtime),
            drafting=self.drafting.get(runtime) if mtp else None,
        )

    def _note(self, chip: MacRow, coefficients: Coefficients, runtime: str) -> str:
        rows = int(coefficients.get(ROWS + chip.chip, 0))
        if rows:
            counted = "1 measurement" if rows == 1 else f"{rows} measurements"
            return f"{counted} of {runtime} on an {chip.chip} {'is' if rows == 1 else 'are'} among them"
        return (
            f"no measurement of {runtime} on an {chip.chip}: from its bandwidth of {chip.bandwidth_gb_s} GB/s, and what"
            f" other chips make of theirs; the interval is that of a chip left out of the fit"
        )


NO_SPEEDS = Speeds({}, {}, ())
