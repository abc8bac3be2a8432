"""The demo as a newcomer runs it; skips where its port is taken."""

import socket
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_demo_shows_both_sites_and_leaves_nothing() -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", 8443))
        except OSError:
            pytest.skip("port 8443, which the example names, is in use")
    done = subprocess.run(
        [ROOT / "scripts" / "demo"], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    for expected in (
        '"site": "one (ASGI)"',
        "two (WSGI)",
        "unrecognized name",
        "protections of the door: user, network, capabilities, no-new-privileges, seccomp",
        "stopped; no process, socket or folder of it is left",
    ):
        assert expected in done.stdout
    # Each site ran in namespaces and under a host id of its own.
    namespaces = [line for line in done.stdout.splitlines() if "mnt 4026" in line]
    assert len(set(namespaces)) == 2
    assert done.stdout.count("uid 500001") == done.stdout.count("uid 500002") == 1
