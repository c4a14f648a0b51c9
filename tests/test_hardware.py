"""Macs: the GPU limit rule against what real Macs logged, and the sizes that were sold."""

from __future__ import annotations

import pytest
from conftest import engine_rows

from deployfit.basis import Basis
from deployfit.catalogue import rows
from deployfit.hardware.gpu_limit import LIMITS, default_limit, highest_raised_limit, parse_macos
from deployfit.hardware.mac import MACS, Mac, find_chip
from deployfit.units import GIB, MIB
from deployfit.words.macs import mac_named

UNITS = {"bytes": 1, "MB": 10**6, "MiB": MIB, "GiB": GIB}


@pytest.mark.parametrize("row", engine_rows("gpu_limits_logged.csv"), ids=lambda row: row["logged"])
def test_limits_equal_the_logged_ones(row: dict[str, str]) -> None:
    mac = Mac(chip="", memory_bytes=int(row["memory_gib"]) * GIB)
    limit = default_limit(mac, int(row["generation"]), rows(LIMITS))
    decimals = len(row["logged"].partition(".")[2])
    assert round(limit.limit_bytes / UNITS[row["unit"]], decimals) == float(row["logged"])
    assert row["logged"] == "5726633984" or limit.basis is Basis.MEASURED


@pytest.mark.parametrize("memory", [96, 192, 256])
def test_limits_that_nobody_observed_say_so(memory: int) -> None:
    limit = default_limit(Mac(chip="", memory_bytes=memory * GIB), 26, rows(LIMITS))
    assert limit.basis is Basis.ASSUMED
    assert "never observed" in limit.note


def test_every_size_that_was_sold_has_a_limit_in_both_generations() -> None:
    sold = {size for row in rows(MACS) for size in row.memory_gib}
    for generation in (15, 26):
        assert {row.memory_gib for row in rows(LIMITS) if row.generation == generation} == sold


@pytest.mark.parametrize(
    ("text", "expected"),
    [("M4 Max 36", 410), ("M4 Max 64", 546), ("M3 Max 96", 300), ("M3 Max 128", 400), ("M5 Max 36", 460)],
)
def test_the_memory_size_picks_the_bandwidth(text: str, expected: int) -> None:
    chip = find_chip(mac_named(text, rows(MACS)), rows(MACS))
    assert chip is not None
    assert chip.bandwidth_gb_s == expected


def test_a_raised_limit_leaves_a_tenth_or_4_gib() -> None:
    assert highest_raised_limit(Mac(chip="", memory_bytes=16 * GIB)) == 12 * GIB
    assert highest_raised_limit(Mac(chip="", memory_bytes=128 * GIB)) == 128 * GIB * 9 // 10 // MIB * MIB


@pytest.mark.parametrize(("text", "major"), [("15", 15), ("15.7.7", 15), ("26.3", 26), (" 27 ", 27), ("11", 11)])
def test_macos_versions(text: str, major: int) -> None:
    assert parse_macos(text) == major
