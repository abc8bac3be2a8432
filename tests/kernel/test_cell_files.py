"""The host's files, devices and mounts are out of an application's reach."""

import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.support.cell_attempts import REACHED, in_cell, on_host
from tests.support.cell_spec import (
    HOST_ID,
    bind,
    one_id,
    run,
    run_python,
    specification,
    temporary,
    with_binds,
)

pytestmark = pytest.mark.usefixtures("root")

SUPERUSER: dict[str, Any] = {
    "identity": one_id(HOST_ID, uid=0, gid=0),
    "protections__drop_capabilities": False,
}
"""User 0 inside with all capabilities over the cell: what a dropped capability is worth."""

DEVICES = ["fd", "full", "null", "ptmx", "pts", "random", "shm"]
DEVICES += ["stderr", "stdin", "stdout", "tty", "urandom", "zero"]


def read(path: object) -> str:
    return f"open({str(path)!r}).read()"


def test_a_readable_file_of_the_host(open_folder: Path) -> None:
    file = open_folder / "file"
    file.write_text("host")
    assert in_cell(read(file)) == "denied ENOENT"
    assert in_cell(read(file), **with_binds(bind(str(open_folder)))) == REACHED
    assert in_cell(read(file), namespaces__mount=False) == REACHED


def test_shadow_by_its_absence() -> None:
    assert in_cell(read("/etc/shadow")) == "denied ENOENT"
    assert on_host(read("/etc/shadow")) == REACHED


def test_shadow_by_its_mode(open_folder: Path) -> None:
    assert in_cell(read("/etc/shadow"), namespaces__mount=False) == "denied EACCES"
    # The same mode, owned by the cell's user: nothing but the user is the fence here.
    own = open_folder / "shadow"
    own.write_text("secret")
    own.chmod(0o600)
    os.chown(own, HOST_ID, HOST_ID)
    assert in_cell(read(own), namespaces__mount=False) == REACHED


def test_user_zero_inside_is_nobody_outside() -> None:
    outcome = in_cell(read("/etc/shadow"), namespaces__mount=False, **SUPERUSER)
    assert outcome == "denied EACCES"
    assert on_host(read("/etc/shadow")) == REACHED


@pytest.mark.parametrize("name", ["usr", "etc"])
def test_read_only_binds(open_folder: Path, name: str) -> None:
    # Owned by the cell's user: only the read-only mount keeps it from writing.
    folder = open_folder / name
    folder.mkdir()
    os.chown(folder, HOST_ID, HOST_ID)
    body = f"open('{folder}/new', 'w')"
    assert in_cell(body, **with_binds(bind(str(folder)))) == "denied EROFS"
    assert in_cell(body, **with_binds(bind(str(folder), writable=True))) == REACHED
    assert (folder / "new").exists()


def test_read_only_binds_cover_what_is_mounted_below(open_folder: Path) -> None:
    below = open_folder / "below"
    below.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=777", "none", str(below)], check=True)
    try:
        body = f"open('{below}/new', 'w')"
        assert in_cell(body, **with_binds(bind(str(open_folder)))) == "denied EROFS"
        assert in_cell(body, **with_binds(bind(str(open_folder), writable=True))) == REACHED
    finally:
        subprocess.run(["umount", str(below)], check=True)


@pytest.mark.parametrize("place", ["/", "/dev"])
def test_nothing_is_added_to_the_root(place: str) -> None:
    body = f"os.mkdir(os.path.join({place!r}, 'new'))"
    assert in_cell(body) == "denied EROFS"
    # The same user owns the top of /tmp, which is no different but for being writable.
    assert in_cell(body.replace(repr(place), "'/tmp'")) == REACHED


def test_a_bind_without_execution(open_folder: Path) -> None:
    program = open_folder / "program"
    program.write_bytes(Path("/usr/bin/true").read_bytes())
    program.chmod(0o755)
    spawn = f"os.posix_spawn('{program}', ['true'], {{}})"
    assert in_cell(spawn, **with_binds(bind(str(open_folder), executable=False))) == "denied EACCES"
    assert in_cell(spawn, **with_binds(bind(str(open_folder)))) == REACHED


def test_temporary_files_are_its_own(open_folder: Path) -> None:
    # open_folder lies in the host's /tmp.
    body = f"os.stat({str(open_folder)!r})"
    assert in_cell(body) == "denied ENOENT"
    assert in_cell(body, namespaces__mount=False) == REACHED
    writes = "open('/tmp/cloister-left-behind', 'w')"
    assert in_cell(writes) == REACHED
    assert not Path("/tmp/cloister-left-behind").exists()


def test_temporary_files_are_bounded() -> None:
    body = "open('/tmp/large', 'wb').write(bytes(2 * 1024 * 1024))"
    small = [temporary("/tmp")]
    assert in_cell(body, filesystem__temporary=small) == "denied ENOSPC"
    assert in_cell(body) == REACHED
    many = "[open(f'/tmp/{number}', 'w').close() for number in range(1100)]"
    assert in_cell(many, filesystem__temporary=small) == "denied ENOSPC"
    assert in_cell(many) == REACHED


def test_devices_are_those_listed() -> None:
    outcome = run_python("import os; print(*sorted(os.listdir('/dev')))")
    assert outcome.output.split() == DEVICES
    devices = "import os; [open(f'/dev/{name}', 'rb').read(1) for name in ('null', 'urandom')]"
    assert run_python(devices + "; open('/dev/null', 'w').write('x')").status == 0


def test_a_device_file_in_a_bind(open_folder: Path) -> None:
    device = open_folder / "zero"
    os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    device.chmod(0o666)
    body = f"open({str(device)!r}, 'rb').read(1)"
    assert in_cell(body, **with_binds(bind(str(open_folder)))) == "denied EACCES"
    # Without the mount's nodev, which only the host's own mount lacks.
    assert in_cell(body, namespaces__mount=False) == REACHED


def test_no_device_can_be_made() -> None:
    body = "os.mknod('{}', 0o600 | stat.S_IFCHR, os.makedev(1, 1))"
    # All capabilities inside are none over the host's devices: the user namespace denies it.
    assert in_cell(body.format("/tmp/memory"), **SUPERUSER) == "denied EPERM"
    assert in_cell(body.format("/tmp/memory")) == "denied EPERM"
    path = "/tmp/cloister-test-device"
    try:
        assert on_host(body.format(path)) == REACHED
    finally:
        Path(path).unlink()


MOUNTS = {
    "mount": "check(libc.mount(b'none', b'/tmp', b'tmpfs', 0, None))",
    # MS_REMOUNT | MS_BIND: without MS_RDONLY it would become writable.
    "remount": "check(libc.mount(None, b'/usr', None, 32 | 4096, None))",
    "uncover": "check(libc.umount2(b'/tmp', 0))",
    "chroot": "os.chroot('/tmp')",
}


@pytest.mark.parametrize("name", MOUNTS)
def test_mounts_stay_as_they_are(name: str) -> None:
    assert in_cell(MOUNTS[name]) == "denied EPERM"
    assert in_cell(MOUNTS[name], **SUPERUSER) == REACHED


def test_even_root_inside_finds_no_way_out_of_its_root() -> None:
    # chroot(2), "This call does not change the current working directory": the classic way.
    body = "os.mkdir('/tmp/x'); os.chroot('/tmp/x')\nfor _ in range(50): os.chdir('..')\n"
    body += "os.chroot('.'); {}"
    assert in_cell(body.format("os.stat('/etc/shadow')"), **SUPERUSER) == "denied ENOENT"
    # It does get out of the inner root, back to the cell's.
    assert in_cell(body.format("os.stat('/usr/bin')"), **SUPERUSER) == REACHED
    # And no mount of the host is left below or above that.
    outcome = run(specification("cat", "/proc/self/mountinfo"))
    points = [line.split()[4] for line in outcome.output.splitlines()]
    assert len(points) == len(set(points))
    assert not {"/sys", "/run", "/sys/fs/cgroup"} & set(points)


@pytest.mark.parametrize("setting", ["core_pattern", "panic", "hostname"])
def test_settings_of_the_kernel(setting: str) -> None:
    body = f"open('/proc/sys/kernel/{setting}', 'r+')"
    assert in_cell(body) == "denied ENOENT"
    # Where /proc/sys can be seen, the user still cannot write to it.
    assert in_cell(body, namespaces__mount=False, **SUPERUSER) == "denied EACCES"
    assert on_host(body) == REACHED


def test_a_link_leads_nowhere_but_inside(open_folder: Path) -> None:
    # While the root is built, a link in a bind must not choose a place on the host.
    (open_folder / "link").symlink_to("/etc")
    spec = specification(
        "true",
        **with_binds(bind(str(open_folder)), bind("/usr/share", f"{open_folder}/link/made")),
    )
    # Inside, /etc is the cell's own: what is missing is made there.
    own = temporary("/etc", mode=0o755)
    spec["filesystem"]["temporary"].append(own)
    assert run(spec).failure is None
    assert not Path("/etc/made").exists()
    spec["filesystem"]["files"] = [
        {
            "path": f"{open_folder}/link/file",
            "mode": 0o644,
            "content": {"kind": "text", "text": "x"},
        }
    ]
    assert run(spec).failure is None
    assert not Path("/etc/file").exists()


def test_nothing_is_made_on_the_host(open_folder: Path) -> None:
    os.chown(open_folder, HOST_ID, HOST_ID)
    inner = bind("/usr/share", f"{open_folder}/new")
    outcome = run(specification("true", **with_binds(bind(str(open_folder), writable=True), inner)))
    assert outcome.failure is not None
    assert (outcome.failure["step"], outcome.failure["path"]) == (
        "mount-bind",
        inner["destination"],
    )
    assert list(open_folder.iterdir()) == []
