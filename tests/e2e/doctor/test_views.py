"""Another file system or another network, in real namespaces."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.broken import (
    ASKER_UID,
    SERVER_GID,
    SERVER_UID,
    Corner,
    again,
    codes,
    cure,
    examine,
)
from tests.support.waiting import wait_until

UNSHARE_MOUNTS = ("unshare", "--mount", "--propagation", "private")


def covered(point: str, source: Path) -> list[str]:
    """A command prefix: a mount namespace in which ``source`` lies over ``point``."""
    script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    return [*UNSHARE_MOUNTS, "sh", "-c", script, "sh", str(source), point]


@pytest.fixture
def tmp_socket() -> Iterator[Path]:
    """A path right in /tmp."""
    path = Path(tempfile.mktemp(prefix="cloister-doctor-", suffix=".sock", dir="/tmp"))
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def private_tmp(corner: Corner) -> Path:
    """As systemd makes it for PrivateTmp=."""
    private = corner.directory("systemd-private-0123-nginx.service-abcd/tmp", uid=0)
    private.chmod(0o1777)
    return private


def test_a_private_tmp_of_the_asker(corner: Corner, tmp_socket: Path, private_tmp: Path) -> None:
    """gunicorn 2399, and reference 001's own."""
    corner.serve(tmp_socket)
    who = corner.asker(before=covered("/tmp", private_tmp))
    diagnosis = examine(tmp_socket, who)
    assert codes(diagnosis) == ["private-tmp"]
    cure(diagnosis.findings[0])
    assert examine(tmp_socket, who).healthy


def test_a_private_tmp_of_the_server(corner: Corner, tmp_socket: Path, private_tmp: Path) -> None:
    server = corner.serve(tmp_socket, before=covered("/tmp", private_tmp))
    who = corner.asker(groups=(SERVER_GID,))
    diagnosis = examine(tmp_socket, who)
    assert codes(diagnosis) == ["private-tmp"]
    assert "the server" in diagnosis.findings[0].seen
    assert diagnosis.error == "2: No such file or directory"
    server.kill()
    server.wait()
    cure(diagnosis.findings[0])
    with again(Path(sys.executable).name, SERVER_UID):
        wait_until(tmp_socket.exists, what="the server's socket outside")
        tmp_socket.chmod(0o660)  # it has the umask of whoever starts it
        assert examine(tmp_socket, who).healthy


def test_a_private_tmp_and_a_closed_socket_in_it(
    corner: Corner, tmp_socket: Path, private_tmp: Path
) -> None:
    corner.serve(tmp_socket, umask="022")
    who = corner.asker(before=covered("/tmp", private_tmp))
    diagnosis = examine(tmp_socket, who)
    assert codes(diagnosis) == ["private-tmp", "socket-mode"]
    for finding in diagnosis.findings:
        cure(finding)
    assert examine(tmp_socket, who).healthy


def test_a_folder_that_is_covered_for_the_asker(corner: Corner) -> None:
    folder = corner.directory("home/alice")
    path = folder / "app.sock"
    corner.serve(path)
    who = corner.asker(before=covered(str(folder.parent), corner.directory("empty")))
    diagnosis = examine(path, who)
    assert codes(diagnosis) == ["other-mount-view"]
    cure(diagnosis.findings[0])
    assert examine(path, who).healthy


def test_a_chroot(corner: Corner) -> None:
    path = corner.directory("run") / "app.sock"
    corner.serve(path)
    root = corner.directory("jail", uid=0)
    for name in ("usr", "lib", "lib64", "bin"):
        (root / name).mkdir()
    script = (
        'for d in usr lib lib64 bin; do mount --bind "/$d" "$0/$d"; done; '
        'root=$0; exec chroot "$root" "$@"'
    )
    before = [*UNSHARE_MOUNTS, "sh", "-c", script, str(root)]
    who = corner.asker(before=before)
    diagnosis = examine(path, who)
    assert codes(diagnosis) == ["chroot"]
    cure(diagnosis.findings[0])
    assert examine(path, who).healthy


def test_an_abstract_name_in_another_network(corner: Corner) -> None:
    name = f"@cloister-doctor-{os.getpid()}"
    corner.serve(name)
    who = corner.asker(before=["unshare", "--net"])
    diagnosis = examine(name, who)
    assert codes(diagnosis) == ["other-network"]
    who.kill()
    who.wait()
    cure(diagnosis.findings[0])
    with again("cat", ASKER_UID) as pid:
        assert examine(name, pid).healthy


def test_a_server_in_another_network(corner: Corner) -> None:
    name = f"@cloister-doctor-{os.getpid()}"
    server = corner.serve(name, before=["unshare", "--net"])
    diagnosis = examine(name, corner.asker())
    assert codes(diagnosis) == ["other-network"]
    assert f"process {server.pid}" in diagnosis.findings[0].seen


def test_a_path_crosses_networks(corner: Corner) -> None:
    path = corner.directory("run") / "app.sock"
    corner.serve(path)
    assert examine(path, corner.asker(before=["unshare", "--net"])).healthy


def test_ids_of_another_view_are_really_taken_on(corner: Corner) -> None:
    """The same path leads to another socket for the asker, which he may not reach."""
    here, there = corner.directory("here"), corner.directory("there")
    corner.serve(here / "app.sock")
    corner.serve(there / "app.sock", umask="077")
    who = corner.asker(before=covered(str(here), there))
    assert examine(here / "app.sock", corner.asker()).healthy
    assert "other-mount-view" in codes(examine(here / "app.sock", who))
