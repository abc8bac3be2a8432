"""What applications of NGINX Unit's configurations leave on the host and are on it: their output
files, root, and a supervisor of an ordinary user."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.open_python import open_python
from tests.support.ordinary_user import need_user_namespaces
from tests.support.unit_up import UnitUp, free_port, get
from tests.support.up import have_ended, open_folder
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("as_root")

USER = 54_400
"""An ordinary user, whom nothing else belongs to."""
FIRST = {"listeners": {}, "applications": {}}
WEB = """
import json, os, sys
def application(environ, start_response):
    print("said of", environ["PATH_INFO"])
    print("complained of", environ["PATH_INFO"], file=sys.stderr)
    with open("/proc/self/status") as file:
        status = dict(line.strip().split(":", 1) for line in file)
    told = {"uid": os.getuid(), "gid": os.getgid(), "pid": os.getpid(),
            "capabilities": status["CapEff"].strip(), "network": os.readlink("/proc/self/ns/net")}
    start_response("200 OK", [])
    return [json.dumps(told).encode()]
"""


@pytest.fixture
def up() -> Iterator[UnitUp]:
    with open_folder() as folder:
        made = UnitUp(folder)
        made.python = open_python(folder)
        code = folder / "code"
        code.mkdir()
        (code / "web.py").write_text(WEB)
        try:
            yield made
        finally:
            print(made.log_path.read_text()[-3000:])
            made.close()


def application(up: UnitUp, **more: Any) -> dict[str, Any]:
    return {"type": "python 3", "path": f"{up.folder}/code", "module": "web", **more}


def ask(port: int, path: str = "/") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(get(port, path))
    return found


def test_output_goes_to_files_that_may_be_rotated_and_never_through_a_tenants_link(
    up: UnitUp,
) -> None:
    up.start_unit(FIRST)
    port, logs = free_port(), up.folder / "tenant"
    logs.mkdir()
    os.chown(logs, 65534, 65534)
    files = {"stdout": f"{logs}/out", "stderr": f"{logs}/errors"}
    refused = up.configure("PUT", "/config/applications/web", application(up, stdout="/none/out"))
    assert "/none is not there" in refused["detail"]
    up.put("/config/applications/web", application(up, **files))
    up.put(f"/config/listeners/*:{port}", {"pass": "applications/web"})

    def written(name: str, text: str) -> None:
        def there() -> bool:
            path = logs / name
            return path.exists() and text in path.read_text().splitlines()

        wait_until(there, what=f"{text!r} in {name}", seconds=60)

    ask(port, "/first")
    written("out", "said of /first")
    written("errors", "complained of /first")
    assert "complained" not in (logs / "out").read_text()
    assert (logs / "out").stat().st_uid == 0
    (logs / "out").rename(logs / "out.1")
    ask(port, "/second")
    written("out", "said of /second")
    # The tenant, whose folder it is, has root write somewhere else: nothing is written there.
    victim = up.folder / "victim"
    victim.touch()
    (logs / "out").unlink()
    (logs / "out").symlink_to(victim)
    ask(port, "/third")
    wait_until(
        lambda: any("cannot write to" in line for line in up.said("web")),
        what="a warning of the link",
        seconds=60,
    )
    written("errors", "complained of /third")
    # The log has everything, whatever becomes of the files.
    wait_until(lambda: "said of /third" in up.said("web"), what="the line in the log", seconds=60)
    assert victim.read_text() == ""
    (logs / "out").unlink()
    ask(port, "/fourth")
    written("out", "said of /fourth")


def test_root_of_the_host_only_by_a_sentence_that_names_the_application(up: UnitUp) -> None:
    up.start_unit(FIRST)
    port = free_port()
    path = "/config/applications/web"
    up.put(path, application(up))
    up.put(f"/config/listeners/*:{port}", {"pass": "applications/web"})
    # Unit's default user, though the supervisor is root.
    assert ask(port)["uid"] == 65534
    for isolation in ({}, {"allow_host_root": "other-is-root-on-the-host"}):
        refused = up.configure("PUT", path, application(up, user="root", isolation=isolation))
        assert "would be the host's root user" in refused["detail"], refused
        assert refused["problems"][0]["code"] == "host-root"
    assert up.configure("PUT", path, application(up, user="root", isolation={"allow_host_root": 1}))
    assert ask(port)["uid"] == 65534
    word = {"allow_host_root": "web-is-root-on-the-host"}
    up.put(path, application(up, user="root", isolation=word))

    def is_root() -> bool:
        found = ask(port)
        return (found["uid"], found["gid"]) == (0, 0)

    wait_until(is_root, what="the application as root", seconds=60)
    # Root by number only.
    assert int(ask(port)["capabilities"], 16) == 0


def test_a_control_group_of_the_operators(up: UnitUp) -> None:
    up.start_unit(FIRST)
    port, ours = free_port(), f"/operator-{os.getpid()}/web"
    path = "/config/applications/web"
    refused = up.configure("PUT", path, application(up, isolation={"cgroup": {"path": "../web"}}))
    assert "cannot be a control group" in refused["detail"]
    up.put(path, application(up, isolation={"cgroup": {"path": ours}}))
    up.put(f"/config/listeners/*:{port}", {"pass": "applications/web"})
    pid = ask(port)["pid"]  # no namespace of its own: the host's number

    def groups(number: int) -> str:
        return Path(f"/proc/{number}/cgroup").read_text()

    assert re.search(rf":{ours}/cloister-[0-9a-f]+-web", groups(pid)), groups(pid)
    # Elsewhere from now on: the next process is.
    assert up.configure("DELETE", f"{path}/isolation") == {"success": "Reconfiguration done."}
    wait_until(lambda: ours not in groups(ask(port)["pid"]), what="the move", seconds=60)
    assert up.stop() == 0
    left = Path("/sys/fs/cgroup").glob(f"**{ours.rpartition('/')[0]}")
    assert list(left) == []


def test_a_supervisor_of_an_ordinary_user(up: UnitUp) -> None:
    need_user_namespaces()
    up.user = USER
    home = up.folder / "home"
    home.mkdir()
    for place in (up.folder, home):
        os.chown(place, USER, USER)
    up.start_unit(FIRST)
    port = free_port()
    path = "/config/applications/web"
    up.put(path, application(up))
    up.put(f"/config/listeners/127.0.0.1:{port}", {"pass": "applications/web"})
    # Unit's defaults: nothing is new, and everything runs as the user.
    own = ask(port)
    assert (own["uid"], own["gid"]) == (USER, USER)
    # What cannot be had is said.
    refused = up.configure("PUT", f"{path}/user", '"nobody"')
    assert re.search(f"only root can change it; the supervisor's is {USER}", refused["detail"])
    # A user namespace has everything else come with it: id 0 inside, a network of its own.
    namespaces = {"credential": True, "mount": True, "network": True, "pid": True, "uname": True}
    up.put(f"{path}/isolation", {"namespaces": namespaces})

    def apart() -> bool:
        found = ask(port)
        return found["uid"] == 0 and found["pid"] == 1 and found["network"] != own["network"]

    wait_until(apart, what="the application in namespaces of its own", seconds=60)
    # Both have answered until then, on one socket.
    before = Path(f"/proc/{own['pid']}")
    wait_until(lambda: not before.exists(), what="the end of the one before", seconds=60)
    maps = [{"container": 0, "host": 100_000, "size": 10}]
    refused = up.configure("PUT", f"{path}/isolation/uidmap", maps)
    assert "`uidmap` has the user" in refused["detail"], refused
    limits = {limit.name: limit for limit in up.app("web").resources.limits}  # type: ignore[union-attr]
    assert all(limit.in_force or limit.detail for limit in limits.values())
    assert ask(port)["uid"] == 0
    family = up.family()
    assert up.stop() == 0
    wait_until(lambda: have_ended(family), what="the end of all", seconds=60)
    shutil.rmtree(up.runtime, ignore_errors=True)
