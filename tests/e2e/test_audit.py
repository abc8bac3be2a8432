"""``cloister audit`` of an application in its cell, and of the same program outside."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.support.up import SITES, Up, open_folder

from cloister.cli.main import main


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    with open_folder() as folder:
        running = Up(folder)
        running.write(SITES)
        running.start()
        try:
            running.wait_ready()
            yield running
        finally:
            running.close()


def pid_of(up: Up) -> str:
    """The supervisor's."""
    assert up.process is not None
    return str(up.process.pid)


@pytest.mark.usefixtures("as_root")
def test_a_cell_leaves_little(up: Up, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "one", "--json"]) == 0
    inside = json.loads(capsys.readouterr().out)["audits"][0]
    program = [sys.executable, "-c", "print(1, flush=True); import time; time.sleep(60)"]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            assert main(["audit", str(process.pid), "--json"]) == 0
        finally:
            process.kill()
    outside = json.loads(capsys.readouterr().out)["audits"][0]
    assert inside["service"] == "one"
    assert inside["origin"] == "app"
    assert inside["score"] * 3 < outside["score"]
    codes = {risk["check"]["code"] for risk in inside["risks"]}
    denied = {
        "root-user",
        # Not `shared-user`: another supervisor of this machine may use the same ids.
        "capabilities",
        "new-privileges",
        "namespaces",
        "writable-code",
        "network-listener",
        "reachable-ports",
        "reachable-sockets",
        "master-sockets",
        "system-secrets",
        "keys",
        "agents",
        "foreign-data",
        "other-processes",
        "core-dumps",
        "disk-space",
    }
    assert not denied & codes
    found = {risk["check"]["code"] for risk in outside["risks"]}
    assert {"system-secrets", "namespaces", "capabilities", "system-calls"} <= found


def test_the_report_explains_every_line_of_its_score(
    up: Up, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", pid_of(up)]) == 0
    text = capsys.readouterr().out
    assert main(["audit", pid_of(up), "--json"]) == 0
    audit = json.loads(capsys.readouterr().out)["audits"][0]
    for risk in audit["risks"]:
        # Not what was seen, which other processes change meanwhile.
        assert f"  {risk['check']['code']}: " in text
        assert risk["check"]["why"] in text
    assert re.search(r": [0-9]+\.[0-9]$", text.splitlines()[0])


def test_the_table_has_every_process(up: Up, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--all"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert any(pid_of(up) in row.split() for row in rows)
    scores = [float(row.split()[0]) for row in rows[1:] if not row.startswith("not looked")]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(
    ("arguments", "code"), [(["nobody-is-called-so"], 1), ([], 2), (["1", "--all"], 2)]
)
def test_what_cannot_be_audited(
    arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", *arguments]) == code
    assert "cloister audit" in capsys.readouterr().err
