"""`fit` with several Macs: whether a model fits them together, how it is split, and how few of them would do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from deployfit import catalogue
from deployfit.answers import ClusterFit, Needed
from deployfit.clusters import registry as clusters
from deployfit.clusters.engine import SPLITS, WHOLE, Asked, ClusterEngine
from deployfit.clusters.notes import LOAD, NOTES, THREE, UNEVEN, notes_of
from deployfit.clusters.one_mac import OneMac
from deployfit.clusters.rpc_weights import layer_shares
from deployfit.clusters.speedups import DENSE, MIXTURE, SPEEDUPS, speedups_of
from deployfit.clusters.verdict import ClusterAnswer, ClusterJudge
from deployfit.errors import InputError, quoted, unknown
from deployfit.exit_codes import ANSWERED, DOES_NOT_FIT
from deployfit.hardware.cluster import Cluster
from deployfit.hardware.mac import MACS, Mac
from deployfit.hardware.machine import Machine
from deployfit.models import Model
from deployfit.parameters import param
from deployfit.quants.weights import Options, Quant
from deployfit.questions.question import Answered
from deployfit.questions.resolve import Start, context_of, judge_of, machine_of, run_of
from deployfit.questions.several import EXO, Together
from deployfit.values import NamedTuple
from deployfit.verdict import RUNS, Verdict
from deployfit.words.macs import MAC_MODELS, machines_named

if TYPE_CHECKING:
    from deployfit.report.document import Document, Shown

LLAMA_CPP, MLX = "llama.cpp", "mlx"
ONE_MAC_ONLY = ("mtp", "image", "draft_max", "draft_model", "gpu_layers", "cpu_moe", "n_cpu_moe", "max_kv_size")
Place = tuple[str | None, str | None, str | None]  # macOS, GPU limit, and what other programs hold, as typed
MOST_NEEDED = 8  # Macs of which the smallest are looked for


def fits_together(
    model: Model,
    quants: Mapping[str, Sequence[Quant]],
    together: Together,
    machine: Place,
    starts: Mapping[str, Start],
    options: Options,
    *,
    listed: bool,
    use_exit_code: bool,
    shown: Shown,
    said: str = "",
) -> ClusterFits:
    """Return what `fit` answers about several Macs; `machine` are macOS, GPU limit and what other programs hold.

    `said`: what is to be said of the model's name.
    """
    named = [cluster_of(text, *machine) for text in together.macs]
    if not named and not together.macs_needed:
        raise InputError(f"several Macs are not named; say which with {param('mac')}, such as '2x M3 Ultra 256'")
    wanted = Wanted(
        starts,
        options,
        together.engine,
        together.split,
        together.tensor_split,
        together.macs_needed,
        machine,
        together.app,
    )
    fits = fit_clusters(model, quants, named, wanted, listed=listed)
    return ClusterFits(fits, use_exit_code=use_exit_code, shown=shown, said=said)


def cluster_of(text: str, macos: str | None, wired_limit: str | None, other: str | None) -> Cluster:
    """Return the Macs that a text names, each with its GPU limit."""
    named = machines_named(text, catalogue.rows(MACS), lambda: catalogue.rows(MAC_MODELS))
    known: dict[Mac, Machine] = {}
    for mac in named:
        if mac not in known:
            known[mac] = machine_of(mac.name.removesuffix(" GB"), macos, wired_limit, other)
    return Cluster(tuple(known[mac] for mac in named))


class ClusterFits(Answered, Sequence[ClusterAnswer]):
    """Verdicts, one per quant."""

    def __init__(self, fits: Sequence[ClusterFit], *, use_exit_code: bool, shown: Shown, said: str = "") -> None:
        self.fits, self.shown, self.said = fits, shown, said
        self._use_exit_code = use_exit_code

    def __len__(self) -> int:
        return len(self.fits)

    def __getitem__(self, index: int) -> ClusterAnswer:  # type: ignore[override]
        return self.fits[index].answer

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """3 if nothing asked for runs within the GPU limits, and that was to be told."""
        runs = any(fit.answer.verdict in RUNS for fit in self.fits)
        return DOES_NOT_FIT if self._use_exit_code and not runs else ANSWERED

    def document(self) -> Document:
        """Return the rows, and the machines of one quant or a line each for several."""
        from deployfit.report.cluster import cluster_document

        return cluster_document(self.fits, shown=self.shown, said=self.said)


class Wanted(NamedTuple):
    """What was typed beside model, quants and Macs."""

    starts: Mapping[str, Start]  # by runtime
    options: Options
    engine: str = ""  # "" where the runtime's own is taken
    split: str = ""
    tensor_split: str = ""
    macs_needed: bool = False
    place: Place = (None, None, None)
    app: str = ""


def fit_clusters(
    model: Model,
    quants: Mapping[str, Sequence[Quant]],
    named: Sequence[Cluster],
    wanted: Wanted,
    *,
    listed: bool,
) -> list[ClusterFit]:
    """Return whether a model fits several Macs, an answer per cluster and quant, given by the runtime that loads them.

    Without a cluster it is the smallest set of Macs that runs a quant. `listed`: nobody asked for these quants in
    particular, so that those which cannot be split are left out.
    """
    fits: list[ClusterFit] = []
    refusals: list[InputError] = []
    asked: Sequence[Cluster | None] = named or [None]
    typed = wanted.split or wanted.tensor_split or wanted.engine
    if named and all(len(each.machines) == 1 for each in named) and not (typed or wanted.macs_needed):
        raise InputError(f"{param('mac')}: one Mac needs no count; say '{named[0].name}'")
    for cluster in asked:
        if cluster is not None:
            check_wanted(wanted, cluster)
        for name, chosen in quants.items():
            for quant in dict.fromkeys(chosen):
                try:
                    fits.append(fit_cluster(model, quant, cluster, wanted, name, listed=listed))
                except InputError as error:
                    if not listed:
                        raise
                    refusals.append(error)
    if not fits and refusals:
        raise refusals[0]
    return fits


def fit_cluster(
    model: Model, quant: Quant, cluster: Cluster | None, wanted: Wanted, runtime: str, *, listed: bool = False
) -> ClusterFit:
    """Return whether one quant fits several Macs; without a cluster it is the smallest set that runs it."""
    engine = clusters.engine(wanted.engine or runtime)
    needed: list[Needed] = []
    if wanted.macs_needed:
        needed = list(macs_needed(model, quant, engine, wanted, cluster))
    if cluster is None:
        if not needed:
            reason = engine.why_not(model, wanted.split or engine.splits[0], 2)
            raise InputError(
                f"{model.name} {quant.name}: no {MOST_NEEDED} equal Macs or fewer that were sold run it with"
                f" {engine.name}" + (f": {reason}{_who_can(model, engine, 2, WHOLE, _any)}" if reason else "")
            )
        cluster = needed[0].cluster
        wanted = wanted._replace(split=needed[0].split)
    if len(cluster.machines) == 1:
        engine = OneMac(engine.runtime)
    judge = judge_together(model, cluster, engine, wanted, quant)
    try:
        return _fit(judge, quant, wanted, needed, listed=listed)
    except InputError as error:
        asked = judge.asked
        if not engine.why_not_weights(asked, quant.weights(model, wanted.options)):
            raise
        who = _who_can(model, engine, asked.size, asked.split, _divides(asked, engine, quant))
        raise InputError(f"{error.marked}{who}") from None


def check_wanted(wanted: Wanted, cluster: Cluster) -> None:
    """Raise InputError for what makes no sense with these Macs."""
    typed = {
        "split": wanted.split,
        "tensor_split": wanted.tensor_split,
        "runtime": wanted.engine,
    }
    if len(cluster.machines) < 2 and any(typed.values()):
        leave_out = " and ".join(param(name) for name, value in typed.items() if value)
        raise InputError(
            f"one Mac has nothing to split; name several with {param('mac')}, such as '2x M3 Ultra 256', or leave out"
            f" {leave_out}"
        )
    if wanted.split and wanted.split not in SPLITS:
        raise unknown("split", wanted.split, SPLITS)
    typed_names = {name for start in wanted.starts.values() for name in start.typed}
    given = {"mtp": wanted.options.mtp, "image": wanted.options.images}
    for name in ONE_MAC_ONLY:
        if len(cluster.machines) > 1 and (given.get(name) or name in typed_names):
            raise InputError(f"what {param(name)} does on several Macs is not known; leave it out")


def judge_together(
    model: Model, cluster: Cluster, engine: ClusterEngine, wanted: Wanted, quant: Quant | None = None
) -> ClusterJudge:
    """Return who answers for a model on these Macs; raise InputError, saying who can, where the engine cannot."""
    start, count = wanted.starts[engine.runtime], len(cluster.machines)
    settings = start.runtime.settings(context_of(start.context, model), {**start.chosen, **start.typed})
    if wanted.options.vision and engine.runtime == MLX:
        raise InputError(f"mlx-lm and exo split the text model only; leave out {param('vision')}")
    shares = _shares(wanted.tensor_split, engine, count)
    split = wanted.split or _first_split(engine, model, count)
    asked = Asked(model, cluster, settings, split, wanted.options, shares, wanted.app)
    reason = engine.why_not(model, split, count)
    if reason:
        divides = _any if quant is None else _divides(asked, engine, quant)
        raise InputError(f"{model.name}: {reason}{_who_can(model, engine, count, split, divides)}")
    return ClusterJudge(asked, engine)


Divides = Callable[[ClusterEngine, str], bool]


def _any(engine: ClusterEngine, split: str) -> bool:
    """Return True: of the weights nothing is known."""
    return True


def _divides(asked: Asked, refusing: ClusterEngine, quant: Quant) -> Divides:
    """Return whether other engines of the same runtime can split these weights; those of another take other files."""

    def divides(engine: ClusterEngine, split: str) -> bool:
        if engine.runtime != refusing.runtime:
            return True
        try:
            weights = quant.weights(asked.model, asked.options)
        except InputError:
            return True
        return not engine.why_not_weights(asked._replace(split=split), weights)

    return divides


def _first_split(engine: ClusterEngine, model: Model, count: int) -> str:
    """Return the split that an engine takes by itself: the first that it has for the model."""
    return next((split for split in engine.splits if not engine.why_not(model, split, count)), engine.splits[0])


def _who_can(model: Model, refusing: ClusterEngine, count: int, tried: str, divides: Divides) -> str:
    """Return which engines can split the model, as the end of a sentence."""
    ways = []
    for engine in clusters.engines():
        for split in engine.splits:
            is_other = (engine, split) != (refusing, tried)
            if is_other and not engine.why_not(model, split, count) and divides(engine, split):
                how = f"{param('split')} {split}"
                if engine.name == EXO:
                    how = f"{param('runtime')} {EXO} {how}"
                if engine.runtime != refusing.runtime:
                    how = "a GGUF file" if engine.runtime == LLAMA_CPP else f"an MLX file, {how}"
                ways.append(f"{engine.name} can ({how})")
                break
    return f"; {', '.join(ways)}" if ways else ""


def _shares(text: str, engine: ClusterEngine, count: int) -> tuple[float, ...]:
    """Return the shares that were typed, one per Mac."""
    if not text:
        return ()
    name = param("tensor_split")
    if engine.name != LLAMA_CPP:
        raise InputError(f"{name} is an option of llama.cpp; {engine.name} divides by its own rule: leave it out")
    pieces = [piece.strip() for piece in text.replace("/", ",").split(",")]
    if not all(re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,20})?", piece, re.ASCII) for piece in pieces):
        raise InputError(f"{name}: expected a share for each Mac such as 1,2, got {quoted(text)}")
    if len(pieces) != count:
        shares = "1 share" if len(pieces) == 1 else f"{len(pieces)} shares"
        raise InputError(f"{name} {quoted(text)}: {shares} for {count} Macs; give one for each")
    numbers = tuple(map(float, pieces))
    if not any(numbers):
        raise InputError(f"{name} {quoted(text)}: at least one share has to be more than 0")
    return numbers


def _fit(judge: ClusterJudge, quant: Quant, wanted: Wanted, needed: Sequence[Needed], *, listed: bool) -> ClusterFit:
    answer = judge.answer(quant)
    asked, engine = answer.asked, answer.engine
    kind = MIXTURE if asked.model.blueprint.experts else DENSE
    speedups = speedups_of(
        catalogue.rows(SPEEDUPS), runtime=engine.runtime, split=asked.split, macs=asked.size, kind=kind
    )
    drafting = asked.options._replace(mtp=asked.options.mtp or asked.size > 1)  # which is refused on several Macs
    left_out = list(judge.runtime.left_out(asked.model.blueprint, asked.settings, drafting))
    if asked.model.blueprint.vision and not asked.options.vision:
        left_out.insert(0, f"vision tower ({param('vision')})" if engine.runtime == LLAMA_CPP else "vision tower")
    advice = [] if listed else list(_advice(answer, judge, wanted, needed))
    return ClusterFit(answer, speedups, list(_notes(answer)), left_out, advice, needed)


def _notes(answer: ClusterAnswer) -> Iterator[str]:
    asked = answer.asked
    yield from answer.weights.notes
    yield from answer.engine.notes(asked)
    if answer.division.refusal:
        yield answer.division.refusal
    for number, layers in enumerate(answer.division.layers, start=1):
        if not layers:
            yield f"Mac {number} gets no layer: its share is too small"
    conditions = [UNEVEN] * (not asked.cluster.is_uniform) + [THREE] * (asked.size > 2)
    conditions += [LOAD] * answer.loading_decides
    yield from notes_of(catalogue.rows(NOTES), answer.engine.name, asked.split, conditions)
    assumed = {each.limit.note: None for each in asked.cluster.machines if each.limit.basis.value == "assumed"}
    for note in assumed:
        yield f"GPU limit: {note}"


def _advice(answer: ClusterAnswer, judge: ClusterJudge, wanted: Wanted, needed: Sequence[Needed]) -> Iterator[str]:
    """Yield what was tried and would help, as what to type and what comes of it."""
    if answer.verdict is Verdict.FITS:
        return
    asked = answer.asked
    if answer.max_context_tokens:
        yield f"{param('context')} {answer.max_context_tokens}: the largest context that fits"
    other = _fits_with(answer, answer.engine)
    if other:
        yield f"without {param('tensor_split')}: fits" if asked.shares else f"{param('split')} {other}: fits"
    elif answer.engine.name == LLAMA_CPP:
        shares = _shares_that_fit(answer, judge)
        if shares:
            yield f"{param('tensor_split')} {','.join(map(str, shares))}: fits with the whole context"
    if asked.size < 2:
        return
    for engine in clusters.engines():
        if engine.runtime == answer.engine.runtime and engine is not answer.engine:
            split = _fits_with(answer, engine)
            if split:
                yield f"{param('runtime')} {engine.name} {param('split')} {split}: fits"
    if needed:
        return
    for like in (asked.cluster, None):
        found = next(macs_needed(asked.model, answer.quant, answer.engine, wanted, like), None)
        if found:
            yield _fewest(found, answer, wanted, like)
            return


def _fewest(found: Needed, answer: ClusterAnswer, wanted: Wanted, like: Cluster | None) -> str:
    """Return what to type for the fewest Macs, with the chips of `like` if any, in the place of what was typed."""
    engine, count = answer.engine, len(found.cluster.machines)
    machine = found.cluster.machines[0]
    if len(found.chips) == 1:
        machine = machine._replace(mac=machine.mac._replace(chip=found.chips[0]))
    words = [f"{param('mac')} '{Cluster((machine,) * count).name}'"]
    leave_out = [param("tensor_split")] if wanted.tensor_split else []
    if not found.split:
        words += [f"{param('runtime')} {engine.runtime}"] if wanted.engine else []
        leave_out += [param("split")] if wanted.split else []
    elif found.split != (wanted.split or _first_split(engine, answer.asked.model, count)):
        words.append(f"{param('split')} {found.split}")
    without = f" without {' and '.join(leave_out)}" if leave_out else ""
    of_chips = " with these chips" if like and any(each.mac.chip for each in like.machines) else ""
    return f"{' '.join(words)}{without}: the fewest Macs{of_chips} that run it as asked"


def _fits_with(answer: ClusterAnswer, engine: ClusterEngine) -> str:
    """Return the split with which an engine makes it fit the same Macs, "" if none does."""
    for split in engine.splits:
        try:
            judge = ClusterJudge(answer.asked._replace(split=split, shares=()), engine)
            if judge.verdict(answer.quant) is Verdict.FITS:
                return split
        except InputError:
            continue
    return ""


def _shares_that_fit(answer: ClusterAnswer, judge: ClusterJudge) -> list[int]:
    """Return layers per Mac that fit, moved one by one from the fullest Mac to the emptiest; none if there are none."""
    asked = answer.asked
    counts = layer_shares(asked, answer.weights)
    for _ in range(sum(counts)):
        tried = ClusterJudge(asked._replace(shares=tuple(map(float, counts))), answer.engine)
        division = tried.engine.division(tried.asked, judge.weights(answer.quant))
        room = [member.headroom_bytes for member in tried.members(division, asked.settings)]
        if min(room) >= 0:
            return counts
        fullest, emptiest = room.index(min(room)), room.index(max(room))
        if room[emptiest] <= 0 or counts[fullest] < 2:
            return []
        counts[fullest] -= 1
        counts[emptiest] += 1
    return []


def macs_needed(
    model: Model, quant: Quant, engine: ClusterEngine, wanted: Wanted, like: Cluster | None
) -> Iterator[Needed]:
    """Yield for one Mac, two and so on the smallest size that runs it with the whole context, while that gets smaller.

    Only sizes that Macs were sold with; of the chips that the cluster has, if it names any.
    """
    machines = like.machines if like else ()
    chips = {each.mac.chip for each in machines if each.mac.chip}
    sold: dict[int, list[str]] = {}
    for row in catalogue.rows(MACS):
        if row.chip in chips or not chips:
            for size in row.memory_gib:
                if row.chip not in sold.setdefault(size, []):
                    sold[size].append(row.chip)
    smallest = max(sold) + 1
    for count in range(1, MOST_NEEDED + 1):
        for size in sorted(each for each in sold if each < smallest):
            try:
                machine = machine_of(str(size), *wanted.place)
            except InputError:  # a GPU limit that is more than its memory
                continue
            cluster = Cluster((machine,) * count)
            split = _runs_on(model, quant, engine, wanted, cluster)
            if split is not None:
                smallest = size
                yield Needed(cluster, sold[size], split)
                break


def _runs_on(model: Model, quant: Quant, engine: ClusterEngine, wanted: Wanted, cluster: Cluster) -> str | None:
    """Return how a model is split where it fits these Macs, "" for one; None where it does not."""
    budget = sum(each.budget_bytes for each in cluster.machines)
    try:
        weights = quant.weights(model, wanted.options)
        if weights.text_bytes > budget:
            return None
        if len(cluster.machines) == 1:
            judge = judge_of(run_of(model, wanted.starts[engine.runtime], cluster.machines[0], wanted.options))
            return WHOLE if judge.estimate(weights).total_bytes <= budget else None
    except InputError:
        return None
    for split in [wanted.split] if wanted.split else engine.splits:
        try:
            together = judge_together(model, cluster, engine, wanted._replace(tensor_split="", split=split))
            if together.verdict(quant) is Verdict.FITS:
                return split
        except InputError:
            continue
    return None
