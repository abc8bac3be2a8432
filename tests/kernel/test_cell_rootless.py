"""Cells that an ordinary user makes, without any privilege."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.support import default_cell
from tests.support.cell_attempts import script
from tests.support.cell_spec import (
    HOST_ID,
    PROGRAM,
    PYTHON,
    Outcome,
    bind,
    launched,
    one_id,
    python,
    run,
    specification,
    status_field,
    sysctl,
)
from tests.support.ordinary_user import need_user_namespaces

USER = HOST_ID + 2
GROUP = HOST_ID + 3

pytestmark = pytest.mark.usefixtures("root")


@pytest.fixture
def as_user(open_folder: Path) -> dict[str, Any]:
    """How to launch a cell as an ordinary user, who can reach the program."""
    need_user_namespaces()
    program = open_folder / "cloister-cell"
    shutil.copy(PROGRAM, program)
    return {
        "program": str(program),
        "user": USER,
        "group": GROUP,
        "extra_groups": [HOST_ID + 4],
        "cwd": "/",
    }


def rootless(*command: str, **changes: Any) -> dict[str, Any]:
    identity = one_id(USER, GROUP)
    return specification(*command, **{"identity": identity, **changes})


def attempt(as_user: dict[str, Any], body: str, **changes: Any) -> str:
    if PYTHON != "/usr/bin/python3":
        pytest.skip("needs /usr/bin/python3, which every user can reach")
    outcome: Outcome = run(rootless(*python(script(body)), **changes), **as_user)
    assert outcome.failure is None, outcome.failure
    return outcome.output.strip()


def test_a_default_cell(as_user: dict[str, Any]) -> None:
    outcome = run(rootless("id"), **as_user)
    assert outcome.failure is None
    assert outcome.status == 0
    assert outcome.output.startswith("uid=1000 gid=1000")


def test_the_fences_of_a_configured_cell(as_user: dict[str, Any]) -> None:
    made = default_cell.specification(
        "/usr/bin/grep", "-E", "^(Seccomp|CapBnd):", "/proc/self/status"
    )
    made["identity"] = one_id(USER, GROUP)
    outcome = run(made, **as_user)
    assert outcome.failure is None
    assert outcome.output == "CapBnd:\t0000000000000000\nSeccomp:\t2\n"
    assert all(fence["active"] for fence in outcome.fences.values()), outcome.fences


def test_ids_and_capabilities(as_user: dict[str, Any]) -> None:
    with launched(rootless("sleep", "60"), **as_user) as cell:
        assert cell.failure() is None
        for pid in (cell.pid, cell.init(), cell.application()):
            assert set(status_field(pid, "Uid").split()) == {str(USER)}
            assert set(status_field(pid, "Gid").split()) == {str(GROUP)}
            assert int(status_field(pid, "CapEff"), 16) == 0
            assert status_field(pid, "NoNewPrivs") == "1"
        assert int(status_field(cell.application(), "CapBnd"), 16) == 0


def test_the_same_fences_stand(as_user: dict[str, Any], open_folder: Path) -> None:
    file = open_folder / "file"
    file.write_text("host")
    for body, change in (
        (f"open('{file}').read()", "namespaces__mount"),
        (f"os.kill({os.getpid()}, 0)", "namespaces__pid"),
    ):
        assert attempt(as_user, body) in ("denied ENOENT", "denied ESRCH")
        reached = attempt(as_user, body, **{change: False})
        # Of another user's process one learns that it is there.
        assert reached in ("reached", "denied EPERM")
    assert attempt(as_user, "os.mkdir('/new')") == "denied EROFS"
    assert attempt(as_user, "os.mkdir('/tmp/new')") == "reached"


def test_init_cannot_be_looked_at(as_user: dict[str, Any]) -> None:
    # Here launcher, init and application have been one user from the start.
    assert attempt(as_user, "open('/proc/1/mem', 'rb')") == "denied ENOENT"
    assert attempt(as_user, "check(libc.ptrace(16, 1, None, None))") == "denied EPERM"
    visible = "open(f'/proc/{os.getppid()}/mem', 'rb')"
    assert attempt(as_user, visible, namespaces__pid=False) == "denied EACCES"


def test_other_ids_are_refused_with_the_reason(as_user: dict[str, Any]) -> None:
    identity = one_id(HOST_ID, GROUP)
    outcome = run(rootless("true", identity=identity), **as_user)
    assert outcome.status == 125
    assert outcome.failure is not None
    assert outcome.failure["step"] == "map-identity"
    assert outcome.failure["errno"] == errno.EPERM
    # Where newuidmap(1) is installed it is asked, and says no in its own words.
    hint = outcome.failure["hint"]
    assert f"{USER} and {GROUP}" in hint or "/etc/subuid" in hint


def test_namespaces_without_a_user_namespace(as_user: dict[str, Any]) -> None:
    outcome = run(rootless("true", namespaces__user=False), **as_user)
    assert outcome.failure is not None
    assert outcome.failure["step"] == "create-namespaces"
    assert "only root" in outcome.failure["hint"]


def test_without_any_namespace(as_user: dict[str, Any]) -> None:
    """As NGINX Unit runs applications by default: the user's rights, and what fences them in."""
    kinds = ("user", "mount", "pid", "ipc", "uts", "cgroup", "network", "time")
    made = rootless(
        "/usr/bin/grep",
        "-E",
        "^(Cap(Inh|Prm|Eff|Amb)|NoNewPrivs|Uid):",
        "/proc/self/status",
        **{f"namespaces__{kind}": False for kind in kinds},
        identity={**one_id(USER, GROUP), "uid": USER, "gid": GROUP, "uid_map": [], "gid_map": []},
    )
    made["filesystem"] = {
        "root": None,
        "binds": [],
        "temporary": [],
        "files": [],
        "links": [],
        "proc": False,
        "dev": False,
    }
    outcome = run(made, **as_user)
    assert outcome.failure is None, outcome.failure
    told = dict(line.split(":\t") for line in outcome.output.splitlines())
    assert told.pop("Uid").split() == [str(USER)] * 4
    assert told.pop("NoNewPrivs") == "1"
    assert {int(mask, 16) for mask in told.values()} == {0}
    assert "bounding" in outcome.fences["capabilities"]["detail"]
    # Where new privileges can be gained, an incomplete drop is an error.
    made["protections"]["no_new_privileges"] = False
    made["fences"]["system_calls"] = None
    outcome = run(made, **as_user)
    assert outcome.failure is not None
    assert outcome.failure["errno"] == errno.EPERM


def test_user_namespaces_that_are_switched_off(as_user: dict[str, Any]) -> None:
    with sysctl("user/max_user_namespaces", "0"):
        outcome = run(rootless("true"), **as_user)
    assert outcome.failure is not None
    assert outcome.failure["step"] == "create-namespaces"
    assert "max_user_namespaces" in outcome.failure["hint"]


def test_a_source_out_of_reach(as_user: dict[str, Any], open_folder: Path) -> None:
    closed = open_folder / "closed"
    (closed / "inner").mkdir(parents=True)
    closed.chmod(0o700)
    spec = rootless("true")
    spec["filesystem"]["binds"].append(bind(f"{closed}/inner", "/inner"))
    outcome = run(spec, **as_user)
    assert outcome.failure is not None
    assert (outcome.failure["step"], outcome.failure["errno"]) == ("open-source", errno.EACCES)
    # Root's launcher opens it with its own privileges.
    identity = one_id(USER, GROUP)
    assert run(json.loads(json.dumps({**spec, "identity": identity}))).failure is None
