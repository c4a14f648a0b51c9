"""Makes the picture of the page, docs/page.png, in headless Chromium: `python docs/picture.py`."""

from __future__ import annotations

import base64
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "browser"))

from chromium import Chromium, find_browser

from deployfit.questions.page import page

PICTURE = Path(__file__).parent / "page.png"
MODEL, WIDTH = "Qwen3.5-27B", 1280
QUESTION = f"#model={MODEL}&quant=unsloth:UD-Q4_K_XL&mac=M2+Pro+32&compare=unsloth:Q6_K,unsloth:UD-Q2_K_XL"
BELOW = "Math.ceil(document.getElementById('files').getBoundingClientRect().top)"


def picture(browser: Chromium, folder: Path) -> bytes:
    """Return what the page shows down to the lines of memory, as a PNG."""
    path = folder / "fit.html"
    path.write_text(page(MODEL).html, encoding="utf-8")
    with browser.tab(WIDTH) as tab:
        tab.open(path.as_uri() + QUESTION)
        tab.resize(WIDTH, tab.run(BELOW))
        tab.run("new Promise((done) => setTimeout(done, 500))")
        return base64.b64decode(tab.send("Page.captureScreenshot", format="png")["data"])


if __name__ == "__main__":
    binary = find_browser()
    if binary is None:
        sys.exit("no Chromium on this machine")
    with tempfile.TemporaryDirectory() as made, Chromium(binary, Path(made, "profile")) as started:
        PICTURE.write_bytes(picture(started, Path(made)))
