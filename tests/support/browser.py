"""A real browser, driven by its DevTools protocol over a pair of pipes."""

import base64
import contextlib
import fcntl
import json
import os
import select
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support import packages
from tests.support.waiting import Deadline, wait_until

PROGRAM = "chromium-headless-shell"


class Browser:
    """One page. Every call waits for its answer; events are kept."""

    def __init__(self, sending: int, receiving: int) -> None:
        self._sending, self._receiving = sending, receiving
        self._buffer = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """One command; its result."""
        self._number += 1
        message: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._sending, json.dumps(message).encode() + b"\0")
        deadline = Deadline(60)
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _receive(self, deadline: Deadline) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert not deadline.expired, "the browser does not answer"
            if select.select([self._receiving], [], [], deadline.remaining)[0]:
                piece = os.read(self._receiving, 1 << 20)
                assert piece, "the browser has ended"
                self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def open(self, url: str) -> None:
        """Goes there, and waits until the document is complete."""
        self.call("Page.navigate", url=url)
        wait_until(lambda: self.run("document.readyState") == "complete", what="it", seconds=60)

    def run(self, expression: str) -> Any:
        """The value of a script's expression."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, expression: str) -> Any:
        """Waits until the expression is true."""
        return wait_until(lambda: self.run(expression), what=expression, seconds=60)

    def press(self, key: str, *, text: str = "") -> None:
        """A key, as from a keyboard."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27}
        parameters: dict[str, object] = {"key": key, "windowsVirtualKeyCode": codes.get(key, 0)}
        typed = text or {"Enter": "\r"}.get(key, "")
        self.call("Input.dispatchKeyEvent", type="keyDown", text=typed, **parameters)
        self.call("Input.dispatchKeyEvent", type="keyUp", **parameters)

    def type(self, text: str) -> None:
        """Text, key by key."""
        for character in text:
            self.press(character, text=character)

    def prefer(self, scheme: str) -> None:
        """``light`` or ``dark``."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def size(self, width: int, height: int) -> None:
        """Of the window."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)

    def script(self, enabled: bool) -> None:
        """Whether pages may run scripts."""
        self.call("Emulation.setScriptExecutionDisabled", value=not enabled)

    def picture(self, path: Path) -> bytes:
        """A picture of the whole page, as PNG."""
        taken = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        content = base64.b64decode(taken["data"])
        path.write_bytes(content)
        return content

    def complaints(self) -> list[str]:
        """What the browser had to say against the page: errors, refused loads, violations."""
        self.run("1")
        found = []
        for event in self.events:
            parameters = event.get("params", {})
            if event.get("method") == "Log.entryAdded":
                found.append(parameters["entry"]["text"])
            elif event.get("method") == "Runtime.exceptionThrown":
                found.append(str(parameters["exceptionDetails"]))
        return found

    def requested(self) -> set[str]:
        """Every URL that was asked for."""
        sent = [e for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return {event["params"]["request"]["url"] for event in sent}


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A browser with a profile of its own; skips where there is none."""
    packages.need(PROGRAM, "libatomic1", "fonts-dejavu-core")
    to_read, sending = os.pipe()
    receiving, to_write = os.pipe()

    # --remote-debugging-pipe reads from 3 and writes to 4, which may be these pipes' own.
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (to_read, to_write)]
    os.close(to_read)
    os.close(to_write)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            *("bash", "-c", f'exec "$@" 3<&{ends[0]} 4>&{ends[1]}', "bash"),
            *(PROGRAM, "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu"),
            *("--disable-dev-shm-usage", f"--user-data-dir={profile}"),
        ]
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=ends,
        ) as process:
            for end in ends:
                os.close(end)
            try:
                yield Browser(sending, receiving)
            finally:
                process.kill()
                process.wait(30)
                os.close(sending)
                os.close(receiving)
