# SPDX-License-Identifier: GPL-3.0-or-later
"""A real browser, spoken to over the pipe of its debugging protocol."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

OPTIONS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]


@dataclass
class Browser:
    """One tab of it.

    Attributes:
        requests: Addresses that the page has asked for.
        complaints: What the console shows, and what was refused.
    """

    to: IO[bytes]
    answers: IO[bytes]
    session: str = ""
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    number: int = 0
    loaded: bool = False

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self.number += 1
        asked = {"id": self.number, "method": method, "params": parameters}
        self.to.write(json.dumps({**asked, "sessionId": self.session} if self.session else asked).encode() + b"\0")
        self.to.flush()
        while (told := self._next()).get("id") != self.number:
            pass
        assert "error" not in told, f"{method}: {told['error']}"
        result: dict[str, Any] = told["result"]
        return result

    def open(self, path: Path, width: int, dark: bool) -> None:
        """Open a file and wait until it is there."""
        self.requests.clear()
        self.complaints.clear()
        self.loaded = False
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500
        )
        self.call("Page.navigate", url=path.as_uri())
        while not self.loaded:
            self._next()

    def value(self, expression: str) -> Any:
        """The value of an expression of JavaScript."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def picture(self, path: Path, height: int) -> None:
        """Write what is seen as PNG."""
        width = self.value("document.documentElement.clientWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        told = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(told["data"]))

    def _next(self) -> dict[str, Any]:
        text = bytearray()
        while (byte := self.answers.read(1)) != b"\0":
            assert byte, "the browser has ended"
            text += byte
        told: dict[str, Any] = json.loads(text)
        parameters = told.get("params", {})
        match told.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
            case "Log.entryAdded":
                self.complaints.append(parameters["entry"]["text"])
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(parameters))
            case "Page.loadEventFired":
                self.loaded = True
        return told


@contextmanager
def browser(program: str) -> Iterator[Browser]:
    """Start it with nothing of an earlier one."""
    theirs, to = os.pipe()
    answers, theirs_too = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # The protocol's pipes are the descriptors 3 and 4.
        command = f'exec "$0" "$@" 3<&{theirs} 4>&{theirs_too}'
        options = [*OPTIONS, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
        with subprocess.Popen(
            ["bash", "-c", command, program, *options],
            pass_fds=(theirs, theirs_too),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            os.close(theirs)
            os.close(theirs_too)
            try:
                with os.fdopen(to, "wb") as writing, os.fdopen(answers, "rb") as reading:
                    here = Browser(writing, reading)
                    tab = here.call("Target.createTarget", url="about:blank")["targetId"]
                    here.session = here.call("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
                    for domain in ("Page", "Runtime", "Network", "Log"):
                        here.call(f"{domain}.enable")
                    yield here
            finally:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                process.kill()
