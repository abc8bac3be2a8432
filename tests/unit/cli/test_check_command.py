"""``cloister check`` as a person, an editor or a pipeline calls it."""

import json
from pathlib import Path

import pytest

from cloister.cli.main import CONFIG, main

FINE = """
[listeners.https]
listen = ["127.0.0.1:8443"]

[apps.one]
command = ["/usr/bin/env"]
hosts = ["one.example"]
"""
WRONG = """
[listeners.https]
listen = ["127.0.0.1:99999"]

[apps.one]
command = ["/not/there"]
host = ["one.example"]
"""
UNIT = """// Unit's own
{"listeners": {"127.0.0.1:8080": {"pass": "applications/one"}},
 "applications": {"one": {"type": "external", "executable": "/not/there"}}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_that_is_fine(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "cloister.toml").write_text(FINE)
    before = sorted(folder.rglob("*"))
    assert main(["check"]) == 0
    expected = "cloister.toml: no problem; 1 listener, 1 application\n"
    assert capsys.readouterr().out == expected
    assert sorted(folder.rglob("*")) == before, "nothing is made"


def test_every_problem_is_named_with_its_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "site.toml").write_text(WRONG)
    assert main(["check", "site.toml"]) == CONFIG
    said = capsys.readouterr()
    assert said.out == ""
    assert "error[bad-address]" in said.err
    assert "error[unknown-key]" in said.err
    assert "site.toml:7 apps.one.host" in said.err


def test_for_an_editor(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "site.toml").write_text(WRONG)
    assert main(["check", "--json", "site.toml"]) == CONFIG
    shown = json.loads(capsys.readouterr().out)
    assert shown["source"] == "site.toml"
    first, *_ = shown["problems"]
    assert (first["code"], first["file"], first["line"]) == ("bad-address", "site.toml", 3)
    assert first["key"].startswith("listeners.https.listen")


def test_files_of_another_machine(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "unit.json").write_text(UNIT)
    assert main(["check", "unit.json"]) == CONFIG
    assert "error[missing-file]: /not/there is not there" in capsys.readouterr().err
    assert main(["check", "--no-files", "--json", "unit.json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "source": "unit.json",
        "problems": [],
        "listeners": ["127.0.0.1-8080"],
        "apps": ["one"],
    }


@pytest.mark.parametrize(("text", "code"), [(FINE, 0), (WRONG, CONFIG), (UNIT, CONFIG)])
def test_from_standard_input(
    text: str,
    code: int,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (folder / "given").write_text(text)
    with (folder / "given").open() as given:
        monkeypatch.setattr("sys.stdin", given)
        assert main(["check", "-"]) == code
    said = capsys.readouterr()
    assert "standard input" in said.out + said.err


def test_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "gone.toml"]) == CONFIG
    assert "error[file-unreadable]" in capsys.readouterr().err
