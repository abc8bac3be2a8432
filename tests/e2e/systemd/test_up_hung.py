"""A supervisor that hangs in its generated unit. ``tests/machine/`` has the same under control
groups of version 2."""

import pytest
from tests.e2e.systemd.conftest import Generate
from tests.support import hung_supervisor
from tests.support.systemd import PROGRAMS, Container

# The first makes the file system.
pytestmark = [pytest.mark.slow, pytest.mark.systemd, pytest.mark.timeout(900)]


def test_its_applications_serve_on_and_the_next_one_takes_them_over(
    installed: Container, generate: Generate
) -> None:
    generate("systemd", "up", program="cloister")

    def run(script: str) -> str:
        return installed.run("sh", "-c", script, seconds=120).stdout

    hung_supervisor.hang(run, f"{PROGRAMS}/cloister", watchdog=5, patience=90)
