"""Modes, lists and groups: each fault is real, and the printed cure really cures."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.broken import (
    ASKER_GID,
    SERVER_GID,
    SERVER_UID,
    Corner,
    again,
    codes,
    cure,
    examine,
)
from tests.support.packages import need

from cloister.model.finding import Confidence, Outcome


def test_a_healthy_socket_has_no_finding(corner: Corner) -> None:
    path = corner.directory("run") / "app.sock"
    corner.serve(path)
    diagnosis = examine(path, corner.asker())
    assert diagnosis.outcome is Outcome.CONNECTED
    assert diagnosis.findings == ()
    assert diagnosis.healthy


def test_a_home_directory_without_execute_bit(corner: Corner) -> None:
    """bepasty 277."""
    home = corner.directory("home/alice", gid=SERVER_UID, mode=0o700)
    path = home / "app.sock"
    corner.serve(path)
    who = corner.asker()
    diagnosis = examine(path, who)
    assert codes(diagnosis)[0] == "no-execute-bit"
    assert diagnosis.findings[0].confidence is Confidence.CERTAIN
    assert str(home) in diagnosis.findings[0].seen
    cure(diagnosis.findings[0])
    assert examine(path, who).healthy


def test_every_directory_that_refuses_is_named(corner: Corner) -> None:
    outer = corner.directory("srv", uid=0, mode=0o755)
    inner = corner.directory("srv/app/run", mode=0o700)
    path = inner / "app.sock"
    corner.serve(path)
    outer.chmod(0o750)  # afterwards: not even the server passes
    who = corner.asker()
    diagnosis = examine(path, who)
    assert codes(diagnosis) == ["no-execute-bit", "no-execute-bit"]
    assert str(outer) in diagnosis.findings[0].seen
    for finding in diagnosis.findings:
        cure(finding)
    assert examine(path, who).healthy


@pytest.mark.parametrize("umask", ["022", "077"])
def test_a_socket_that_its_server_left_closed(corner: Corner, umask: str) -> None:
    """uvicorn 337, romm 3809, quart 65; gunicorn 160 for the umask."""
    path = corner.directory("run") / "app.sock"
    corner.serve(path, umask=umask)
    who = corner.asker()
    diagnosis = examine(path, who)
    assert codes(diagnosis) == ["socket-mode"]
    assert f"{path.stat().st_mode & 0o777:04o}" in diagnosis.findings[0].seen
    cure(diagnosis.findings[0])
    assert examine(path, who).healthy


def test_a_socket_of_another_group(corner: Corner) -> None:
    path = corner.directory("run") / "app.sock"
    corner.serve(path)
    who = corner.asker(groups=())
    diagnosis = examine(path, who)
    assert codes(diagnosis) == ["socket-group"]
    cure(diagnosis.findings[0])
    assert path.stat().st_gid == ASKER_GID
    assert examine(path, who).healthy


def test_an_access_list_refuses_where_the_mode_allows(corner: Corner) -> None:
    need("acl")
    folder = corner.directory("run")
    path = folder / "app.sock"
    corner.serve(path)
    subprocess.run(["setfacl", "--modify", f"u:{ASKER_GID}:---", folder], check=True)
    who = corner.asker()
    diagnosis = examine(path, who)
    assert codes(diagnosis) == ["acl-denies"]
    cure(diagnosis.findings[0])
    assert examine(path, who).healthy


def test_a_mask_takes_what_a_list_gives(corner: Corner) -> None:
    need("acl")
    path = corner.directory("run") / "app.sock"
    corner.serve(path, umask="077")
    subprocess.run(["setfacl", "--modify", f"u:{ASKER_GID}:rw,m::r", path], check=True)
    who = corner.asker()
    diagnosis = examine(path, who)
    assert codes(diagnosis) == ["acl-denies"]
    assert "mask" in diagnosis.findings[0].seen
    cure(diagnosis.findings[0])
    assert examine(path, who).healthy


@pytest.fixture
def user(as_root: None) -> Iterator[tuple[int, int, str]]:
    """A user of the host with his ids and name, and no home."""
    name = f"cl-doctor-{os.getpid()}"
    subprocess.run(["useradd", "--system", "--user-group", "--no-create-home", name], check=True)
    try:
        ids = subprocess.run(
            ["getent", "passwd", name], check=True, capture_output=True, text=True
        ).stdout.split(":")
        yield int(ids[2]), int(ids[3]), name
    finally:
        subprocess.run(["userdel", name], check=True)


def test_a_group_that_the_running_process_does_not_know(
    corner: Corner, user: tuple[int, int, str]
) -> None:
    uid, gid, name = user
    group = f"{name}-g"
    subprocess.run(["groupadd", "--system", group], check=True)
    try:
        path = corner.directory("run") / "app.sock"
        shared = int(Path("/etc/group").read_text().split(f"\n{group}:x:")[1].split(":")[0])
        corner.serve(path, gid=shared)
        who = corner.start("sleep", "600", uid=uid, gid=gid)
        assert codes(examine(path, who)) == ["socket-group"]
        subprocess.run(["usermod", "--append", "--groups", group, name], check=True)
        diagnosis = examine(path, who)
        assert codes(diagnosis) == ["group-not-in-process"]
        assert examine(path, name).healthy  # a new process of the user would be let in
        (finding,) = diagnosis.findings
        who.kill()  # so that nothing but the cure starts it again
        who.wait()
        cure(finding)
        with again("sleep", uid) as pid:
            assert examine(path, pid).healthy
    finally:
        subprocess.run(["groupdel", group], check=True)


def test_several_faults_of_one_socket_are_all_named(corner: Corner) -> None:
    folder = corner.directory("home/alice", mode=0o700)
    path = folder / "app.sock"
    corner.serve(path, umask="022")
    who = corner.asker(groups=())
    diagnosis = examine(path, who)
    assert codes(diagnosis) == ["no-execute-bit", "socket-mode"]
    for finding in diagnosis.findings:
        cure(finding)
    assert examine(path, who).healthy
    assert path.stat().st_gid != SERVER_GID
