"""Ways out of a cell: where they listen, who may connect there, and the names that lead there."""

import contextlib
import errno
import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support import packages
from tests.support.cell_attempts import script
from tests.support.cell_rootfs import STRANGER, lines, listing, rootfs, swapped, tree
from tests.support.cell_spec import (
    HOST_ID,
    Cell,
    Outcome,
    bind,
    launched,
    one_id,
    python,
    run,
    specification,
    temporary,
    with_binds,
)

pytestmark = pytest.mark.usefixtures("root")

SOCKET = "/run/db.sock"
CONNECT = f"socket.socket(socket.AF_UNIX).connect({SOCKET!r})"
NO_USERS: dict[str, Any] = {"namespaces__user": False}


def way(path: str) -> dict[str, Any]:
    return {"kind": "socket", "path": path}


def port(number: int, host: str = "127.0.1.1") -> dict[str, Any]:
    return {"kind": "loopback", "host": host, "port": number}


@contextlib.contextmanager
def receiver() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Where the sockets come, and where they are sent."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.settimeout(20)
        yield ours, theirs


def with_ways(spec: dict[str, Any], theirs: socket.socket, *ways: dict[str, Any]) -> dict[str, Any]:
    spec["egress"] = {"descriptor": theirs.fileno(), "ways": list(ways)}
    return spec


def outcome(spec: dict[str, Any], *ways: dict[str, Any]) -> Outcome:
    """Runs a cell with these ways out, which nobody serves, to its end."""
    if not ways:
        return run(spec)
    with receiver() as (_, theirs):
        return run(with_ways(spec, theirs, *ways), pass_fds=[theirs.fileno()])


@contextlib.contextmanager
def served(spec: dict[str, Any], *ways: dict[str, Any]) -> Iterator[tuple[Cell, list[int]]]:
    """A cell that runs, and what listens in it."""
    with receiver() as (ours, theirs):
        made = with_ways(spec, theirs, *ways)
        with launched(made, pass_fds=[theirs.fileno()]) as cell:
            assert cell.failure() is None
            _, descriptors, _, _ = socket.recv_fds(ours, 1, len(ways))
            try:
                yield cell, descriptors
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)


def name_of(descriptor: int) -> Any:
    with socket.socket(fileno=os.dup(descriptor)) as one:
        return one.getsockname()


def attempt(body: str, *ways: dict[str, Any], **changes: Any) -> str:
    found = outcome(specification(*python(script(body)), **changes), *ways)
    assert found.failure is None, found.failure
    return found.output.strip()


@pytest.mark.parametrize("changes", [{}, NO_USERS], ids=["user namespace", "none"])
def test_only_the_application_may_connect(changes: dict[str, Any]) -> None:
    say = f"s = os.stat({SOCKET!r}); print(s.st_uid, s.st_gid, oct(s.st_mode))\n"
    uid = 1000 if not changes else HOST_ID
    found = attempt(say + CONNECT, way(SOCKET), **changes)
    assert found.splitlines() == [f"{uid} {uid} 0o140600", "reached"]
    assert attempt(CONNECT, **changes) == "denied ENOENT"


def test_they_listen_in_the_order_in_which_they_come_out() -> None:
    spec = specification("sleep", "60")
    with served(spec, port(5432), way(SOCKET), port(443, "127.0.1.2")) as (cell, descriptors):
        names = [name_of(one) for one in descriptors]
        assert names[0] == ("127.0.1.1", 5432)
        assert names[2] == ("127.0.1.2", 443)
        inside = Path(f"/proc/{cell.application()}/root{SOCKET}").stat()
        assert (inside.st_uid, inside.st_gid) == (HOST_ID, HOST_ID)
        assert stat.S_IMODE(inside.st_mode) == 0o600


def test_nobody_else_of_the_host_has_it() -> None:
    with served(specification("sleep", "60"), way(SOCKET)) as (cell, _):
        assert not Path(SOCKET).exists()
        # By way of the kernel's view of the cell, which only the host's root has.
        path = f"/proc/{cell.application()}/root{SOCKET}"
        for user, expected in ((HOST_ID + 9, False), (None, True)):
            pid = os.fork()
            if pid == 0:
                try:
                    if user is not None:
                        os.setgroups([])
                        os.setresgid(user, user, user)
                        os.setresuid(user, user, user)
                    socket.socket(socket.AF_UNIX).connect(path)
                except OSError:
                    os._exit(1)
                os._exit(0)
            _, status = os.waitpid(pid, 0)
            assert (status == 0) is expected, user


def test_another_cell_has_none_of_it() -> None:
    with served(specification("sleep", "60"), way(SOCKET), port(5432)):
        assert attempt(CONNECT) == "denied ENOENT"
        dial = "socket.create_connection(('127.0.1.1', 5432), 5)"
        assert attempt(dial) == "denied ECONNREFUSED"
        assert attempt(dial, port(5432)) == "reached"


@pytest.mark.parametrize(
    "body",
    [f"os.unlink({SOCKET!r})", f"os.rename({SOCKET!r}, '/run/other')", "os.mkdir('/run/other')"],
)
def test_it_cannot_be_replaced_in_a_folder_of_the_cells(body: str) -> None:
    assert attempt(body, way(SOCKET)) == "denied EROFS"
    own = specification()["filesystem"]["temporary"]
    shared = {"filesystem__temporary": [*own, temporary("/run")]}
    assert attempt(body, way(SOCKET), **shared) == "reached"


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("/etc/x", errno.EADDRINUSE),  # a file
        ("/usr", errno.EROFS),
        ("/usr/db.sock", errno.EROFS),
        ("/bin", errno.EADDRINUSE),  # a link
        ("/proc/db.sock", errno.EROFS),
        ("/tmp", errno.EADDRINUSE),  # a folder
        ("/run/" + 109 * "x", errno.ENAMETOOLONG),
    ],
)
def test_what_is_something_already_is_not_replaced(path: str, number: int) -> None:
    if path == "/bin" and not Path("/bin").is_symlink():
        pytest.skip("/bin is no link here")
    if path == "/usr":
        path = "/usr/bin"
    spec = specification("true")
    spec["filesystem"]["files"].append(
        {"path": "/etc/x", "mode": 0o444, "content": {"kind": "text", "text": ""}}
    )
    found = outcome(spec, way(path))
    assert found.failure is not None
    assert (found.failure["step"], found.failure["errno"]) == ("offer-egress", number)
    assert found.failure["path"] == path
    assert found.failure["hint"]


def test_a_socket_at_two_places_or_in_a_folder_of_the_host(open_folder: Path) -> None:
    open_folder.chmod(0o777)
    spec = specification("true", **with_binds(bind(str(open_folder), "/data", writable=True)))
    found = outcome(spec, way("/data/db.sock"))
    assert found.failure is not None
    assert found.failure["errno"] == errno.EROFS
    assert "such as /run" in found.failure["hint"]
    assert list(open_folder.iterdir()) == []


# A root of the application's own.

NAMES = {"names": [{"address": "127.0.1.1", "name": "db.internal"}], "otherwise": "::1 localhost\n"}


def named(spec: dict[str, Any]) -> dict[str, Any]:
    spec["filesystem"]["hosts"] = NAMES
    return spec


@pytest.mark.parametrize("writable", [False, True])
def test_names_beside_those_of_the_root(image: Path, writable: bool) -> None:
    hosts = image / "etc" / "hosts"
    hosts.write_text("10.0.0.1 other db.internal\n")
    os.chown(hosts, HOST_ID, HOST_ID)
    before = listing(image)
    script = ("cat /etc/hosts", "echo x 2>/dev/null >> /etc/hosts || echo read-only")
    assert lines(run(named(rootfs(image, *script, writable=writable)))) == [
        "127.0.1.1 db.internal",
        "10.0.0.1 other",
        "read-only",
    ]
    assert listing(image) == before
    assert hosts.read_text() == "10.0.0.1 other db.internal\n"


@pytest.mark.parametrize("folder", [False, True], ids=["no /etc", "/etc"])
def test_a_root_without_the_file_gets_one_in_memory(image: Path, folder: bool) -> None:
    if not folder:
        for path in (image / "etc").iterdir():
            path.unlink()
        (image / "etc").rmdir()
        (image / "lib").unlink()
    before = listing(image)
    found = lines(run(named(rootfs(image, "cat /etc/hosts", "ls /etc", writable=True))))
    assert found[:2] == ["127.0.1.1 db.internal", "::1 localhost"]
    assert found[2:] == (["hosts", "link", "release"] if folder else ["hosts"])
    assert listing(image) == before


LOOKS_UP = """
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
int main(int count, char **words) {
    struct addrinfo wanted = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
    for (int i = 1; i < count; i++) {
        if (getaddrinfo(words[i], "5432", &wanted, &found)) { puts("none"); continue; }
        for (; found; found = found->ai_next)
            puts(inet_ntoa(((struct sockaddr_in *)found->ai_addr)->sin_addr));
    }
}
"""


@pytest.mark.parametrize("compiler", ["musl-gcc", "gcc"])
def test_both_c_libraries_find_the_names(image: Path, compiler: str) -> None:
    if compiler == "musl-gcc":
        packages.need("musl-tools")
    source, program = image.parent / "looks-up.c", image / "bin" / "looks-up"
    source.write_text(LOOKS_UP)
    build = [compiler, "-static", "-w", "-o", str(program), str(source)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"{compiler} makes no static program here: {done.stderr[-200:]}")
    (image / "etc" / "hosts").write_text("10.0.0.1 db.internal other\n")
    (image / "etc" / "resolv.conf").write_text("nameserver 192.0.2.1\n")
    (image / "etc" / "nsswitch.conf").write_text("hosts: files dns\n")
    script = "/bin/looks-up db.internal other"
    assert lines(run(rootfs(image, script))) == ["10.0.0.1", "10.0.0.1"]
    assert lines(run(named(rootfs(image, script)))) == ["127.0.1.1", "10.0.0.1"]


def test_a_link_is_followed_inside_the_root(image: Path) -> None:
    (image / "data" / "hosts").write_text("10.0.0.1 inside\n")
    (image / "etc" / "hosts").symlink_to("../../../data/hosts")
    found = lines(run(named(rootfs(image, "cat /etc/hosts", "readlink /etc/hosts"))))
    assert found == ["127.0.1.1 db.internal", "10.0.0.1 inside", "../../../data/hosts"]


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("secret", errno.EACCES),
        ("long", errno.EFBIG),
        ("folder", errno.EISDIR),
        ("fifo", errno.EISDIR),
        ("device", errno.EACCES),
        ("dangling", errno.EEXIST),
        ("loop", errno.ELOOP),
    ],
)
def test_what_is_no_list_of_names_for_everybody(image: Path, kind: str, number: int) -> None:
    hosts = image / "etc" / "hosts"
    if kind == "secret":
        (image / "etc" / "shadow").write_text("hashes")
        (image / "etc" / "shadow").chmod(0o600)
        os.chown(image / "etc" / "shadow", HOST_ID, HOST_ID)
        hosts.symlink_to("shadow")
    elif kind == "long":
        hosts.write_bytes(b"\n" * (1024 * 1024 + 1))
    elif kind == "folder":
        hosts.mkdir()
    elif kind == "fifo":
        os.mkfifo(hosts)
        hosts.chmod(0o644)
    elif kind == "device":
        os.mknod(hosts, 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    elif kind == "dangling":
        hosts.symlink_to("/etc/shadow")
    else:
        hosts.symlink_to("hosts")
    found = run(named(rootfs(image, ":", **({} if kind != "secret" else NO_USERS))))
    assert found.failure is not None
    assert (found.failure["step"], found.failure["errno"]) == ("name-hosts", number)
    assert found.failure["path"] == "/etc/hosts"
    assert found.failure["hint"]


def test_sockets_lie_in_memory_beside_what_is_there(image: Path) -> None:
    before = listing(image)
    spec = rootfs(image, "ls -l /data/db.sock /etc/db.sock | cut -c 1-10", "cat /etc/release")
    found = lines(outcome(spec, way("/data/db.sock"), way("/etc/db.sock")))
    assert found == ["srw-------", "srw-------", "image"]
    assert listing(image) == before


def test_names_and_sockets_of_a_root_that_is_exchanged_all_the_time(
    hostile: Path, canary: Path
) -> None:
    place = hostile / "etc"
    evil, upward = hostile / "evil", hostile / "upward"
    evil.symlink_to("/etc/cloister-canary")
    upward.symlink_to("../" * 20 + "etc/cloister-canary")
    (place / "hosts").write_text("10.0.0.1 theirs\n")
    os.chown(place / "hosts", STRANGER, STRANGER)
    found = []
    with swapped(place, [evil, upward]):
        for _ in range(40):
            spec = named(rootfs(hostile, "cat /etc/hosts || :", writable=True))
            found.append(outcome(spec, way("/etc/run/db.sock")))
            assert list(canary.iterdir()) == []
            assert not [path for path in tree(hostile) if path.name in ("run", "db.sock")]
    assert str(hostile) not in Path("/proc/self/mountinfo").read_text()
    for one in found:
        assert one.failure is None or one.failure["errno"] in (
            errno.EAGAIN,  # a rename raced with the walk (openat2(2))
            errno.ENOENT,
            errno.ELOOP,
            errno.ENOTDIR,
            errno.EACCES,
            errno.EEXIST,
            errno.EROFS,
        )


def test_an_ordinary_users_cell_has_them_too() -> None:
    spec = specification(*python(script(CONNECT)), identity=one_id(HOST_ID))
    with receiver() as (_, theirs):
        made = with_ways(spec, theirs, way(SOCKET))
        found = run(made, pass_fds=[theirs.fileno()], user=HOST_ID, group=HOST_ID, extra_groups=[])
    if found.failure is not None and found.failure["step"] == "create-namespaces":
        pytest.skip("the kernel makes no user namespaces for ordinary users")
    assert found.failure is None, found.failure
    assert found.output.strip() == "reached"
