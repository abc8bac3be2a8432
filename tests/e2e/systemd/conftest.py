"""A container of its own for each test, with the programs of this checkout in it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support import systemd
from tests.support.systemd import Container

from cloister.cli.main import main

Generate = Callable[..., None]


@pytest.fixture
def container() -> Iterator[Container]:
    """A booted systemd."""
    with systemd.booted() as container:
        container.copy(Path(sys.executable).with_name("cloister-door"))
        yield container


@pytest.fixture
def generate(container: Container) -> Generate:
    """Runs ``cloister generate`` and has the container's systemd read the result."""

    def run(*arguments: str, program: str = "cloister-door") -> None:
        folder = str(container.view)
        where = ["--program", f"{systemd.PROGRAMS}/{program}", "--output", folder]
        assert main(["generate", *arguments, *where]) == 0
        container.run("systemctl", "daemon-reload")

    return run
