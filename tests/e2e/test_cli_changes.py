"""The commands that change what a running supervisor runs, and their exit codes."""

import contextlib
import io
import json
import os
import pty
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest
from tests.support.up import WSGI, Up, open_folder
from tests.support.waiting import wait_until

from cloister.cli.main import main

CONFIG, NOT_RUNNING, USAGE, FAILED = 3, 69, 2, 1


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    with open_folder() as folder:
        running = Up(folder)
        running.write({"one": WSGI})
        running.start()
        try:
            running.wait_ready()
            yield running
        finally:
            running.close()


@dataclass
class Done:
    stdout: str
    stderr: str


def cloister(*arguments: str, code: int = 0, stdin: str = "", **environment: str) -> Done:
    """The command in this process: most of the time of one is spent loading libraries."""
    output, errors = io.StringIO(), io.StringIO()
    reading = io.TextIOWrapper(io.BytesIO(stdin.encode()))
    with (
        mock.patch.dict(os.environ, environment),
        mock.patch.object(sys, "stdin", reading),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
    ):
        found = main(arguments)
    assert found == code, output.getvalue() + errors.getvalue()
    return Done(output.getvalue(), errors.getvalue())


def test_what_runs_is_shown_as_text_and_by_path(up: Up) -> None:
    config = ("--config", str(up.config))
    assert cloister("get", *config).stdout == up.config.read_text()
    assert json.loads(cloister("get", "apps/one/hosts/0", *config).stdout) == "one.example"
    assert json.loads(cloister("get", "--json", *config).stdout)["apps"]["one"]["python"]
    assert "is not there" in cloister("get", "/apps/two", *config, code=FAILED).stderr


def test_a_file_is_applied_or_refused_with_every_problem(up: Up) -> None:
    text = up.config.read_text()
    other = up.folder / "other.toml"
    other.write_text(text.replace('stop-timeout = "5s"', 'stop-timeout = "6s"'))
    answer = json.loads(cloister("apply", str(other), "--json").stdout)
    assert answer["version"] >= 2
    assert (
        json.loads(cloister("get", "apps/one/stop-timeout", "--config", str(other)).stdout) == "6s"
    )
    other.write_text(text.replace('"5s"', "5") + '[apps.two]\npython = "x:y"\nhost = ["a"]\n')
    refused = cloister("apply", str(other), code=CONFIG).stderr
    assert "stop-timeout" in refused
    assert "`host` is no setting here" in refused
    applied = cloister("apply", "-", "--config", str(up.config), stdin=text)
    assert applied.stdout.startswith("version ")
    assert cloister("get", "--config", str(up.config)).stdout == text


def test_one_value_is_set_and_taken_away(up: Up) -> None:
    config = ("--config", str(up.config))
    cloister("set", "apps/one/environment", '{"A": "b"}', *config)
    assert json.loads(cloister("get", "apps/one/environment", *config).stdout) == {"A": "b"}
    refused = cloister("set", "apps/one/environment", '{\n"A": 1}', *config, code=CONFIG).stderr
    assert "what was sent:2 /apps/one/environment/A" in refused
    no_json = cloister("set", "apps/one/environment", "{A: 1}", *config, code=FAILED).stderr
    assert "line 1, column 2" in no_json
    cloister("set", "apps/one/environment", "--delete", *config)
    cloister("get", "apps/one/environment", *config, code=FAILED)
    cloister("set", "apps/one", *config, code=USAGE)
    cloister("set", "apps/one", "1", "--delete", *config, code=USAGE)
    cloister("apply", str(up.config))


def editor(folder: Path, name: str, program: str) -> str:
    path = folder / name
    path.write_text(f"#!{sys.executable}\nimport sys\nfile = sys.argv[-1]\n{program}")
    path.chmod(0o755)
    return str(path)


def test_the_configuration_is_edited_with_the_editor_of_one_s_choice(up: Up) -> None:
    config = ("--config", str(up.config))
    change = editor(
        up.folder,
        "change",
        "text = open(file).read()\nopen(file, 'w').write(text.replace('5s', '7s'))\n",
    )
    assert cloister("edit", *config, EDITOR=change, VISUAL="").stdout == "done\n"
    # The text is kept as it was written, with its comments.
    assert cloister("get", *config).stdout == up.config.read_text().replace("5s", "7s")
    assert cloister("edit", *config, EDITOR=change, VISUAL="").stdout == "nothing was changed\n"
    part = editor(up.folder, "part", "open(file, 'w').write('\"8s\"')\n")
    assert cloister("edit", "apps/one/stop-timeout", *config, VISUAL=part).stdout == "done\n"
    assert json.loads(cloister("get", "apps/one/stop-timeout", *config).stdout) == "8s"
    cloister("apply", str(up.config))


def test_nothing_that_was_written_is_lost(up: Up, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(up.folder))
    config = ("--config", str(up.config))
    broken = editor(up.folder, "broken", "open(file, 'w').write('[nonsense')\n")
    refused = cloister("edit", *config, code=FAILED, VISUAL=broken).stderr
    assert "error[syntax]" in refused
    (kept,) = up.folder.glob("cloister-edit-*")
    assert str(kept) in refused
    assert kept.read_text() == "[nonsense"
    kept.unlink()
    assert "cannot be run" in cloister("edit", *config, code=FAILED, VISUAL="/no/editor").stderr
    failing = editor(up.folder, "failing", "sys.exit(3)\n")
    assert "exit status 3" in cloister("edit", *config, code=FAILED, VISUAL=failing).stderr


def test_a_refused_text_is_edited_again(up: Up) -> None:
    """On a terminal the same text is offered once more."""
    step = up.folder / "step"
    twice = editor(
        up.folder,
        "twice",
        f"""
import pathlib
step = pathlib.Path({str(step)!r})
text = open(file).read()
if not step.exists():
    step.touch()
    open(file, 'w').write(text + 'nonsense = 1\\n')
else:
    assert 'nonsense' in text
    open(file, 'w').write(text.replace('nonsense = 1\\n', '# no comment is lost\\n'))
""",
    )
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "cloister", "edit", "--config", str(up.config)]
    with subprocess.Popen(
        command,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "VISUAL": twice},
    ) as process:
        os.close(theirs)
        wait_until(step.exists, what="the first edit", seconds=30)
        os.write(ours, b"\n")
        output, errors = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == 0, errors
    assert "error[unknown-key]" in errors
    assert output == "done\n"
    shown = cloister("get", "--config", str(up.config)).stdout
    assert shown.endswith("# no comment is lost\n")
    cloister("apply", str(up.config))


def test_applications_are_stopped_started_and_restarted(up: Up) -> None:
    config = ("--config", str(up.config))
    assert cloister("stop", "one", *config).stdout.startswith("one: ")
    wait_until(lambda: up.app("one").state == "stopped", what="the stop", seconds=30)
    (started,) = json.loads(cloister("start", "one", "--json", *config).stdout)
    assert started["name"] == "one"
    up.wait_ready("one")
    pid = up.app("one").pid
    cloister("restart", "one", *config)

    def restarted() -> bool:
        app = up.app("one")
        return app.state == "ready" and app.pid != pid

    wait_until(restarted, what="the restart", seconds=30)
    unknown = cloister("restart", "one", "none", *config, code=FAILED).stderr
    assert "there is no application none" in unknown
    assert "the applications are: one" in unknown


def test_no_supervisor_is_told_by_its_exit_code(tmp_path: Path) -> None:
    nowhere = {"RUNTIME_DIRECTORY": str(tmp_path / "none")}
    config = tmp_path / "c.toml"
    config.write_text('[listeners.x]\nlisten = "*:80"\n')
    for arguments in (["get"], ["apply", str(config)], ["restart", "a"], ["set", "a", "1"]):
        extra = [] if arguments[0] == "apply" else ["--config", str(config)]
        assert "no supervisor" in cloister(*arguments, *extra, code=NOT_RUNNING, **nowhere).stderr
