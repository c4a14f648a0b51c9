"""What people type, made into questions: models, quants, runtimes' settings and Macs by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployfit import catalog
from deployfit.basis import Basis
from deployfit.errors import InputError, quoted, unknown
from deployfit.hardware import Mac, Place, default_limit, find_mac, parse_macos, raised_limit
from deployfit.models import Model
from deployfit.quants.find import (
    FORMAT_OF,
    LLAMACPP,
    MLX_RUNTIME,
    Shelf,
    by_runtime,
    find_quant,
    find_runtime,
    own_quants,
)
from deployfit.quants.weights import GGUF, Options, Quant, Weights
from deployfit.runtimes.llamacpp import DEFAULT_UBATCH, KV_TYPES, LlamaCppSettings
from deployfit.runtimes.running import Settings
from deployfit.speed import NO_SPEEDS, Speeds
from deployfit.units import parse_limit
from deployfit.verdict import Answer, Fit, Question

SHELF = Shelf(catalog.recipes, catalog.mlx_recipes, catalog.checkpoint_recipes, catalog.publishers)
HUB_PREFIX = "hub:"
DEFAULT_CONTEXT = "32k"
DEFAULT_MACOS = "26"

# The options that say how a runtime is started, in the words of its own command line.
SETTINGS: Mapping[str, Sequence[str]] = {
    LLAMACPP: ("kv-type", "kv-type-k", "kv-type-v", "parallel", "ubatch"),
    MLX_RUNTIME: ("kv-bits", "prefill-step-size"),
}


def whole_number(what: str, text: str) -> int:
    """Return a whole number that was typed.

    >>> whole_number("ubatch", "512")
    512
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InputError(f"{what}: expected a whole number such as 1 or 512, got {quoted(text)}")
    return int(text)


def speed_of(text: str | None) -> float:
    """Return a speed in tokens per second that was typed, 0 for none.

    >>> speed_of("7.5")
    7.5
    """
    if text is None:
        return 0.0
    if not (text.isascii() and text.replace(".", "", 1).isdigit() and len(text) <= 9 and float(text) > 0):
        raise InputError(f"min-speed: expected tokens per second such as 10 or 7.5, got {quoted(text)}")
    return float(text)


def all_models(catalog_file: str | None = None, wanted: str = "") -> Mapping[str, Model]:
    """Return the catalogue, with the user's own models if there are any."""
    return catalog.models() | ({} if catalog_file is None else catalog.load_models(catalog_file, wanted))


def find_model(name: str, catalog_file: str | None = None) -> Model:
    """Return the model of that name, whatever its case.

    >>> find_model("qwen3.5-27b").total_params
    27781427952
    """
    if not name.strip() or not name.isprintable():
        raise unknown("model", name, catalog.models())
    if name.startswith(HUB_PREFIX):
        raise InputError(
            f"{quoted(name)}: the Hub's files are for deployfit fit and hub; name a model of the catalogue"
        )
    known = all_models(catalog_file, name)
    folded = {each.casefold(): model for each, model in known.items()}
    found = known.get(name) or folded.get(name.strip().casefold())
    if found is None:
        raise unknown("model", name, known)
    return found


def find_publisher(name: str | None) -> str | None:
    """Return the publisher of that name, whatever its case; None for none."""
    if name is None:
        return None
    known = catalog.publishers()
    for each in known:
        if each.casefold() == name.strip().casefold():
            return each
    raise unknown("publisher", name, known)


def find_place(mac: str | None, macos: str | None, wired_limit: str | None) -> Place:
    """Return the Mac that is meant, with its GPU limit; without a name it is this machine.

    >>> find_place("32", None, None).limit.limit_bytes
    26800603136
    """
    raised = parse_limit(wired_limit) if wired_limit is not None else 0
    if mac is not None:
        found: Mac = find_mac(mac, catalog.macs())
        version = parse_macos(DEFAULT_MACOS if macos is None else macos)
    else:
        from deployfit.this_mac import this_mac

        here = this_mac()
        found, version = here.mac, _macos_of_this_mac(here.macos) if macos is None else parse_macos(macos)
        raised = raised if wired_limit is not None else here.wired_limit_bytes
    if wired_limit is not None or raised > 0:
        return Place(found, version, raised_limit(found, raised), raised=True)
    return Place(found, version, default_limit(found, version, catalog.gpu_limits()))


def _macos_of_this_mac(text: str) -> int:
    try:
        return parse_macos(text)
    except InputError as error:
        raise InputError(
            f"{error}; this Mac says {quoted(text)}: say which rule to use with --macos {DEFAULT_MACOS}"
        ) from None


def check_settings(typed: Mapping[str, str], runtimes: Sequence[str]) -> None:
    """Raise InputError for a setting of a runtime that nothing asked for runs on."""
    for runtime, options in SETTINGS.items():
        given = [option for option in options if option in typed]
        if given and runtime not in runtimes:
            raise InputError(f"--{given[0]} is an option of {runtime}, and nothing asked for runs on it; leave it out")


def settings_of(runtime: str, context_tokens: int, typed: Mapping[str, str]) -> Settings:
    """Return how a runtime is started, by the options that were typed.

    >>> settings_of("llama.cpp", 32768, {"kv-type": "q8_0"}).words
    'context 32,768 tokens, KV q8_0/q8_0, micro-batch 512'
    """
    if runtime == LLAMACPP:
        both = _kv_type(typed.get("kv-type", "f16"))
        return LlamaCppSettings(
            context_tokens=context_tokens,
            kv_type_k=_kv_type(typed.get("kv-type-k", both)),
            kv_type_v=_kv_type(typed.get("kv-type-v", both)),
            parallel=whole_number("parallel", typed.get("parallel", "1")),
            ubatch=whole_number("ubatch", typed.get("ubatch", str(DEFAULT_UBATCH))),
        )
    from deployfit.runtimes.mlx import DEFAULT_PREFILL_STEP, UNQUANTIZED_BITS, MlxSettings

    return MlxSettings(
        context_tokens=context_tokens,
        kv_bits=whole_number("kv-bits", typed.get("kv-bits", str(UNQUANTIZED_BITS))),
        prefill_step_size=whole_number("prefill-step-size", typed.get("prefill-step-size", str(DEFAULT_PREFILL_STEP))),
    )


def _kv_type(text: str) -> str:
    name = text.strip().lower()
    if name not in KV_TYPES:
        raise unknown("KV type", text, KV_TYPES)
    return name


def menu_of(chosen: Sequence[Quant], runtime: str) -> Sequence[Quant]:
    """Return what may be advised instead of the chosen: its publisher's other files, or the tools' own recipes."""
    publishers = {quant.name.partition(":")[0] for quant in chosen if ":" in quant.name}
    if len(publishers) == 1 and all(":" in quant.name for quant in chosen):
        known = catalog.publishers()
        name = publishers.pop()
        return known[name].quants() if name in known else []  # a file of the Hub has no menu
    return own_quants(SHELF, FORMAT_OF[runtime])


def quants_of(quants: Sequence[str], runtime: str | None) -> Mapping[str, list[Quant]]:
    """Return what was asked for by runtime; nothing in particular is every recipe of the runtime."""
    engine = None if runtime is None else find_runtime(runtime)
    return by_runtime([find_quant(quant, SHELF, engine) for quant in quants]) or {engine or LLAMACPP: []}


def answers_of(
    model: Model,
    asked: Mapping[str, list[Quant]],
    place: Place,
    context_tokens: int,
    typed: Mapping[str, str],
    options: Options,
) -> list[Answer]:
    """Return the verdicts on a model's quants, each runtime with its own settings."""
    check_settings(typed, list(asked))
    speeds = speeds_of([place])
    answers: list[Answer] = []
    for runtime, chosen in asked.items():
        question = Question(model, settings_of(runtime, context_tokens, typed), place, options)
        fitting = Fit(question, menu_of(chosen, runtime), catalog.gpu_limits(), speeds)
        answers += [fitting.answer(quant) for quant in dict.fromkeys(chosen or fitting.makeable())]
    return answers


def speeds_of(places: Sequence[Place]) -> Speeds:
    """Return what is known of speed; nothing where no chip is named, so that the file is not read for nothing."""
    return catalog.speeds() if any(place.mac.chip for place in places) else NO_SPEEDS


def known_quants(
    model: Model, formats: Sequence[str], publisher: str | None, options: Options
) -> list[tuple[Quant, Weights]]:
    """Return what exists for a model, smallest first: the tools' recipes and all publishers' files, or one's.

    Files whose size is only assumed are among them if their publisher was asked for.
    """
    named = catalog.publishers().values() if publisher is None else [catalog.publishers()[publisher]]
    offered: list[Quant] = [quant for each in formats for quant in own_quants(SHELF, each)] if publisher is None else []
    offered += [quant for each in named for quant in each.quants() if quant.format in formats]
    known = []
    for quant in offered:
        try:
            imatrix = options.imatrix and quant.format == GGUF and ":" not in quant.name
            weights = quant.weights(model, options._replace(imatrix=imatrix))
        except InputError:
            continue
        if weights.basis is not Basis.ASSUMED or publisher is not None:
            known.append((quant, weights))
    if not known:
        raise InputError(f"nothing is known for {model.name}; leave out --runtime and --publisher to see all recipes")
    return sorted(known, key=lambda pair: pair[1].file_bytes)
