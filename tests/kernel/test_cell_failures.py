"""What is refused, and what is said when something fails."""

import errno
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.support.cell_spec import (
    HOST_ID,
    PROGRAM,
    bind,
    one_id,
    run,
    specification,
    sysctl,
    with_binds,
)

pytestmark = pytest.mark.usefixtures("root")


def refused(**changes: Any) -> str:
    """Why the specification with these changes is refused."""
    outcome = run(specification("true", **changes))
    assert outcome.status == 125
    assert outcome.failure is not None
    assert outcome.failure["step"] == "check-spec"
    assert outcome.failure["errno"] == errno.EINVAL
    return str(outcome.failure["description"])


@pytest.mark.parametrize("field", ["host_uid", "host_gid"])
@pytest.mark.parametrize("user_namespace", [True, False])
def test_host_root_is_refused(field: str, user_namespace: bool) -> None:
    changes = {f"identity__{field}": 0, "namespaces__user": user_namespace}
    assert f"identity.{field} is 0" in refused(**changes)
    assert f"identity.{field} is 4294967295" in refused(**{f"identity__{field}": 2**32 - 1})


def test_everything_wrong_is_said_at_once() -> None:
    why = refused(command=[], hostname="", working_directory="relative")
    assert why.count(";") == 2


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "EOF"),
        (b"{}", "missing field"),
        (b"[" * 200_000, "invalid type"),
        (json.dumps({**specification("true"), "new": 1}).encode(), "unknown field `new`"),
        (b" " * (4 * 1024 * 1024 + 1), "larger than"),
    ],
)
def test_what_is_no_specification(data: bytes, expected: str) -> None:
    outcome = run(data)
    assert outcome.status == 125
    assert outcome.failure is not None
    assert outcome.failure["step"] == "read-spec"
    assert expected in outcome.failure["description"]


@pytest.mark.parametrize(
    ("command", "status", "number", "hint"),
    [
        (["/usr/bin/none"], 127, errno.ENOENT, "cannot be seen"),
        (["none"], 127, errno.ENOENT, "PATH"),
        (["/tmp"], 126, errno.EACCES, "interpreter"),
        (["/usr/share/common-licenses/GPL"], 126, errno.EACCES, "may not execute"),
        (["/usr/bin/true", "x" * 200_000], 126, errno.E2BIG, "too long"),
    ],
)
def test_the_program_cannot_be_executed(
    command: list[str], status: int, number: int, hint: str
) -> None:
    outcome = run(specification(*command))
    assert outcome.failure is not None
    assert outcome.status == status
    assert outcome.failure["step"] == "execute"
    assert outcome.failure["errno"] == number
    assert outcome.failure["path"] == command[0]
    assert hint in outcome.failure["hint"]


@pytest.mark.parametrize(
    ("content", "number", "hint"),
    [
        (b"#!/nonexistent/interpreter\n", errno.ENOENT, "interpreter"),
        (b"nothing to execute", errno.ENOEXEC, "machine's kind"),
    ],
)
def test_the_program_is_broken(open_folder: Path, content: bytes, number: int, hint: str) -> None:
    program = open_folder / "program"
    program.write_bytes(content)
    program.chmod(0o755)
    outcome = run(specification(str(program), **with_binds(bind(str(open_folder)))))
    assert outcome.failure is not None
    assert outcome.failure["errno"] == number
    assert hint in outcome.failure["hint"]


def test_the_program_is_being_written(open_folder: Path) -> None:
    program = open_folder / "program"
    program.write_bytes(Path("/usr/bin/true").read_bytes())
    program.chmod(0o755)
    spec = specification(str(program), **with_binds(bind(str(open_folder))))
    with program.open("ab"):
        outcome = run(spec)
    assert outcome.failure is not None
    assert outcome.failure["errno"] == errno.ETXTBSY
    assert run(spec).status == 0


def test_a_missing_source(open_folder: Path) -> None:
    missing = str(open_folder / "missing")
    outcome = run(specification("true", **with_binds(bind(missing))))
    assert outcome.failure is not None
    assert outcome.failure["step"] == "open-source"
    assert outcome.failure["path"] == missing
    assert outcome.failure["errno"] == errno.ENOENT
    assert "optional" in outcome.failure["hint"]
    assert run(specification("true", **with_binds(bind(missing, optional=True)))).status == 0


def test_a_missing_working_directory() -> None:
    outcome = run(specification("true", working_directory="/nonexistent"))
    assert outcome.failure is not None
    assert (outcome.failure["step"], outcome.failure["path"]) == (
        "change-directory",
        "/nonexistent",
    )


def test_a_file_that_is_there_already() -> None:
    file = {"path": "/etc/x", "mode": 0o444, "content": {"kind": "text", "text": ""}}
    outcome = run(specification("true", filesystem__files=[file, file]))
    assert outcome.failure is not None
    assert (outcome.failure["step"], outcome.failure["errno"]) == ("write-file", errno.EEXIST)


def test_descriptors_that_are_none() -> None:
    def handed(number: int, pass_fds: list[int]) -> dict[str, Any]:
        spec = specification("true", descriptors=[{"name": "x", "descriptor": number}])
        outcome = run(spec, pass_fds=pass_fds)
        assert outcome.failure is not None
        assert outcome.failure["step"] == "take-descriptors"
        return outcome.failure

    assert handed(900, [])["errno"] == errno.EBADF
    folder = os.open("/", os.O_RDONLY)
    try:
        # It would lead back to the host's files.
        assert handed(folder, [folder])["errno"] == errno.ENOTSOCK
    finally:
        os.close(folder)


def test_too_large_a_credential() -> None:
    for size, number in ((1024 * 1024, None), (1024 * 1024 + 1, errno.EFBIG)):
        descriptor = os.memfd_create("credential")
        os.write(descriptor, bytes(size))
        os.lseek(descriptor, 0, os.SEEK_SET)
        content = {"kind": "descriptor", "descriptor": descriptor}
        file = {"path": "/run/credential", "mode": 0o400, "content": content}
        outcome = run(specification("true", filesystem__files=[file]), pass_fds=[descriptor])
        os.close(descriptor)
        assert (outcome.failure and outcome.failure["errno"]) == number


def test_too_many_namespaces() -> None:
    with sysctl("user/max_uts_namespaces", "0"):
        outcome = run(specification("true"))
    assert outcome.failure is not None
    assert outcome.failure["step"] == "create-namespaces"
    assert outcome.failure["errno"] == errno.ENOSPC
    assert "user.max_user_namespaces" in outcome.failure["hint"]


def test_no_failure_leaves_a_mount_behind() -> None:
    before = Path("/proc/self/mountinfo").read_text()
    for change in ({"working_directory": "/none"}, with_binds(bind("/none"))):
        assert run(specification("true", **change)).status == 125
    assert Path("/proc/self/mountinfo").read_text() == before


def test_without_a_status_descriptor_people_read_the_failure() -> None:
    spec = json.dumps(specification("/none", identity=one_id(HOST_ID)))
    read, write = os.pipe()
    os.write(write, spec.encode())
    os.close(write)
    command = [PROGRAM, "run", "--spec-fd", str(read)]
    done = subprocess.run(
        command, check=False, pass_fds=[read], capture_output=True, text=True, timeout=20
    )
    os.close(read)
    assert done.returncode == 127
    assert done.stderr == (
        "cloister-cell: execute /none with 1 variables in its environment (execute): /none: "
        "No such file or directory (os error 2)\n"
        "next: the program cannot be seen in the cell: bind the folder it is in\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [[], ["none"], ["run"], ["run", "--spec-fd"], ["run", "--spec-fd", "x"], ["run", "--none"]],
)
def test_wrong_usage(arguments: list[str]) -> None:
    done = subprocess.run(
        [PROGRAM, *arguments], check=False, capture_output=True, text=True, timeout=20
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "--help" in done.stderr


def test_help_and_version() -> None:
    for option, expected in (("--help", "Usage:"), ("--version", "cloister-cell ")):
        done = subprocess.run(
            [PROGRAM, option], check=False, capture_output=True, text=True, timeout=20
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert expected in done.stdout
