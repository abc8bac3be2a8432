"""Who may command a supervisor: real users, a real socket, and the kernel's word for them."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.support.up import Up, open_folder

pytestmark = pytest.mark.usefixtures("as_root")

STRANGER, OWNER, OPERATORS, OTHERS = 54321, 54322, 54400, 54401
ASKING = """
import os, socket, sys
uid, gid, groups, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
os.chdir(folder)
os.setgroups([int(one) for one in groups.split(",") if one])
os.setresgid(gid, gid, gid)
os.setresuid(uid, uid, uid)
connection = socket.socket(socket.AF_UNIX)
connection.connect("control.sock")
connection.sendall(b"POST /apps/none/stop HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n")
print(connection.makefile().read())
"""


@pytest.fixture(scope="module", params=["0660", "0600"])
def up(request: pytest.FixtureRequest) -> Iterator[Up]:
    with open_folder() as folder:
        running = Up(folder)
        running.write({})
        control = (
            f'control = {{ owner = "{OWNER}", group = "{OPERATORS}", mode = "{request.param}" }}'
        )
        text = running.config.read_text()
        running.config.write_text(text.replace("[cloister]", f"[cloister]\n{control}"))
        running.start("--log-format", "json")
        try:
            running.wait_ready()
            yield running
        finally:
            running.close()


def ask(up: Up, uid: int, gid: int, groups: str = "") -> str:
    """The first line of the answer, or the error's name."""
    asked = subprocess.run(
        [sys.executable, "-c", ASKING, str(uid), str(gid), groups, str(up.runtime)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    lines = (asked.stdout or asked.stderr).strip().splitlines()
    return lines[0] if asked.returncode == 0 else lines[-1].partition(":")[0]


def mode(up: Up) -> int:
    return (up.runtime / "control.sock").stat().st_mode & 0o777


def test_the_socket_is_as_it_was_asked_for(up: Up) -> None:
    found = (up.runtime / "control.sock").stat()
    assert (found.st_uid, found.st_gid) == (OWNER, OPERATORS)


def test_a_stranger_does_not_even_connect(up: Up) -> None:
    assert ask(up, STRANGER, STRANGER) == "PermissionError"
    assert ask(up, STRANGER, OTHERS, str(OTHERS)) == "PermissionError"


def test_the_owner_may(up: Up) -> None:
    assert ask(up, OWNER, OWNER).startswith("HTTP/1.1 404")


def test_the_group_may_where_the_mode_says_so(up: Up) -> None:
    members = [ask(up, STRANGER, OPERATORS), ask(up, STRANGER, OTHERS, f"{OTHERS},{OPERATORS}")]
    if mode(up) == 0o660:
        assert all(answer.startswith("HTTP/1.1 404") for answer in members)
    else:
        assert members == ["PermissionError"] * 2


def test_what_the_socket_s_mode_lets_in_by_hand_is_refused_and_logged(up: Up) -> None:
    path = up.runtime / "control.sock"
    before = mode(up)
    path.chmod(0o666)
    try:
        assert ask(up, STRANGER, OTHERS).startswith("HTTP/1.1 403")
        # The group was not meant to write: a mode that is opened by hand changes nothing.
        member = ask(up, STRANGER, OPERATORS)
        assert member.startswith("HTTP/1.1 404" if before == 0o660 else "HTTP/1.1 403")
    finally:
        path.chmod(before)
    refused = [line for line in up.log() if line.get("uid") == STRANGER]
    assert refused
    assert "on the control socket" in json.dumps(refused)


def test_root_may_in_any_case(up: Up) -> None:
    assert ask(up, 0, 0).startswith("HTTP/1.1 404")
