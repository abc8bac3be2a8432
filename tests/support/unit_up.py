"""A running ``cloister up`` on NGINX Unit's JSON, changed by Unit's curl commands."""

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.open_python import open_python
from tests.support.up import Up, open_folder

DONE = {"success": "Reconfiguration done."}


class UnitUp(Up):
    """A supervisor in ``folder`` that reads ``unit.json``."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config = folder / "unit.json"
        self.control = str(self.runtime / "control.sock")

    def start_unit(self, configuration: dict[str, Any] | str, *names: str) -> None:
        """Runs with this configuration; returns when these applications, or all, serve."""
        text = configuration if isinstance(configuration, str) else json.dumps(configuration)
        self.config.write_text(text)
        self.start("--log-format", "json", environment=self.places)
        self.wait_ready(*names)

    @property
    def places(self) -> dict[str, str]:
        """The variables that say where the supervisor's files are."""
        return {"RUNTIME_DIRECTORY": str(self.runtime), "STATE_DIRECTORY": str(self.state)}

    def configure(self, method: str, path: str, value: Any = None) -> Any:
        """Unit's curl command; ``value`` is sent as it is if it is a text, else as JSON."""
        command = ["curl", "--silent", "--show-error", "--max-time", "60", "-X", method]
        if value is not None:
            command += ["--data-binary", value if isinstance(value, str) else json.dumps(value)]
        command += ["--unix-socket", self.control, f"http://localhost{path}"]
        return json.loads(subprocess.check_output(command, text=True))

    def put(self, path: str, value: Any) -> None:
        """A change that has to be accepted."""
        answer = self.configure("PUT", path, value)
        assert answer == DONE, answer


@contextlib.contextmanager
def idle_unit() -> Iterator[UnitUp]:
    """One that runs what Unit begins with, under a Python that `nobody` may execute."""
    with open_folder() as folder:
        made = UnitUp(folder)
        made.python = open_python(folder)
        made.start_unit({"listeners": {}, "routes": [], "applications": {}})
        try:
            yield made
        finally:
            made.close()


def get(port: int, path: str = "/") -> str:
    """The body of an answer with status 200, by curl, through a listener on this port."""
    command = ["curl", "--silent", "--show-error", "--fail", "--max-time", "60"]
    return subprocess.check_output([*command, f"http://127.0.0.1:{port}{path}"], text=True)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_root() -> bool:
    """Whether the tests run as root."""
    return os.geteuid() == 0
