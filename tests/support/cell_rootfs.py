"""Folders of the host as roots of cells."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.cell_spec import HOST_ID, Outcome, specification

STRANGER = HOST_ID + 50
"""A user of the host who owns root folders, and means ill."""
BUSYBOX = "/bin/busybox"


def rootfs(image: Path, *script: str, writable: bool = False, **changes: Any) -> dict[str, Any]:
    owners = changes.pop("owners", None)
    spec = specification(BUSYBOX, "sh", "-c", "; ".join(script), **changes)
    spec["environment"] = [{"name": "PATH", "value": "/bin"}]
    files = spec["filesystem"]
    files |= {"binds": changes.get("filesystem__binds", []), "links": []}
    files["root"] = {"source": str(image), "writable": writable, "owners": owners}
    return spec


def lines(outcome: Outcome) -> list[str]:
    assert outcome.failure is None, outcome.failure
    return outcome.output.splitlines()


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def tree(folder: Path) -> list[Path]:
    """All that is below, of a folder that changes meanwhile."""
    return [Path(top, name) for top, below, files in os.walk(folder) for name in (*below, *files)]


@contextlib.contextmanager
def swapped(place: Path, others: list[Path]) -> Iterator[None]:
    """Has ``place`` exchanged for others and back, as fast as that goes."""
    stop = threading.Event()
    rounds = 0

    def swap() -> None:
        nonlocal rounds
        aside = place.with_name("aside")
        while not stop.is_set():
            for other in others:
                with contextlib.suppress(FileNotFoundError):
                    place.rename(aside)
                    other.rename(place)
                    place.rename(other)
                    aside.rename(place)
                    rounds += 1

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        assert rounds > 100
