"""Namespaces one by one, maps of several ids, clocks, and the application as process 1."""

import errno
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from tests.support import packages
from tests.support.cell_spec import (
    HOST_ID,
    PROGRAM,
    bind,
    id_range,
    launched,
    one_id,
    python,
    run,
    run_python,
    specification,
    status_field,
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
    "time": "time",
}
SHOW = """
import os
import select
print(os.getpid(), os.getuid(), os.getgid())
for kind in ("user", "mnt", "pid", "ipc", "uts", "cgroup", "net", "time"):
    print(kind, os.readlink(f"/proc/self/ns/{kind}"))
"""
SUPERUSER = {
    "uid": 0,
    "gid": 0,
    "host_uid": HOST_ID,
    "host_gid": HOST_ID,
    "uid_map": [id_range(0, HOST_ID, 1000)],
    "gid_map": [id_range(0, HOST_ID, 1000)],
    "host_root": False,
}
"""As NGINX Unit's announcement of isolation maps: 1000 ids, the application as root inside."""


def of_host(kind: str) -> str:
    return str(Path(f"/proc/self/ns/{kind}").readlink())


def shown(output: str) -> tuple[list[str], dict[str, str]]:
    """Process and ids, and the namespaces by their kinds."""
    first, *rest = output.splitlines()
    return first.split(), dict(line.split() for line in rest)


@pytest.mark.parametrize("name", NAMESPACES)
def test_each_namespace_is_taken_or_left_by_itself(name: str) -> None:
    kind = NAMESPACES[name]
    _, without = shown(run_python(SHOW, **{f"namespaces__{name}": False}).output)
    assert {key for key, value in without.items() if value == of_host(key)} == {kind}
    # The other way round, root may make each alone.
    only = {f"namespaces__{other}": other == name for other in NAMESPACES}
    _, alone = shown(run_python(SHOW, **only).output)
    assert {key for key, value in alone.items() if value != of_host(key)} == {kind}


def test_as_nginx_units_announcement_shows_it() -> None:
    changes: dict[str, Any] = {
        "identity": SUPERUSER,
        "init": False,
        "namespaces__ipc": False,
        "namespaces__time": False,
    }
    ids, inside = shown(run_python(SHOW, **changes).output)
    assert ids == ["1", "0", "0"]
    assert {key for key, value in inside.items() if value == of_host(key)} == {"ipc", "time"}
    with launched(specification("sleep", "60", **changes)) as cell:
        assert cell.failure() is None
        application = cell.init()
        assert set(status_field(application, "Uid").split()) == {str(HOST_ID)}
        assert Path(f"/proc/{application}/comm").read_text() == "sleep\n"
        assert status_field(application, "NSpid").split()[-1] == "1"
        devices = Path(f"/proc/{application}/net/dev").read_text().splitlines()[2:]
        assert [line.split(":")[0].strip() for line in devices] == ["lo"]


def test_the_application_as_process_1_gets_signals_and_ends_as_it_ends() -> None:
    script = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(7)); "
    script += "print('ready', flush=True); time.sleep(60)"
    spec = specification(*python(script), init=False)
    with launched(spec) as cell:
        assert cell.failure() is None
        assert cell.process.stdout is not None
        assert cell.process.stdout.readline() == b"ready\n"
        cell.process.send_signal(signal.SIGTERM)
        assert cell.process.wait(20) == 7
    # Nothing outlives the launcher.
    with launched(specification("sleep", "60", init=False)) as cell:
        assert cell.failure() is None
        application = cell.init()
        cell.process.kill()
        cell.process.wait(20)
        descriptor = None
        try:
            descriptor = os.pidfd_open(application)
        except ProcessLookupError:
            return
        assert select.select([descriptor], [], [], 20)[0]
        os.close(descriptor)


def test_every_mapped_id_is_there_and_no_other(open_folder: Path) -> None:
    for number in (HOST_ID, HOST_ID + 7, HOST_ID + 999, HOST_ID + 1000, HOST_ID + 5000):
        file = open_folder / str(number)
        file.touch()
        os.chown(file, number, number)
    maps = [id_range(0, HOST_ID, 1000), id_range(70_000, HOST_ID + 5000)]
    identity = SUPERUSER | {"uid_map": maps, "gid_map": maps}
    spec = specification("sh", "-c", f"stat -c %n:%u:%g {open_folder}/*", identity=identity)
    spec["filesystem"]["binds"].append(bind(str(open_folder)))
    found = {
        int(Path(name).name): (int(uid), int(gid))
        for name, uid, gid in (line.split(":") for line in run(spec).output.split())
    }
    assert found == {
        HOST_ID: (0, 0),
        HOST_ID + 7: (7, 7),
        HOST_ID + 999: (999, 999),
        HOST_ID + 1000: (65534, 65534),
        HOST_ID + 5000: (70_000, 70_000),
    }


def test_the_most_ranges_that_the_kernel_takes() -> None:
    maps = [id_range(2 * n, 3000 + 3 * n) for n in range(340)]
    identity = one_id(3000, uid=0, gid=0) | {"uid_map": maps, "gid_map": maps}
    outcome = run_python("print(len(open('/proc/self/uid_map').readlines()))", identity=identity)
    assert outcome.output == "340\n", outcome.failure
    # It reads less than a page at once.
    long = [id_range(2 * n, 1_000_000_000 + 3 * n) for n in range(340)]
    identity["uid_map"] = [id_range(5000, 3000), *long[:200]]
    identity |= {"uid": 5000}
    assert run_python("", identity=identity).failure is None
    identity["uid_map"] = [id_range(5000, 3000), *long[:300]]
    refused = run_python("", identity=identity).failure
    assert refused is not None
    assert "identity.uid_map is too long" in refused["description"]


def test_host_root_only_where_the_specification_says_so(open_folder: Path) -> None:
    secret = open_folder / "secret"
    secret.write_text("root's")
    secret.chmod(0o600)
    identity = one_id(0, uid=0, gid=0)
    body = f"print(open({str(secret)!r}).read())"
    outcome = run_python(body, identity=identity, namespaces__mount=False)
    assert outcome.failure is not None
    assert outcome.failure["step"] == "check-spec"
    assert "host_root" in outcome.failure["description"]
    allowed = identity | {"host_root": True}
    assert run_python(body, identity=allowed, namespaces__mount=False).output == "root's\n"


CLOCKS = "import time; print(time.clock_gettime_ns(time.{}))"


@pytest.mark.parametrize(
    ("clock", "field"), [("CLOCK_MONOTONIC", "monotonic_ns"), ("CLOCK_BOOTTIME", "boottime_ns")]
)
@pytest.mark.parametrize("user", [True, False])
def test_clocks_are_ahead_by_what_was_asked(clock: str, field: str, user: bool) -> None:
    day = 86_400 * 10**9
    number = getattr(time, clock)
    for ahead in (0, day + 500_000_000):
        before = time.clock_gettime_ns(number)
        changes = {f"clocks__{field}": ahead, "namespaces__user": user}
        inside = int(run_python(CLOCKS.format(clock), **changes).output)
        assert before <= inside - ahead <= time.clock_gettime_ns(number)


def test_a_clock_cannot_show_less_than_nothing() -> None:
    outcome = run_python("", clocks__monotonic_ns=-(10**18))
    assert outcome.failure is not None
    assert (outcome.failure["step"], outcome.failure["errno"]) == ("own-clocks", errno.ERANGE)
    assert "less than 0" in outcome.failure["hint"]


def test_an_ordinary_user_maps_what_etc_subuid_gives(
    open_folder: Path,
) -> None:
    packages.need("uidmap")
    user, first = HOST_ID + 200, 1_700_000_000
    program = open_folder / "cloister-cell"
    shutil.copy(PROGRAM, program)
    identity = {
        "uid": 0,
        "gid": 0,
        "host_uid": user,
        "host_gid": user,
        "uid_map": [id_range(0, user), id_range(1, first, 1000)],
        "gid_map": [id_range(0, user), id_range(1, first, 1000)],
        "host_root": False,
    }
    script = "print(open('/proc/self/uid_map').read(), open('/proc/self/gid_map').read())"
    spec = specification(*python(script), identity=identity)
    as_user = {
        "program": str(program),
        "user": user,
        "group": user,
        "extra_groups": [],
        "cwd": "/",
    }
    outcome = run(spec, **as_user)
    assert outcome.failure is not None
    assert (outcome.failure["step"], outcome.failure["errno"]) == ("map-identity", errno.EPERM)
    assert "/etc/subuid" in outcome.failure["hint"]
    name = "cloister-subids"
    subprocess.run(["groupadd", "-g", str(user), name], check=True)
    subprocess.run(["useradd", "-u", str(user), "-g", str(user), "-M", name], check=True)
    try:
        for option in ("--add-subuids", "--add-subgids"):
            given = f"{first}-{first + 999}"
            subprocess.run(["usermod", option, given, name], check=True)
        outcome = run(spec, **as_user)
        assert outcome.failure is None, outcome.failure
        assert outcome.output.split() == 2 * ["0", str(user), "1", "1", str(first), "1000"]
    finally:
        subprocess.run(["userdel", name], check=True)
