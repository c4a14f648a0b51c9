"""The document of `here`: the models on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from deployfit.answers import OnDisk
from deployfit.hardware.machine import Machine
from deployfit.report.document import Block, Bullets, Column, Document, Heading, Statement, Table, Tone, of_rows
from deployfit.report.fit_rows import TONES, machine_name
from deployfit.units import gb, gib

SCHEMA = "deployfit/here/1"


def here_document(stored: Sequence[OnDisk], machine: Machine) -> Document:
    """Return a row per model, in bytes; None where nothing can be said."""
    return of_rows(SCHEMA, [_row(each, machine) for each in stored], list(_blocks(stored, machine)))


def _row(each: OnDisk, machine: Machine) -> dict[str, Any]:
    answer = each.answer
    return {
        "name": each.model.name,
        "store": each.model.store,
        "path": each.model.path,
        "file_bytes": each.model.nbytes,
        "mac": machine.mac.name,
        "macos": machine.macos,
        "runtime": answer.run.runtime.name if answer else None,
        "context_tokens": answer.run.settings.context_tokens if answer else None,
        "total_bytes": answer.estimate.total_bytes if answer else None,
        "headroom_bytes": answer.headroom_bytes if answer else None,
        "verdict": answer.verdict.value if answer else None,
        "max_context_tokens": (answer.max_context_tokens or None) if answer else None,
        "fault": each.fault or None,
    }


def _blocks(stored: Sequence[OnDisk], machine: Machine) -> Iterable[Block]:
    yield Heading(f"Models on this machine, for {machine_name(machine)}")
    judged = [each for each in stored if each.answer]
    if not stored:
        yield Statement("No model was found in the stores of Hugging Face, LM Studio, Ollama and llama.cpp.")
    columns = [
        Column("", left=True, shrinks=True),
        Column("verdict", left=True),
        Column("GiB"),
        Column("context", rank=1),
        Column("file GB", rank=2),
        Column("store", left=True, rank=3),
    ]
    rows = [
        [
            each.model.name,
            answer.verdict.headline,
            gib(answer.estimate.total_bytes),
            f"{answer.max_context_tokens:,}" if answer.max_context_tokens else "-",
            gb(each.model.nbytes),
            each.model.store,
        ]
        for each in judged
        if (answer := each.answer)
    ]
    yield Table(columns, rows, 1, [TONES[each.answer.verdict] if each.answer else Tone.PLAIN for each in judged])
    yield Bullets("Not read", [f"{each.model.name}: {each.fault}" for each in stored if each.fault])
