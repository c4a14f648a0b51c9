"""What the page of every model costs: to make it, its size, its first paint, and one step of the slider.

Before anything is timed the page answers questions as `fit` does. It wants Chromium.
"""

from __future__ import annotations

import itertools
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "browser"))

from asked import difference, questions, shown_for
from chromium import Chromium, find_browser

from deployfit import catalogue
from deployfit.errors import InputError
from deployfit.questions.page import FitPage

QUESTIONS, PAINTS = 200, 9
MOST_BYTES, FIRST_PAINT, REDRAW = 1_500_000, 0.3, 0.05  # bytes and seconds
SLIDE = """(async () => {
  const slider = document.getElementById("context");
  const took = [];
  for (let place = 0; place <= Number(slider.max); place++) {
    const shown = document.documentElement.dataset.shown;
    const begin = performance.now();
    slider.value = place;
    slider.dispatchEvent(new Event("input"));
    while (document.documentElement.dataset.shown === shown) await new Promise(requestAnimationFrame);
    document.body.getBoundingClientRect();
    took.push((performance.now() - begin) / 1000);
  }
  return took;
})()"""


def processor_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def check(browser: Chromium, address: str) -> None:
    """Exit unless the page says what `fit` says."""
    asked = list(itertools.islice(questions(seed=1), QUESTIONS))
    compared = 0
    with browser.tab() as tab:
        tab.open(address)
        for each, shown in zip(asked, shown_for(tab, asked), strict=True):
            try:
                answer = each.answer()
            except InputError:
                continue
            if fault := difference(each, shown, answer):
                sys.exit(fault)
            compared += 1
    print(f"{compared} answers are those of fit")


def main() -> None:
    binary = find_browser()
    if binary is None:
        sys.exit("no Chromium on this machine")
    models = list(catalogue.models().values())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "fit.html")
        before, begin = processor_seconds(), time.perf_counter()
        path.write_text(FitPage(models).html, encoding="utf-8")
        took, used = time.perf_counter() - begin, processor_seconds() - before
        with Chromium(binary, Path(folder, "profile")) as browser:
            check(browser, path.as_uri())
            paints = []
            for _ in range(PAINTS):
                with browser.tab() as tab:
                    tab.open(path.as_uri())
                    tab.until("performance.getEntriesByName('first-contentful-paint').length")
                    paints.append(tab.run("performance.getEntriesByName('first-contentful-paint')[0].startTime") / 1000)
            with browser.tab(1400) as tab:
                tab.open(path.as_uri())
                steps = tab.run(SLIDE)
        rows = (
            ("making it, seconds", f"{took:.0f}", ""),
            ("making it, seconds of the processor", f"{used:.0f}", ""),
            (f"size of {len(models)} models, bytes", f"{path.stat().st_size:,}", f"{MOST_BYTES:,}"),
            ("first paint, ms", f"{1000 * statistics.median(paints):.0f}", f"{1000 * FIRST_PAINT:.0f}"),
            (
                f"a step of the slider, ms, of {len(steps)}",
                f"{1000 * statistics.median(steps):.0f}, at most {1000 * max(steps):.0f}",
                f"{1000 * REDRAW:.0f}",
            ),
        )
    print("| what | it is | at most |\n| --- | ---: | ---: |")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
