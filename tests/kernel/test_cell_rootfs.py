"""A folder of the host as the root of a cell: what is seen, written, covered, and what a hostile
owner of the folder does not get."""

import errno
import os
import stat
from pathlib import Path

import pytest
from tests.support.cell_rootfs import STRANGER, lines, listing, rootfs, swapped, tree
from tests.support.cell_spec import (
    HOST_ID,
    bind,
    id_range,
    one_id,
    run,
    specification,
    temporary,
)

pytestmark = pytest.mark.usefixtures("root")


def test_the_folder_is_the_root_and_the_hosts_is_gone(image: Path) -> None:
    before = listing(image)
    one_line = "busybox sort | busybox tr '\\n' ' '"
    outcome = run(
        rootfs(
            image,
            "cat /etc/release /lib/link",
            f"ls / | {one_line}",
            "echo; ls /usr /home 2>&1 | busybox wc -l",
            "stat -c %u /etc/release",
            "test -e /../../../etc/passwd || echo no way up",
            f"cut -d ' ' -f 5 /proc/self/mountinfo | grep -v ^/dev | {one_line}",
        )
    )
    # /dev, /proc and /tmp have no place in the image: they are made in memory.
    assert lines(outcome) == [
        "image",
        "image",
        "bin data dev etc lib proc tmp ",
        "2",
        "65534",
        "no way up",
        "/ /bin /data /etc /proc /tmp ",
    ]
    assert listing(image) == before


def test_read_only_unless_it_is_asked_for(image: Path) -> None:
    os.chown(image / "data", HOST_ID, HOST_ID)
    script = ("echo x > /data/new && echo written", "echo y > /new || :")
    assert lines(run(rootfs(image, *script))) == []
    assert not (image / "data" / "new").exists()
    assert lines(run(rootfs(image, *script, writable=True))) == ["written"]
    assert (image / "data" / "new").stat().st_uid == HOST_ID
    assert not (image / "new").exists()


def test_neither_devices_nor_set_user_id_programs_count(image: Path) -> None:
    os.mknod(image / "data" / "zero", 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    # The node itself may be read on the host; in the cell its mount forbids it.
    with (image / "data" / "zero").open("rb") as device:
        assert device.read(1) == b"\0"
    outcome = run(rootfs(image, "head -c 1 /data/zero 2>&1 | busybox grep -c denied"))
    assert lines(outcome) == ["1"]
    outcome = run(
        rootfs(image, "grep ' / ' /proc/self/mountinfo || grep ' /data ' /proc/self/mountinfo")
    )
    assert "nosuid" in outcome.output
    assert "nodev" in outcome.output


def test_deep_places_are_made_in_memory_beside_what_is_there(image: Path, tmp_path: Path) -> None:
    (image / "etc" / "deep" / "er").mkdir(parents=True)
    (image / "etc" / "deep" / "er" / "file").write_text("old\n")
    before = listing(image)
    shown = image.parent / "shown"
    shown.mkdir()
    (shown / "file").write_text("shown\n")
    spec = rootfs(
        image,
        "cat /etc/deep/er/new/place/file /etc/deep/er/file /etc/release",
        "readlink /etc/link",
        "for f in /x /etc/x /etc/deep/er/x /etc/deep/er/new/x; do echo x > $f || :; done",
        filesystem__binds=[bind(str(shown), "/etc/deep/er/new/place")],
    )
    assert lines(run(spec)) == ["shown", "old", "image", "release"]
    assert listing(image) == before
    # Nothing but the copies is sealed.
    spec["filesystem"]["temporary"].append(temporary("/etc/deep/cache"))
    spec["command"][-1] = "echo x > /etc/deep/cache/x && cat /etc/deep/cache/x"
    assert lines(run(spec)) == ["x"]


def test_every_kind_of_entry_is_in_the_copy(image: Path) -> None:
    os.mkfifo(image / "fifo")
    (image / "dangling").symlink_to("/no/where")
    (image / "loop").symlink_to("loop")
    (image / "closed").mkdir(mode=0o700)
    (image / "closed-file").write_text("secret")
    (image / "closed-file").chmod(0o600)
    outcome = run(
        rootfs(
            image,
            "ls / | busybox tr '\\n' ' '; echo",
            "test -p /fifo && readlink /dangling && readlink /loop",
            "cat /closed-file 2>&1 | busybox grep -c denied",
            "ls /closed 2>&1 | busybox grep -c denied",
        )
    )
    assert lines(outcome) == [
        "bin closed closed-file dangling data dev etc fifo lib loop proc tmp ",
        "/no/where",
        "loop",
        "1",
        "1",
    ]


def test_a_folder_that_cannot_be_listed_has_no_copy(image: Path) -> None:
    (image / "dark").mkdir(mode=0o711)
    outcome = run(rootfs(image, ":", filesystem__binds=[bind("/usr", "/dark/new")]))
    assert outcome.failure is not None
    assert (outcome.failure["step"], outcome.failure["errno"]) == ("mount-bind", errno.EACCES)
    assert outcome.failure["path"] == "/dark"
    assert "modes" in outcome.failure["hint"]


@pytest.mark.parametrize(
    ("source", "number"),
    [("missing", errno.ENOENT), ("etc/release", errno.ENOTDIR), ("etc/release/x", errno.ENOTDIR)],
)
def test_what_is_no_folder_is_no_root(image: Path, source: str, number: int) -> None:
    outcome = run(rootfs(image / source, ":"))
    assert outcome.failure is not None
    assert outcome.failure["errno"] == number
    assert outcome.failure["hint"]


# A hostile owner of the folder.


@pytest.mark.parametrize(
    "target",
    [
        "/etc/cloister-canary",
        "../../../../../../etc/cloister-canary",
        "/proc/self/root/etc/cloister-canary",
        "/proc/1/root/etc/cloister-canary",
        "/dev/fd/../../etc/cloister-canary",
    ],
)
def test_links_lead_nowhere_but_into_the_root(hostile: Path, canary: Path, target: str) -> None:
    mounts = Path("/proc/self/mountinfo").read_text()
    for name in ("tmp", "dev", "run"):
        (hostile / name).symlink_to(target)
    secret = {
        "path": "/run/secret",
        "mode": 0o400,
        "content": {"kind": "text", "text": "secret"},
    }
    spec = rootfs(
        hostile,
        ":",
        filesystem__binds=[bind("/usr/share", "/run/bound")],
        filesystem__files=[secret],
    )
    outcome = run(spec)
    # Inside they lead to nothing: where a link points to nothing is made.
    assert outcome.failure is not None
    assert outcome.failure["errno"] in (errno.EEXIST, errno.ENOENT, errno.ELOOP)
    assert "a link that leads nowhere" in outcome.failure["hint"]
    assert list(canary.iterdir()) == []
    assert Path("/proc/self/mountinfo").read_text() == mounts


def test_a_link_inside_the_root_is_followed_inside(hostile: Path, canary: Path) -> None:
    inside = hostile / "etc" / "cloister-canary"
    inside.mkdir()
    (hostile / "tmp").symlink_to("/etc/cloister-canary")
    outcome = run(rootfs(hostile, "echo x > /tmp/x", "ls /etc/cloister-canary"))
    assert lines(outcome) == ["x"]
    assert list(inside.iterdir()) == []


@pytest.mark.parametrize("kind", ["fifo", "socket", "device", "file", "loop"])
def test_the_place_for_a_mount_is_of_another_kind(hostile: Path, kind: str) -> None:
    place = hostile / "tmp"
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "socket":
        os.mknod(place, 0o666 | stat.S_IFSOCK)
    elif kind == "device":
        os.mknod(place, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    elif kind == "file":
        place.touch()
    else:
        place.symlink_to("tmp")
    outcome = run(rootfs(hostile, ":"))
    assert outcome.failure is not None
    assert outcome.failure["step"] == "mount-temporary"
    assert outcome.failure["errno"] in (errno.ENOTDIR, errno.ELOOP)
    assert outcome.failure["path"] == "/tmp"
    assert "another kind" in outcome.failure["hint"]


def test_a_file_is_bound_onto_a_fifo_without_waiting_for_it(hostile: Path) -> None:
    os.mkfifo(hostile / "etc" / "fifo")
    spec = rootfs(hostile, "cat /etc/fifo", filesystem__binds=[bind("/etc/hostname", "/etc/fifo")])
    assert lines(run(spec)) == [Path("/etc/hostname").read_text().strip()]


def test_a_place_that_is_exchanged_for_a_link_all_the_time(hostile: Path, canary: Path) -> None:
    place = hostile / "run"
    place.mkdir()
    evil, upward = hostile / "evil", hostile / "upward"
    evil.symlink_to("/etc/cloister-canary")
    upward.symlink_to("../" * 20 + "etc/cloister-canary")
    secret = {
        "path": "/run/credentials/key",
        "mode": 0o400,
        "content": {"kind": "text", "text": "secret"},
    }
    spec = rootfs(
        hostile,
        "cat /run/credentials/key || :",
        writable=True,
        filesystem__temporary=[temporary("/run"), temporary("/tmp")],
        filesystem__binds=[bind("/usr/share", "/run/x/y")],
        filesystem__files=[secret],
    )
    mounts = Path("/proc/self/mountinfo").read_text()
    outcomes = []
    with swapped(place, [evil, upward]):
        for _ in range(60):
            outcomes.append(run(spec))
            assert list(canary.iterdir()) == []
            # The secret never lies in a folder of the host's.
            assert not [path for path in tree(hostile) if path.name in ("credentials", "key")]
    assert Path("/proc/self/mountinfo").read_text() == mounts
    for outcome in outcomes:
        assert outcome.failure is None or outcome.failure["errno"] in (
            errno.EAGAIN,  # a rename raced with the walk (openat2(2))
            errno.ENOENT,
            errno.ELOOP,
            errno.ENOTDIR,
            errno.EACCES,
            errno.EEXIST,
            errno.EROFS,
        )


# Owners on the disk and in the cell.


def owner_of(path: Path) -> int:
    return path.stat().st_uid


def test_files_of_the_images_root_are_the_cells_roots(image: Path) -> None:
    (image / "etc" / "shadow").write_text("hashes")
    (image / "etc" / "shadow").chmod(0o600)
    maps = {"uid_map": [id_range(0, HOST_ID, 10)], "gid_map": [id_range(0, HOST_ID, 10)]}
    superuser = one_id(HOST_ID, uid=0, gid=0) | maps
    owners = {"users": maps["uid_map"], "groups": maps["gid_map"]}
    script = ("stat -c %u:%g /etc/shadow", "cat /etc/shadow && echo", "touch /data/new || :")
    assert lines(run(rootfs(image, *script, identity=superuser))) == ["65534:65534"]
    mapped = rootfs(image, *script, identity=superuser, owners=owners)
    assert lines(run(mapped)) == ["0:0", "hashes"]
    # Written through the map it is root's on the disk.
    mapped["filesystem"]["root"]["writable"] = True
    run(mapped)
    assert owner_of(image / "data" / "new") == 0


def test_a_bind_of_another_users_files_is_the_applications(open_folder: Path) -> None:
    data = open_folder / "data"
    data.mkdir(mode=0o700)
    (data / "private").write_text("theirs\n")
    (data / "private").chmod(0o600)
    for path in (data, data / "private"):
        os.chown(path, STRANGER, STRANGER + 1)
    script = "cat /data/private; stat -c %u:%g /data/private; touch /data/new"
    command = ["sh", "-c", script]
    plain = bind(str(data), "/data", writable=True)
    spec = specification(*command)
    spec["filesystem"]["binds"].append(plain)
    assert run(spec).output == ""
    plain["owners"] = {
        "users": [id_range(STRANGER, HOST_ID)],
        "groups": [id_range(STRANGER + 1, HOST_ID)],
    }
    assert run(spec).output.split() == ["theirs", "1000:1000"]
    found = (data / "new").stat()
    assert (found.st_uid, found.st_gid) == (STRANGER, STRANGER + 1)
    # Somebody else's file stays somebody else's.
    (data / "other").write_text("root's\n")
    (data / "other").chmod(0o600)
    spec["command"][-1] = "cat /data/other"
    assert run(spec).output == ""


def test_a_file_system_that_cannot_map_owners_says_so() -> None:
    owners = {"users": [id_range(0, HOST_ID)], "groups": [id_range(0, HOST_ID)]}
    spec = specification("true")
    spec["filesystem"]["binds"].append(bind("/proc/sys", "/x", owners=owners))
    outcome = run(spec)
    assert outcome.failure is not None
    assert (outcome.failure["step"], outcome.failure["errno"]) == ("open-source", errno.EINVAL)
    assert "id-mapped" in outcome.failure["hint"]


def test_memory_without_execution(open_folder: Path) -> None:
    spec = specification("sh", "-c", "cp /usr/bin/true /x/true && /x/true && echo ran")
    spec["filesystem"]["temporary"].append(temporary("/x"))
    assert run(spec).output == "ran\n"
    spec["filesystem"]["temporary"][-1]["executable"] = False
    outcome = run(spec)
    assert (outcome.output, outcome.status) == ("", 126)
