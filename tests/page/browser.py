"""A headless Chromium that a test drives through two pipes, by the DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")
_OPTIONS = (
    "--headless --no-sandbox --disable-gpu --hide-scrollbars --remote-debugging-pipe --no-first-run"
).split()
_SECONDS = 60  # until an answer is given up

Json = dict[str, Any]


@contextmanager
def opened(profile: Path) -> Iterator[Tab]:
    """A tab of a browser of its own, which keeps its files in the folder `profile`."""
    (ours, to), (back, theirs) = os.pipe(), os.pipe()
    # The protocol's pipes are the file descriptors 3 and 4.
    script = f'exec "$0" "$@" 3<&{ours} 4>&{theirs}'
    process = subprocess.Popen(
        ["bash", "-c", script, str(PROGRAM), *_OPTIONS, f"--user-data-dir={profile}"],
        pass_fds=(ours, theirs),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(ours)
    os.close(theirs)
    try:
        yield Tab(to, back)
    finally:
        process.kill()
        process.wait()
        os.close(to)
        os.close(back)


class Tab:
    """One tab, by the pipes to and from its browser. `events` are what the browser told."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._from = to, back
        self._number, self._read, self._session = 0, b"", ""
        self.events = list[Json]()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> Json:
        """Send a command, and return its result."""
        self._number += 1
        message: Json = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, answer
        result: Json = answer["result"]
        return result

    def _next(self) -> Json:
        while b"\0" not in self._read:
            assert select.select([self._from], [], [], _SECONDS)[0], "the browser is silent"
            data = os.read(self._from, 1 << 20)
            assert data, "the browser ended"
            self._read += data
        message, self._read = self._read.split(b"\0", 1)
        read: Json = json.loads(message)
        return read

    def show(self, width: int, height: int, *, dark: bool = False) -> None:
        """Take the size of a screen, in CSS pixels, and a colour scheme."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, file: Path) -> None:
        self.call("Page.navigate", url=file.as_uri())
        self.evaluate(
            "new Promise((go) => document.readyState === 'complete' ? go() : onload = go)"
        )

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; of what it promises."""
        done = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def mouse(self, kind: str, x: float, y: float) -> None:
        """`kind`: "mousePressed", "mouseMoved" or "mouseReleased"."""
        self.call(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1
        )

    def key(self, kind: str, name: str) -> None:
        """`kind`: "keyDown" or "keyUp"; `name` as KeyboardEvent.key has it."""
        self.call("Input.dispatchKeyEvent", type=kind, key=name)

    def screenshot(self, file: Path) -> None:
        """Write the whole page, scrolled parts too, as a PNG."""
        image = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        file.write_bytes(base64.b64decode(image))
