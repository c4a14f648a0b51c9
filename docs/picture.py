"""Makes the picture of the page, docs/page.png, in headless Chromium: `python docs/picture.py`."""

from __future__ import annotations

import base64
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "browser"))

from chromium import Chromium, find_browser

from deployfit import catalogue
from deployfit.questions.page import FitPage

PICTURE = Path(__file__).parent / "page.png"
QUESTION = "#model=Qwen3.5-27B&quant=unsloth:UD-Q4_K_XL&mac=M2+Pro+32&compare=unsloth:Q6_K,unsloth:UD-Q2_K_XL"
WIDTH, HEIGHT = 1280, 1250


def main() -> None:
    """Write the picture."""
    binary = find_browser()
    if binary is None:
        sys.exit("no Chromium on this machine")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "fit.html")
        path.write_text(FitPage(list(catalogue.models().values())).html, encoding="utf-8")
        with Chromium(binary, Path(folder, "profile")) as browser, browser.tab(WIDTH, HEIGHT) as tab:
            tab.open(path.as_uri() + QUESTION)
            tab.run("new Promise((done) => setTimeout(done, 500))")
            PICTURE.write_bytes(base64.b64decode(tab.send("Page.captureScreenshot", format="png")["data"]))


if __name__ == "__main__":
    main()
