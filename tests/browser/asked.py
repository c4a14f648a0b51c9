"""Questions to the page in the words of the command line, what it shows, and what `fit` answers to the same."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from chromium import Tab

from deployfit import catalogue
from deployfit.apps import APPS
from deployfit.commands.next_step import next_step
from deployfit.errors import InputError
from deployfit.hardware.mac import MACS
from deployfit.lookup import find_quant
from deployfit.page.starts import SLOTS
from deployfit.quants import shelf
from deployfit.quants.weights import Options
from deployfit.questions.choices import published_files
from deployfit.questions.resolve import as_started, judge_of, machine_of, run_of, settings_of, start_of
from deployfit.runtimes import registry
from deployfit.verdict import Answer, Verdict

# Asks by the address, as somebody who follows a link does, and reads what the page shows.
ASK = """
async function ask(hash) {
  const before = document.documentElement.dataset.shown;
  const address = location.hash;
  location.hash = hash;
  const until = performance.now() + 20000;
  while (location.hash !== address && document.documentElement.dataset.shown === before) {
    if (performance.now() > until) throw new Error(`nothing is shown for ${hash}`);
    await new Promise((done) => setTimeout(done));
  }
  const all = (selector) => [...document.querySelectorAll(selector)];
  const parts = {};
  for (const each of all("#verdict [data-part]")) parts[each.dataset.part] = (parts[each.dataset.part] ?? 0) + Number(each.value);
  return {
    parts,
    verdict: document.querySelector("#verdict [data-verdict]")?.dataset.verdict ?? null,
    largest: Number(document.querySelector("#verdict [data-largest]")?.dataset.largest),
    rates: Object.fromEntries(all("#verdict [data-rate]").map((each) => [each.dataset.rate, Number(each.value)])),
    changes: all("#changes li").map((each) => each.textContent),
    command: document.querySelector("#verdict [data-command='Ask again']")?.textContent ?? "",
    start: document.querySelector("#verdict [data-command='Run it']")?.textContent ?? "",
    server: document.querySelector("#verdict [data-command='Start the server']")?.textContent ?? "",
    said: document.querySelector("#verdict")?.textContent ?? "",
  };
}
"""


class Asked(NamedTuple):
    """A question in the words of the command line."""

    model: str
    quant: str
    mac: str
    macos: str
    app: str
    runtime: str
    context: int
    typed: Mapping[str, str]
    mtp: bool
    vision: bool

    @property
    def link(self) -> str:
        flags = {name: "1" for name in ("mtp", "vision") if getattr(self, name)}
        words = {name: str(getattr(self, name)) for name in self._fields[:7]}
        return "#" + urlencode({**words, **self.typed, **flags})

    def answer(self) -> Answer:
        """What `fit` answers, without advice, which takes long."""
        start = start_of(self.app, self.runtime, str(self.context), self.typed)
        if start.app.context_of_slot:  # the page's is that of all together
            slots = start.runtime.sequences(settings_of(start, 1))
            start = start._replace(context=str(self.context // slots))
        model = catalogue.models()[self.model]
        judge = judge_of(
            run_of(model, start, machine_of(self.mac, self.macos), Options(mtp=self.mtp, vision=self.vision))
        )
        quant = find_quant(self.quant, self.runtime)
        return as_started(judge, quant, start).answer(quant)


def questions(seed: int) -> Iterator[Asked]:
    """Questions over all models, files, Macs and settings that the page offers; the engine refuses some of them."""
    rng = random.Random(seed)
    apps = catalogue.rows(APPS)
    macs = [f"{row.chip} {size}" for row in catalogue.rows(MACS) for size in row.memory_gib]
    memories = sorted({name.rpartition(" ")[2] for name in macs})
    names = list(catalogue.models())
    rng.shuffle(names)
    for name in itertools.cycle(names):
        model = catalogue.models()[name]
        app = rng.choice(apps)
        engine = registry.runtime(app.runtime)
        files = published_files(model, engine.formats[0])
        quant = rng.choice(files if files and rng.random() < 0.6 else shelf.own_quants(engine.formats[0]))
        typed = dict(rng.choice(list(engine.planned)))
        slots = rng.choice(SLOTS)
        if (
            slots
            and "parallel" in app.options
            and any(each.name == "parallel" for each in registry.parameters()[app.runtime])
        ):
            typed["parallel"] = slots
        try:
            start = start_of(app.name, app.runtime, "max", typed)
            settings = engine.settings(1, {**start.chosen, **start.typed})
        except InputError:
            continue
        step, most = engine.context_step(settings), engine.most_context(model.blueprint, settings)
        steps = rng.randint(1, -(-most // step)) if rng.random() < 0.7 else min(-(-most // step), -(-32768 // step))
        yield Asked(
            model=name,
            quant=quant.name,
            mac=rng.choice(macs if rng.random() < 0.7 else memories),
            macos=rng.choice(["26", "15"]),
            app=app.name,
            runtime=app.runtime,
            context=min(steps * step, most),
            typed=typed,
            mtp="mtp" in app.options and bool(model.blueprint.drafts) and rng.random() < 0.3,
            vision="vision" in app.options and model.blueprint.vision is not None and rng.random() < 0.3,
        )


def difference(asked: Asked, shown: Mapping[str, Any], answer: Answer) -> str:
    """What the page shows otherwise than `fit` answers, "" if nothing."""
    parts: dict[str, int] = {}
    for part in answer.estimate.at_start:
        parts[f"{part.name}/{part.where}"] = parts.get(f"{part.name}/{part.where}", 0) + part.nbytes
    machine = answer.run.machine
    expected = {
        **{name: nbytes for name, nbytes in parts.items() if nbytes},
        "total": answer.estimate.total_bytes,
        "limit": machine.limit.limit_bytes,
        "reserve": machine.reserve_bytes,
    }
    found = {name: nbytes for name, nbytes in shown["parts"].items() if nbytes or name in ("total", "limit", "reserve")}
    faults = []
    if found != expected:
        faults.append(f"parts {found} instead of {expected}")
    if shown["verdict"] != answer.verdict.value:
        faults.append(f"{shown['verdict']} instead of {answer.verdict.value}")
    if shown["largest"] != answer.max_context_tokens:
        faults.append(f"largest context {shown['largest']:,} instead of {answer.max_context_tokens:,}")
    rates = (
        {}
        if answer.speed is None
        else {name: getattr(answer.speed, name).tps for name in ("decode", "decode_full", "prefill")}
    )
    if set(rates) != set(shown["rates"]) or any(
        abs(shown["rates"][name] / rate - 1) > 1e-8 for name, rate in rates.items()
    ):
        faults.append(f"speeds {shown['rates']} instead of {rates}")
    if (said := answer.run.runtime.headline(answer.run.settings)) not in shown["said"]:
        faults.append(f"the page does not say {said!r}")
    runs = answer.verdict in (Verdict.FITS, Verdict.TIGHT) and not (asked.typed or asked.mtp or asked.vision)
    step = next_step(answer) if runs else None
    if shown["start"] != (step.command if step else "") or (step and step.server and shown["server"] != step.server):
        faults.append(f"starts it by {shown['server']!r}, {shown['start']!r} instead of {step}")
    if shown["changes"]:
        faults.append(f"changed {shown['changes']}")
    return "; ".join(faults) and f"{asked.link}: {'; '.join(faults)}"


def shown_for(tab: Tab, asked: Sequence[Asked]) -> list[dict[str, Any]]:
    links = json.dumps([each.link for each in asked])
    found: list[dict[str, Any]] = tab.run(
        f"(async () => {{ {ASK} const found = []; for (const link of {links}) found.push(await ask(link)); return found; }})()"
    )
    return found
