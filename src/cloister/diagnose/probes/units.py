"""Units of systemd: the loaded ones as systemctl(1) shows them, the others as their files say.

systemctl can show the others as well, but loads each for it, which takes seconds.
"""

import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cloister.diagnose.facts import Unit

PROPERTIES = (
    "Id",
    "ActiveState",
    "Result",
    "FragmentPath",
    "Listen",
    "Triggers",
    "TriggeredBy",
    "ExecStart",
    "RuntimeDirectory",
    "LoadState",
)
FOLDERS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
"""systemd.unit(5), the first that has a file wins."""

_LISTEN = re.compile(r"(.+?) \((\w+)\)")
_LISTEN_SETTING = re.compile(r"Listen(Stream|Datagram|SequentialPacket)=\s*(\S+)")
_SETTING = re.compile(r"(ExecStart|RuntimeDirectory)=\s*(.*)")
_PATIENCE = 10


def units() -> tuple[Unit, ...]:
    """Every socket and service unit, running or not; empty without systemd. A socket comes
    before the service that it starts."""
    if not Path("/run/systemd/system").is_dir():
        return ()
    text = _run("show", f"--property={','.join(PROPERTIES)}", "*.socket", "*.service")
    found = {unit.name: unit for unit in map(_shown, text.split("\n\n")) if unit is not None}
    for unit in _files():
        found.setdefault(unit.name, unit)
    return tuple(
        sorted(found.values(), key=lambda unit: (unit.name.endswith(".service"), unit.name))
    )


def _run(*arguments: str) -> str:
    with suppress(OSError, subprocess.TimeoutExpired):
        command = ["systemctl", *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
        return done.stdout
    return ""


def _shown(block: str) -> Unit | None:
    listens: list[tuple[str, str]] = []
    settings: dict[str, str] = {}
    for line in block.splitlines():
        name, _, value = line.partition("=")
        if name == "Listen":
            match = _LISTEN.fullmatch(value)
            if match:
                listens.append((match[2], match[1]))
        else:
            settings[name] = value
    if settings.get("LoadState") != "loaded":
        return None
    return Unit(
        name=settings.get("Id", ""),
        active=settings.get("ActiveState", ""),
        result=settings.get("Result", ""),
        file=settings.get("FragmentPath") or None,
        listens=tuple(listens),
        settings=settings,
    )


def _files() -> Iterator[Unit]:
    """Units that nothing refers to are not loaded, and so inactive."""
    for folder in map(Path, FOLDERS):
        for pattern in ("*.socket", "*.service"):
            for path in folder.glob(pattern):
                if path.stem.endswith("@") or path.is_symlink():
                    continue  # a template, an alias, or masked
                with suppress(OSError):
                    yield _written(path, path.read_text(encoding="utf-8", errors="replace"))


def _written(path: Path, text: str) -> Unit:
    lines = [line.strip() for line in text.splitlines()]
    listens = (match for match in map(_LISTEN_SETTING.fullmatch, lines) if match)
    settings = (match for match in map(_SETTING.fullmatch, lines) if match)
    return Unit(
        name=path.name,
        active="inactive",
        result="success",
        file=str(path),
        listens=tuple((match[1], match[2]) for match in listens),
        settings={match[1]: match[2] for match in settings},
    )
