"""What `cloister run` and `cloister explain --` make of their options."""

import os
from pathlib import Path

import pytest

from cloister.cells.spec import Stdin
from cloister.cli import one_command
from cloister.cli.cell_options import CellOptions
from cloister.cli.one_command import OneCommand
from cloister.model.isolation import HostIdentity

IDENTITY = HostIdentity(500001, 500001)


def command_in_the_cell(*command: str, directory: str | None = None) -> tuple[str, ...]:
    wanted = OneCommand(command, CellOptions(directory=directory))
    plan = one_command.build(wanted, IDENTITY)
    plan.close()
    return plan.spec.command


def test_programs_are_named_as_the_cell_sees_them(tmp_path: Path) -> None:
    assert command_in_the_cell("sh", "-c", "exit") == ("sh", "-c", "exit")
    assert command_in_the_cell("/bin/sh") == ("/bin/sh",)
    assert command_in_the_cell("./x", "./y") == ("/tmp/x", "./y")
    assert command_in_the_cell("bin/tool", directory=str(tmp_path)) == (f"{tmp_path}/bin/tool",)


def test_without_a_directory_nothing_but_an_empty_tmp_is_seen() -> None:
    plan = one_command.build(OneCommand(("sh",), CellOptions()), IDENTITY)
    assert plan.spec.working_directory == "/tmp"
    assert plan.spec.stdin is Stdin.INHERIT
    assert "/tmp" not in {bind.destination for bind in plan.spec.filesystem.binds}
    assert plan.spec.identity.host_uid == 500001


def test_a_directory_is_seen_read_only_and_worked_in(tmp_path: Path) -> None:
    wanted = OneCommand(("sh",), CellOptions(directory=str(tmp_path)))
    plan = one_command.build(wanted, IDENTITY)
    assert plan.spec.working_directory == str(tmp_path)
    (bind,) = (bind for bind in plan.spec.filesystem.binds if bind.source == str(tmp_path))
    assert not bind.writable


def test_ids_come_from_the_range_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "cloister.toml"
    config.write_text(
        '[cloister]\nids = "700000-700009"\nstate-directory = "state"\n'
        '[listeners.x]\nlisten = "*:1"\nroute = { target = "unix:/x" }\n'
    )
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert one_command.store(str(config)).door.uid == 700000
    monkeypatch.setattr(one_command, "SYSTEM_FILE", str(config))
    assert one_command.store().door.uid == 700000
    monkeypatch.setattr(one_command, "SYSTEM_FILE", str(tmp_path / "none"))
    assert one_command.store().door.uid == 500000
