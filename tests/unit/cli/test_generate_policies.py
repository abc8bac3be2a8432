"""`cloister generate selinux` and `apparmor`: options become the request's fields."""

from pathlib import Path

import pytest

from cloister.cli.main import main


def test_a_module_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["generate", "selinux", "--name", "edge", "--hosts", "/srv/a", "--hosts", "/srv/b"]
    assert main([*arguments, "--output", str(tmp_path)]) == 0
    folder = tmp_path / "usr/local/src/edge-selinux"
    assert {file.name for file in folder.iterdir()} == {"edge.te", "edge.fc", "edge.if"}
    contexts = (folder / "edge.fc").read_text()
    assert "/srv/a(/.*)?\tgen_context" in contexts
    assert "/srv/b(/.*)?\tgen_context" in contexts
    assert "/srv/hosts" not in contexts
    assert "semodule -i /usr/local/src/edge-selinux/edge.pp" in capsys.readouterr().out


def test_a_profile_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["generate", "apparmor", "--reach", "unix", "--program", "/opt/door"]
    assert main([*arguments, "--changes-user"]) == 0
    printed = capsys.readouterr().out
    assert "profile cloister-door /opt/door flags" in printed
    assert "capability setuid," in printed
    assert "inet dgram" not in printed


def test_a_path_that_is_a_pattern_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "selinux", "--hosts", "/srv/*"]) == 2
    assert "'/srv/*' cannot be a hosts directory" in capsys.readouterr().err
