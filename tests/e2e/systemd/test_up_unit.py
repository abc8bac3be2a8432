"""`cloister generate systemd up`: the supervisor under a real systemd."""

import json

import pytest
from tests.e2e.systemd.conftest import Generate
from tests.support import systemd
from tests.support.systemd import Container

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(900)]  # the first makes the file system

CURL = [
    "curl",
    "--max-time",
    "10",
    "--silent",
    "--show-error",
    "--resolve",
    "hello.example:443:127.0.0.1",
]
AUTHORITY = ["--cacert", "/var/lib/cloister/authority/ca.pem"]


def test_it_serves_is_reloaded_and_stops(installed: Container, generate: Generate) -> None:
    container = installed
    generate("systemd", "up", program="cloister")
    systemd.verify(container, ["cloister.service"])
    container.run("systemctl", "enable", "--now", "cloister.service", seconds=60)
    assert container.state("cloister.service") == "active"
    url = "https://hello.example/"
    assert container.output(*CURL, *AUTHORITY, url) == "hello from a cell"
    container.run("systemctl", "reload", "cloister.service")
    assert container.output(*CURL, *AUTHORITY, url) == "hello from a cell"
    status = json.loads(container.output("/usr/local/bin/cloister", "status", "--json"))
    assert status
    container.run("systemctl", "stop", "cloister.service", seconds=60)
    assert container.state("cloister.service") == "inactive"
    assert not (container.view / "run/cloister").exists()
