"""Who an application is, inside and on the host, and that it cannot become anybody else."""

import ctypes
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.support.cell_attempts import REACHED, in_cell, script
from tests.support.cell_spec import (
    HOST_ID,
    Cell,
    bind,
    launched,
    one_id,
    run,
    run_python,
    specification,
    status_field,
    with_binds,
)

pytestmark = pytest.mark.usefixtures("root")

NAMESPACES = {
    "user": "user",
    "mount": "mnt",
    "pid": "pid",
    "ipc": "ipc",
    "uts": "uts",
    "cgroup": "cgroup",
    "network": "net",
}
CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
SUPERUSER = one_id(HOST_ID, uid=0, gid=0)


def started(cell: Cell) -> Cell:
    assert cell.failure() is None
    return cell


@pytest.mark.parametrize("name", NAMESPACES)
def test_each_namespace_is_its_own(name: str) -> None:
    for own in (True, False):
        with launched(specification("sleep", "60", **{f"namespaces__{name}": own})) as cell:
            application = started(cell).application()
            inside, outside = (
                Path(f"/proc/{pid}/ns/{NAMESPACES[name]}").readlink()
                for pid in (application, os.getpid())
            )
            assert (inside != outside) == own


def test_ids_inside_and_on_the_host() -> None:
    script = "import os; print(*os.getresuid(), *os.getresgid(), os.getgroups())"
    assert run_python(script).output == "1000 1000 1000 1000 1000 1000 []\n"
    spec = specification("sleep", "60")
    with launched(spec, extra_groups=[0, 4, 27]) as cell:
        started(cell)
        for pid in (cell.pid, cell.init(), cell.application()):
            for name in ("Uid", "Gid"):
                assert set(status_field(pid, name).split()) == {str(HOST_ID)}
            # The supplementary groups that the launcher was started with are gone.
            assert status_field(pid, "Groups") == ""
        for kind in ("uid", "gid"):
            text = Path(f"/proc/{cell.application()}/{kind}_map").read_text()
            assert text.split() == ["1000", str(HOST_ID), "1"]


def test_a_group_of_the_launcher_opens_nothing(open_folder: Path) -> None:
    file = open_folder / "file"
    file.write_text("secret")
    file.chmod(0o040)
    os.chown(file, 0, 27)
    body = f"open({str(file)!r}).read()"
    seen = with_binds(bind(str(open_folder)))
    assert in_cell(body, launch={"extra_groups": [27]}, **seen) == "denied EACCES"
    os.chown(file, 0, HOST_ID)
    assert in_cell(body, **seen) == REACHED


@pytest.mark.parametrize("name", CAPABILITIES)
def test_no_capability_is_left(name: str) -> None:
    for identity in (specification()["identity"], SUPERUSER):
        with launched(specification("sleep", "60", identity=identity)) as cell:
            started(cell)
            assert int(status_field(cell.application(), name), 16) == 0
            assert int(status_field(cell.init(), name), 16) == 0
    kept = specification("sleep", "60", identity=SUPERUSER, protections__drop_capabilities=False)
    with launched(kept) as cell:
        started(cell)
        # Executing a program as user 0 gives all that the bounding set allows.
        expected = name in ("CapPrm", "CapEff", "CapBnd")
        assert (int(status_field(cell.application(), name), 16) != 0) == expected


def test_no_new_privileges() -> None:
    for own in (True, False):
        spec = specification("sleep", "60", protections__no_new_privileges=own)
        with launched(spec) as cell:
            started(cell)
            assert status_field(cell.application(), "NoNewPrivs") == str(int(own))
            # Those that stay have it in any case.
            assert status_field(cell.init(), "NoNewPrivs") == "1"
            assert status_field(cell.pid, "NoNewPrivs") == "1"


@pytest.mark.parametrize(
    ("fences", "effective"),
    [
        ((), 0),
        (("namespaces__user",), HOST_ID),
        (("namespaces__mount",), HOST_ID),
        (("protections__no_new_privileges",), HOST_ID),
    ],
    ids=["none", "user namespace", "nosuid mount", "no_new_privs"],
)
def test_a_set_user_id_program_gives_nothing(
    open_folder: Path, fences: tuple[str, ...], effective: int
) -> None:
    if os.statvfs(open_folder).f_flag & os.ST_NOSUID:
        pytest.skip("/tmp is mounted nosuid: nothing is set-user-id there anyway")
    program = open_folder / "id"
    shutil.copy("/usr/bin/id", program)
    program.chmod(0o4755)
    changes: dict[str, Any] = {
        "namespaces__user": False,
        "namespaces__mount": False,
        "protections__no_new_privileges": False,
        **with_binds(bind(str(open_folder))),
        **dict.fromkeys(fences, True),
    }
    # User 1000 of the cell is HOST_ID of the host, by which name it goes without a map.
    inside = 1000 if "namespaces__user" in fences else effective
    outcome = run(specification(str(program), "-u", **changes))
    assert outcome.output == f"{inside}\n"


@pytest.mark.parametrize("call", ["os.setuid(0)", "os.setgid(0)", "os.setgroups([0])"])
def test_it_cannot_become_anybody_else(call: str) -> None:
    # EINVAL: no id but its own exists in its user namespace. Without one, EPERM.
    assert in_cell(call).startswith("denied E")
    assert in_cell(call, namespaces__user=False) == "denied EPERM"
    own = call.replace("0", "1000")
    if "groups" not in call:
        assert in_cell(own) == REACHED


def test_setgroups_is_off_even_for_user_zero() -> None:
    changes: dict[str, Any] = {"identity": SUPERUSER, "protections__drop_capabilities": False}
    assert in_cell("os.setgroups([])", **changes) == "denied EPERM"
    assert in_cell("os.setuid(0)", **changes) == REACHED


def test_the_host_name_is_its_own() -> None:
    script = "import socket; print(socket.gethostname())"
    assert run_python(script).output == "cell\n"
    assert run_python(script, namespaces__uts=False).output == f"{socket.gethostname()}\n"


KEY = b"cloister-test"
ADD_KEY = 248
KEYCTL = 250
FIND_KEY = f"check(libc.syscall({KEYCTL}, 10, -3, b'user', {KEY!r}, 0))"


def test_keys_of_the_launcher() -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("the numbers of the system calls are those of x86_64")
    libc = ctypes.CDLL(None, use_errno=True)

    def with_key() -> None:
        # KEYCTL_JOIN_SESSION_KEYRING; then a key in it that its possessors may find.
        if (
            libc.syscall(KEYCTL, 1, None) < 0
            or libc.syscall(ADD_KEY, b"user", KEY, b"x", 1, -3) < 0
        ):
            os._exit(99)

    launch = {"preexec_fn": with_key}
    assert in_cell(FIND_KEY, launch=launch) == "denied ENOKEY"
    assert in_cell(FIND_KEY, launch=launch, protections__new_keyring=False) == REACHED


def test_shared_memory_of_the_host() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    key = 0x636C0000 | (os.getpid() & 0xFFFF)
    # IPC_CREAT | 0666.
    identifier = libc.shmget(key, 4096, 0o1666)
    assert identifier >= 0
    try:
        body = f"check(libc.shmget({key}, 4096, 0))"
        assert in_cell(body) == "denied ENOENT"
        assert in_cell(body, namespaces__ipc=False) == REACHED
    finally:
        libc.shmctl(identifier, 0, None)


def test_the_attempts_tell_denial_from_success() -> None:
    assert "reached" in script("pass")
    assert in_cell("raise OSError(errno.EPERM, '')") == "denied EPERM"
    assert in_cell("pass") == REACHED
