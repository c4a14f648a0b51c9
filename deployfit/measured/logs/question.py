"""The question that a log answers: which model, quant, settings and Mac it is about, as they would be typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployfit.basis import Basis
from deployfit.errors import InputError
from deployfit.formats.ggml import TENSOR_TYPES
from deployfit.hardware.gpu_limit import GENERATIONS, LimitRow, default_limit
from deployfit.hardware.mac import Mac, MacRow
from deployfit.layers.attention import Attention
from deployfit.layers.blueprint import Blueprint
from deployfit.layers.tensor import Part
from deployfit.measured.free_text import FindQuant, NotJudged, read_model
from deployfit.measured.logs.log import EngineLog
from deployfit.measured.naming import named_model
from deployfit.measured.subject import engines
from deployfit.models import Model
from deployfit.quants.weights import Options, Quant
from deployfit.runtimes import registry
from deployfit.runtimes.runtime import DEVICE
from deployfit.units import GIB, MIB
from deployfit.values import NamedTuple

SAME_PARAMS = 0.02  # parameters are printed with three digits, and a file may leave layers out


class ModelFound(NamedTuple):
    """The catalogue's model that a log is about; None with the reason why there is none."""

    model: Model | None
    reason: str = ""


class QuantFound(NamedTuple):
    """The quant that a log is about; None with the reason why there is none, or why it may be another."""

    quant: Quant | None
    reason: str = ""


def find_model(log: EngineLog, models: Mapping[str, Model]) -> ModelFound:
    """Return the model of a log: by its names if its numbers agree, else by its numbers alone.

    Models of the same numbers (Qwen3.5-27B and Qwen3.6-27B) are told apart by names only.
    """
    said = log.model
    named: Model | None = None
    for words in (said.file, said.repository.rpartition("/")[2], said.name):
        try:
            named = models.get(named_model(words)) or read_model(words, models)
            break
        except NotJudged:
            continue
    if named is not None and not contradicts(log, named.blueprint):
        return ModelFound(named)
    if said.architecture and said.params:
        alike = [
            model
            for model in models.values()
            if model.blueprint.gguf_architecture == said.architecture and not contradicts(log, model.blueprint)
        ]
        if alike:
            others = f", as of {len(alike) - 1} others" if len(alike) > 1 else ""
            return ModelFound(alike[0], f"taken for {alike[0].name}: its numbers are those of the log's{others}")
    if named is not None:
        return ModelFound(None, f"named like {named.name}, but its numbers are others")
    return ModelFound(None, f"no model of the catalogue: {said.title}" if said.title else "the log names no model")


def contradicts(log: EngineLog, blueprint: Blueprint) -> bool:
    """Return whether the log's header is that of another model; what it does not say contradicts nothing."""
    numbers = log.model.numbers
    layers, experts = len(blueprint.layers), blueprint.experts
    expected = {
        "n_embd": {blueprint.hidden},
        "n_layer": {layers, layers + len(blueprint.drafts)},
        "n_vocab": {blueprint.vocab},
        "n_expert": {experts.count if experts else 0},
    }
    grouped = [mixer for mixer in blueprint.attentions if isinstance(mixer, Attention)]
    if len(grouped) == len(blueprint.attentions):
        expected["n_head_kv"] = {0, *(mixer.kv_heads for mixer in grouped)}
    for name, values in expected.items():
        if name in numbers and not set(numbers[name]) <= values:
            return True
    return bool(log.model.params) and not _has_params(log.model.params, blueprint)


def _has_params(params: int, blueprint: Blueprint) -> bool:
    counts = blueprint.params()
    text, drafts = counts[Part.TEXT], counts[Part.MTP]
    # A tied model may be stored with a head of its own, and MTP layers may be in the file or not.
    head = blueprint.vocab * blueprint.hidden if blueprint.tied else 0
    return text * (1 - SAME_PARAMS) <= params <= (text + drafts + head) * (1 + SAME_PARAMS)


def find_quant_of(log: EngineLog, model: Model, find: FindQuant, publishers: Sequence[str]) -> QuantFound:
    """Return the quant of a log, among those of its name: whose file has the size that was logged, exact ones first.

    Where the file's size is not said, the GPU's weights are taken for it: most of a mapping.
    """
    names = _quant_names(log, publishers)
    file = log.part("file_tensors")
    size = file or log.part("weights", DEVICE)
    known: list[Quant] = []
    alike: Quant | None = None
    for name in names:
        try:
            quant = find(name, log.runtime)
        except InputError:
            continue
        sizes, basis = _sizes(quant, model)
        if not sizes:
            continue
        known.append(quant)
        if size and any(size.figure.holds(total) for total in sizes):
            if basis is Basis.EXACT:
                return QuantFound(quant)
            alike = alike or quant
    if alike:
        return QuantFound(alike)
    if known and not file:
        return QuantFound(known[0])
    if known:
        return QuantFound(known[0], f"no file of {model.name} that is known as {names[0]} has the size that was logged")
    return QuantFound(None, "the log names no quant that is known")


def _quant_names(log: EngineLog, publishers: Sequence[str]) -> list[str]:
    """Return what its quant may be called, the likeliest first."""
    said, engine = log.model, engines()[log.runtime]
    words = (said.file, said.repository.rpartition("/")[2], said.name, said.quant)
    plain = [name for word in words if (name := engine.quant_name(word))]
    owner = said.repository.partition("/")[0] or ("ollama" if log.program == "Ollama" else "")
    owners = [each for each in publishers if each.casefold() == owner.casefold()]
    owners += [each for each in publishers if each not in owners]
    bare = [name.rpartition(":")[2] for name in plain]
    names = [f"{each}:{name}" for each in owners[:1] for name in bare] if owner else []
    names += plain + bare
    names += [f"{each}:{name}" for each in owners for name in bare]
    return list(dict.fromkeys(names))


def _sizes(quant: Quant, model: Model) -> tuple[list[int], Basis]:
    """Return the bytes of all tensors that a file may hold, without and with its MTP layers, and how they are known."""
    sizes, basis = [], Basis.ASSUMED
    for options in (Options(), Options(mtp=True)):
        try:
            weights = quant.weights(model, options)
        except InputError:
            continue
        sizes += [weights.text_bytes, weights.text_bytes + weights.mtp_bytes]
        basis = weights.basis if weights.basis is Basis.EXACT else basis
    return sizes, basis


def find_mac_of(log: EngineLog, macs: Sequence[MacRow], limits: Sequence[LimitRow]) -> Mapping[str, str]:
    """Return the Mac of a log as it would be typed: chip and memory, macOS, a raised limit, as far as they are known.

    What a Mac lends to its GPU says how much memory it has, and which macOS.
    """
    chip = log.mac.chip
    sold = sorted({size for row in macs if chip in ("", row.chip) for size in row.memory_gib})
    memory = log.mac.memory_bytes // GIB
    limit = log.mac.limit
    asked: dict[str, str] = {}
    if limit:
        found = [
            (size, generation)
            for size in ([memory] if memory in sold else sold)
            for generation in GENERATIONS
            if limit.holds(default_limit(Mac("", size * GIB), generation, limits).limit_bytes)
        ]
        if found and len({size for size, _ in found}) == 1:
            memory = found[0][0]
            if len(found) == 1:
                asked["macos"] = str(found[0][1])
        elif not found and memory in sold:
            asked["wired_limit"] = f"{-(-limit.nbytes // MIB)}m"
    if memory in sold:
        asked["mac"] = f"{chip} {memory}".strip()
    return asked


def _most_context(log: EngineLog, model: Model) -> int:
    """Return the longest context that can be asked for: the trained one, for each sequence with a cache of its own."""
    own = log.settings.parallel if log.runtime == "llama.cpp" and log.settings.kv_unified is False else 1
    return model.blueprint.trained_context * (own or 1)


def _drafter(log: EngineLog, models: Mapping[str, Model], find: FindQuant, publishers: Sequence[str]) -> str:
    """Return the model that drafts with its quant, "" if one of them is not known."""
    alone = log._replace(model=log.drafter, parts=())
    found = find_model(alone, models).model if log.drafter.called else None
    quant = find_quant_of(alone, found, find, publishers).quant if found else None
    return f"{found.name}:{quant.name}" if found and quant else ""


def _gpu_layers(log: EngineLog, model: Model | None) -> int | None:
    """Return how many layers were kept from the GPU, None for none; an MTP layer that does not draft is not counted."""
    said = log.settings
    if log.mac.device in ("CPU", "") or said.offloaded is None or said.layers is None or said.offloaded >= said.layers:
        return None
    unused = 0
    if model is not None and said.draft != "mtp":
        unused = max(0, said.layers - 1 - len(model.blueprint.layers))
    return max(0, said.offloaded - unused)


def settings_of(log: EngineLog, model: Model | None = None) -> Mapping[str, str]:
    """Return the settings that the log states, by parameter of its runtime."""
    said = log.settings
    typed: Mapping[str, object] = {
        "kv_type_k": _stored(said.kv_type_k),
        "kv_type_v": _stored(said.kv_type_v),
        "parallel": said.parallel,
        "kv_unified": said.kv_unified,
        "batch": said.batch,
        "ubatch": said.ubatch,
        "flash_attn": said.flash_attention,
        "swa_full": said.swa_full or None,
        "gpu_layers": _gpu_layers(log, model),
        "cpu_moe": said.cpu_moe,
        "n_cpu_moe": said.n_cpu_moe,
        "load_mode": "none" if said.mmap is False and log.mac.device != "CPU" else None,
        "draft_max": said.draft_max,
        "ctx_checkpoints": said.checkpoints,
        "cache_ram": said.prompt_cache_mib,
        "kv_bits": said.kv_bits,
        "prefill_step_size": said.prefill_step_size,
        "prompt": said.prompt_tokens,
    }
    known = {parameter.name for parameter in registry.parameters()[log.runtime]}
    return {name: _typed(value) for name, value in typed.items() if name in known and value is not None}


def _stored(kind: str | None) -> str | None:
    """Return the name of a type that llama.cpp has; a log may say anything."""
    return kind if kind and kind.upper() in TENSOR_TYPES else None


def _typed(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def question_of(
    log: EngineLog,
    models: Mapping[str, Model],
    find: FindQuant,
    publishers: Sequence[str] = (),
    macs: Sequence[MacRow] = (),
    limits: Sequence[LimitRow] = (),
) -> tuple[Mapping[str, str], Sequence[str]]:
    """Return what to ask to get the same figures, by parameter, and what had to be taken for granted.

    There is no `model` where the catalogue has none, no `quant` where none is known, no `mac` where the log does not
    say; flags are "true".
    """
    asked: dict[str, str] = {"runtime": log.runtime}
    notes = []
    found = find_model(log, models)
    if found.reason:
        notes.append(found.reason)
    if found.model is not None:
        asked["model"] = found.model.name
        quant = find_quant_of(log, found.model, find, publishers)
        if quant.quant is not None:
            asked["quant"] = quant.quant.name
        if quant.reason:
            notes.append(quant.reason)
        tokens, most = log.settings.context_tokens, _most_context(log, found.model)
        if tokens is not None:
            asked["context"] = str(min(tokens, most))
            if tokens > most:
                notes.append(f"{tokens:,} tokens were asked for, the model was trained for {most:,}")
    if log.settings.draft == "mtp":
        asked["mtp"] = "true"
    elif drafter := _drafter(log, models, find, publishers):
        asked["draft_model"] = drafter
    if log.settings.vision:
        asked["vision"] = "true"
    settings = dict(settings_of(log, found.model))
    if not {"mtp", "draft_model"} & set(asked):
        settings.pop("draft_max", None)  # what drafts is not known
    return {**asked, **settings, **find_mac_of(log, macs, limits)}, notes
