"""How much faster several Macs are than one: what others measured, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from deployfit.tables import Row, Table
from deployfit.values import NamedTuple

MIXTURE, DENSE = "mixture", "dense"


class SpeedupRow(NamedTuple):
    """A row of `data/cluster_speedups.csv`: decoding speeds of one file on one Mac and on several.

    Rows that are not `used` compare two files, or may; `note` says why.
    """

    name: str
    runtime: str
    engine: str
    split: str
    transport: str
    macs: int
    kind: str
    model: str
    quant: str
    chip: str
    single_tps: float
    cluster_tps: float
    used: bool
    note: str
    date: str
    source: str

    @property
    def factor(self) -> float:
        """How many times as fast several Macs were."""
        return self.cluster_tps / self.single_tps

    @property
    def told(self) -> str:
        """The row in a sentence."""
        return (
            f"{self.factor:.2f} times: {self.model}, {self.engine}, {self.single_tps:g} to {self.cluster_tps:g}"
            f" tokens/s on {self.macs} ({self.source}, {self.date})"
        )


def _row(row: Row) -> SpeedupRow:
    return SpeedupRow(
        name=row.text("id"),
        runtime=row.text("runtime"),
        engine=row.text("engine"),
        split=row.text("split"),
        transport=row.text("transport"),
        macs=row.number("macs"),
        kind=row.one_of("kind", (MIXTURE, DENSE)),
        model=row.text("model"),
        quant=row.text("quant"),
        chip=row.text("chip"),
        single_tps=row.decimal("single_tps"),
        cluster_tps=row.decimal("cluster_tps"),
        used=row.flag("used"),
        note=row.text("note", blank=True),
        date=row.text("date"),
        source=row.text("source"),
    )


SPEEDUPS = Table(
    "cluster_speedups.csv",
    [
        *("id", "runtime", "engine", "split", "transport", "macs", "kind", "model", "quant", "chip"),
        *("single_tps", "cluster_tps", "used", "note", "date", "source"),
    ],
    _row,
)


class Speedup(NamedTuple):
    """The interval of the measured factors over a transport, with its rows."""

    transport: str
    low: float
    high: float
    rows: tuple[SpeedupRow, ...]


def speedups_of(rows: Sequence[SpeedupRow], *, runtime: str, split: str, macs: int, kind: str) -> list[Speedup]:
    """Return what was measured of such models on so many Macs, by transport; nothing where nobody did.

    >>> from deployfit.catalogue import rows
    >>> (found,) = speedups_of(rows(SPEEDUPS), runtime="mlx", split="tensor", macs=4, kind=MIXTURE)
    >>> found.transport, round(found.low, 2), round(found.high, 2), [row.name for row in found.rows]
    ('RDMA', 1.54, 1.64, ['C06', 'C29'])
    """
    wanted = (runtime, split, macs, kind)
    alike = [row for row in rows if row.used and (row.runtime, row.split, row.macs, row.kind) == wanted]
    found = []
    for transport in dict.fromkeys(row.transport for row in alike):
        own = tuple(row for row in alike if row.transport == transport)
        factors = [row.factor for row in own]
        found.append(Speedup(transport, min(factors), max(factors), own))
    return found
