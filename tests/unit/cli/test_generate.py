"""`cloister generate`: to standard output, below a folder, and nothing overwritten."""

import importlib
import os
import stat
from pathlib import Path

import click
import pytest

from cloister.cli import generated
from cloister.cli.commands.generate import KINDS
from cloister.cli.main import main
from cloister.generate.file import Generated, GeneratedFile
from cloister.model.errors import UsageError


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_a_command(kind: str) -> None:
    module = importlib.import_module(f"cloister.cli.generators.{kind}")
    assert isinstance(module.command, click.Command)


def test_an_unknown_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "upstart"]) == 2
    assert "no generator `upstart`" in capsys.readouterr().err


def test_files_and_next_steps_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "nginx", "php", "--fastcgi", "--keepalive", "3"]) == 0
    printed = capsys.readouterr().out
    assert "# --- /etc/nginx/conf.d/php.conf\n" in printed
    assert 'server "unix:/run/cloister-relay/php.sock";' in printed
    assert "keepalive 3;" in printed
    assert "# next:\n#   add `include snippets/php.conf;`" in printed


def test_files_are_written_below_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = os.umask(0o077)
    try:
        assert main(["generate", "nginx", "php", "--output", str(tmp_path)]) == 0
    finally:
        os.umask(before)
    file = tmp_path / "etc/nginx/conf.d/php.conf"
    assert "upstream php" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o755
    assert f"# wrote {file}\n" in capsys.readouterr().out


def test_nothing_is_overwritten_and_nothing_half_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "etc/nginx/snippets/php.conf"
    mine.parent.mkdir(parents=True)
    mine.symlink_to(tmp_path / "precious")
    arguments = ["generate", "nginx", "php", "--output", str(tmp_path)]
    assert main(arguments) == 2
    assert str(mine) in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*") if not path.is_dir()] == ["php.conf"]
    assert main([*arguments, "--force"]) == 0
    assert not mine.is_symlink()
    assert not (tmp_path / "precious").exists()


def test_a_mode_and_an_owner_are_said_and_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = GeneratedFile("/etc/x", "text\n", mode=0o750, owner="nobody", group="nogroup")
    generated.emit(Generated((file,)), None, force=False)
    assert "# --- /etc/x (mode 0750) (owner nobody:nogroup)\n" in capsys.readouterr().out
    generated.emit(Generated((file,)), tmp_path, force=False)
    written = (tmp_path / "etc/x").stat()
    assert stat.S_IMODE(written.st_mode) == 0o750
    if os.geteuid() == 0:
        assert written.st_uid != 0


@pytest.mark.usefixtures("as_root")
def test_an_owner_who_does_not_exist(tmp_path: Path) -> None:
    file = GeneratedFile("/etc/x", "text\n", owner="no-such-user")
    with pytest.raises(UsageError, match="do not exist here"):
        generated.emit(Generated((file,)), tmp_path, force=False)
    assert list((tmp_path / "etc").iterdir()) == []
