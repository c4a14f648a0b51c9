"""A headless Chromium that is told what to do over a pipe (the DevTools protocol), and asks no host for anything.

As a program it ends with 0 where there is a browser.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ELSEWHERE = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    "--disable-ipc-flooding-protection",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
# Becomes the browser, which reads what to do from its file 3 and answers in its file 4, whatever they are here.
WIRED = (
    "import fcntl, os, sys; "
    "found = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]; "
    "os.dup2(found[0], 3); os.dup2(found[1], 4); os.execv(sys.argv[3], sys.argv[3:])"
)
PATIENCE = 120.0  # seconds for one answer; machines that run tests are busy


def find_browser() -> str | None:
    """Return the browser of this machine."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    return next((path for path in ELSEWHERE if os.path.exists(path)), None)


class Chromium:
    """The browser."""

    def __init__(self, binary: str, profile: Path) -> None:
        commands, answers = os.pipe(), os.pipe()
        try:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    WIRED,
                    str(commands[0]),
                    str(answers[1]),
                    binary,
                    *FLAGS,
                    f"--user-data-dir={profile}",
                    "about:blank",
                ],
                pass_fds=(commands[0], answers[1]),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        finally:
            os.close(commands[0])
            os.close(answers[1])
        self._commands, self._answers = commands[1], answers[0]
        self._rest = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.send("Browser.close")
            self._process.wait(10)
        except (OSError, TimeoutError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._commands)
        os.close(self._answers)

    def send(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        """Send a command; return its result. What happens meanwhile is noted in `events`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._commands, data) :]
        until = time.monotonic() + PATIENCE
        while True:
            answer = self._receive(until)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                found: dict[str, Any] = answer["result"]
                return found
            self.events.append(answer)

    def _receive(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, until - time.monotonic()))
            chunk = os.read(self._answers, 1 << 20) if ready else b""
            if not chunk:
                raise TimeoutError("the browser does not answer")
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        return found

    def tab(self, width: int = 1280, height: int = 900, *, dark: bool = False) -> Tab:
        """Return a new empty page."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return Tab(self, target, session, width, height, dark=dark)


class Tab:
    """A page of the browser."""

    def __init__(self, browser: Chromium, target: str, session: str, width: int, height: int, *, dark: bool) -> None:
        self._browser, self._target, self._session = browser, target, session
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        self.resize(width, height)
        self.look(dark=dark)

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command to this page."""
        return self._browser.send(method, self._session, **params)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._browser.send("Target.closeTarget", targetId=self._target)

    def resize(self, width: int, height: int = 900) -> None:
        """Change the size of the screen."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def look(self, *, dark: bool = False, media: str = "screen") -> None:
        """Change what the page is shown on."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def open(self, address: str) -> None:
        """Open a page and wait until it shows an answer."""
        self.send("Page.navigate", url=address)
        self.until("document.documentElement?.dataset.shown !== undefined")

    def run(self, script: str) -> Any:
        """Return what an expression gives, awaited."""
        how = {"awaitPromise": True, "returnByValue": True, "allowUnsafeEvalBlockedByCSP": False}
        found = self.send("Runtime.evaluate", expression=script, **how)
        if "exceptionDetails" in found:
            raise RuntimeError(json.dumps(found["exceptionDetails"])[:2000])
        return found["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait until an expression holds."""
        end = time.monotonic() + PATIENCE
        while not self.run(condition):
            if time.monotonic() > end:
                raise TimeoutError(condition)
            time.sleep(0.02)

    def key(self, name: str, code: int, text: str = "") -> None:
        """Press a key."""
        typed = {"key": name, "code": name, "windowsVirtualKeyCode": code, **({"text": text} if text else {})}
        self.send("Input.dispatchKeyEvent", type="keyDown", **typed)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=name, code=name, windowsVirtualKeyCode=code)

    def metrics(self) -> Mapping[str, float]:
        """Return what the page's main thread has used so far, in seconds of its processor."""
        self.send("Performance.enable", timeDomain="threadTicks")
        return {each["name"]: each["value"] for each in self.send("Performance.getMetrics")["metrics"]}

    def happened(self, method: str) -> Sequence[Mapping[str, Any]]:
        """Return what was told of this page by the name of the event."""
        self.run("0")  # what is on its way arrives before its answer
        return [
            each["params"]
            for each in self._browser.events
            if each.get("method") == method and each.get("sessionId") == self._session
        ]


if __name__ == "__main__":
    sys.exit(find_browser() is None)
