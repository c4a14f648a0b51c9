"""Checks: estimates held against published sizes, with a tolerance for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from deployfit.basis import Basis
from deployfit.models import Model
from deployfit.quants.published_sizes import PublishedSize
from deployfit.quants.publishers import Publisher
from deployfit.tables import Row, Table
from deployfit.values import NamedTuple

# What publishers write into a file beside tensors differs by so much: names, settings, the keys of an importance
# matrix. An estimate that is not farther off is called exact.
EXACT_BYTES = 4096


class Tolerance(NamedTuple):
    """A row of `data/tolerances.csv`: patterns, and how far an estimate may be off where they match."""

    publisher: str
    model: str
    recipe: str
    of: str
    date: str
    percent: float
    reason: str

    def matches(self, size: PublishedSize) -> bool:
        """Whether this row is about a published size."""
        return all(
            fnmatchcase(value, pattern)
            for value, pattern in (
                (size.publisher, self.publisher),
                (size.model, self.model),
                (size.recipe, self.recipe),
                (size.of, self.of),
                (size.date, self.date),
            )
        )


def _tolerance(row: Row) -> Tolerance:
    percent = row.text("percent")
    if not percent.replace(".", "", 1).isdigit():
        row.fault("percent", "a number of percent such as 0.1")
        percent = "0"
    return Tolerance(
        publisher=row.text("publisher"),
        model=row.text("model"),
        recipe=row.text("recipe"),
        of=row.text("of"),
        date=row.text("date"),
        percent=float(percent),
        reason=row.text("reason"),
    )


TOLERANCES = Table("tolerances.csv", list(Tolerance._fields), _tolerance)


class Checked(NamedTuple):
    """A published size and its estimate."""

    size: PublishedSize
    estimated_bytes: int
    basis: Basis
    tolerance_bytes: int
    reason: str  # for the tolerance, where it is more than that of an exact estimate

    @property
    def error_bytes(self) -> int:
        """Estimate less published."""
        return self.estimated_bytes - self.size.nbytes

    @property
    def excess_bytes(self) -> int:
        """How far the estimate is outside what the published figure can mean: its rounding is not an error."""
        return max(0, abs(self.error_bytes) - self.size.plus_minus_bytes)

    @property
    def is_exact(self) -> bool:
        """Whether the published figure is exact and the estimate equals it, but for what stands around tensors."""
        return self.size.is_exact and abs(self.error_bytes) <= EXACT_BYTES

    @property
    def passes(self) -> bool:
        """Whether the estimate is within its tolerance."""
        return self.excess_bytes <= self.tolerance_bytes


def check_sizes(
    sizes: Iterable[PublishedSize],
    publishers: Mapping[str, Publisher],
    models: Mapping[str, Model],
    tolerances: Sequence[Tolerance],
) -> Iterator[Checked]:
    """Yield every published size that can be estimated, with its estimate.

    An estimate never uses the published size itself: what no rule counts is left out. An unsolved recipe may be
    off by its known spread.
    """
    for size in sizes:
        publisher = publishers.get(size.publisher)
        model = models.get(size.model)
        if publisher is None or model is None or not publisher.has(size):
            continue
        rule = publisher.rule(size.recipe, size.model)
        if rule is None:
            continue
        weights = publisher.counted(rule, model)
        tolerance = next((each for each in tolerances if each.matches(size)), None)
        solved = size.model in rule.solved_on
        spread = 0 if solved else rule.spread_percent
        percent = tolerance.percent if tolerance else float(spread)
        reason = tolerance.reason if tolerance else f"{spread} %: recipe not solved" if spread else ""
        yield Checked(
            size=size,
            estimated_bytes=weights.tensor_bytes if size.of == "tensors" else weights.file_bytes,
            basis=Basis.DERIVED if solved else Basis.ASSUMED,
            tolerance_bytes=EXACT_BYTES + int(size.nbytes * percent / 100),
            reason=reason,
        )


class Review(NamedTuple):
    """What was found online that somebody should look at; nothing is changed by it."""

    differences: tuple[str, ...] = ()
    not_written_down: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    not_asked: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        """All of it, a line each."""
        return [f"{name.replace('_', ' ')}: {line}" for name, lines in self._asdict().items() for line in lines]


class Summary(NamedTuple):
    """How good the estimates are, all together."""

    rows: int
    exact: int
    within_a_thousandth: int
    median_percent: float
    worst_percent: float
    failed: int
    not_estimated: int


def summarize(checked: Sequence[Checked], published: int) -> Summary:
    """Return the summary of checks out of so many published sizes."""
    errors = sorted(100 * each.excess_bytes / each.size.nbytes for each in checked)
    return Summary(
        rows=len(checked),
        exact=sum(each.is_exact for each in checked),
        within_a_thousandth=sum(error <= 0.1 for error in errors),
        median_percent=errors[len(errors) // 2] if errors else 0.0,
        worst_percent=errors[-1] if errors else 0.0,
        failed=sum(not each.passes for each in checked),
        not_estimated=published - len(checked),
    )
