"""What `cloister run` and `cloister explain --` make of their options."""

from pathlib import Path

import pytest

from cloister.cells.spec import Stdin
from cloister.cli import one_command
from cloister.model.errors import UsageError
from cloister.model.isolation import Bind, HostIdentity

IDENTITY = HostIdentity(500001, 500001)


def command_in_the_cell(
    *command: str,
    binds: tuple[str, ...] = (),
    env: tuple[str, ...] = (),
    directory: str | None = None,
) -> tuple[str, ...]:
    plan = one_command.build(one_command.parse(command, binds, env, directory), IDENTITY)
    plan.close()
    return plan.spec.command


def test_binds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    texts = ("data", "./data:/data", "data:/data:rw", "link::ro")
    wanted = one_command.parse(("x",), texts, (), None)
    source = str(tmp_path / "data")
    assert wanted.binds == (
        Bind(source, source),
        Bind(source, "/data"),
        Bind(source, "/data", writable=True),
        Bind(str(tmp_path / "link"), str(tmp_path / "link")),
    )


@pytest.mark.parametrize("text", ["", ":/x", "/usr:/x:rx", "/usr:/x:rw:", "/no/such", "/usr:x"])
def test_binds_of_another_form(text: str) -> None:
    with pytest.raises(UsageError, match="--bind"):
        one_command.parse(("x",), (text,), (), None)


def test_variables() -> None:
    wanted = one_command.parse(("x",), (), ("A=1", "B=", "C=x=y"), None)
    assert wanted.environment == (("A", "1"), ("B", ""), ("C", "x=y"))
    for text in ("A", "=1", "A=\0"):
        with pytest.raises(UsageError, match="--env"):
            one_command.parse(("x",), (), (text,), None)


def test_programs_are_named_as_the_cell_sees_them(tmp_path: Path) -> None:
    assert command_in_the_cell("sh", "-c", "exit") == ("sh", "-c", "exit")
    assert command_in_the_cell("/bin/sh") == ("/bin/sh",)
    assert command_in_the_cell("./x", "./y") == ("/tmp/x", "./y")
    assert command_in_the_cell("bin/tool", directory=str(tmp_path)) == (f"{tmp_path}/bin/tool",)


def test_without_a_directory_nothing_but_an_empty_tmp_is_seen() -> None:
    plan = one_command.build(one_command.parse(("sh",), (), (), None), IDENTITY)
    assert plan.spec.working_directory == "/tmp"
    assert plan.spec.stdin is Stdin.INHERIT
    assert "/tmp" not in {bind.destination for bind in plan.spec.filesystem.binds}
    assert plan.spec.identity.host_uid == 500001


def test_a_directory_is_seen_read_only_and_worked_in(tmp_path: Path) -> None:
    wanted = one_command.parse(("sh",), (), (), str(tmp_path))
    plan = one_command.build(wanted, IDENTITY)
    assert plan.spec.working_directory == str(tmp_path)
    (bind,) = (bind for bind in plan.spec.filesystem.binds if bind.source == str(tmp_path))
    assert not bind.writable
