"""`cloister explain`: what it prints, from a program that answers like `cloister-cell`."""

import json
import sys
from pathlib import Path

import pytest
from tests.conftest import WriteConfig

from cloister.cells import programs
from cloister.cli.main import main
from cloister.config.load import load

FAKE = """\
#!{python} -S
import json, os, sys
assert sys.argv[1] == "explain" and sys.argv[-1] == "--json"
spec = json.loads(os.read(int(sys.argv[sys.argv.index("--spec-fd") + 1]), 1 << 20))
for entry in spec["descriptors"]:
    os.fstat(entry["descriptor"])
for bind in spec["filesystem"]["binds"]:
    print(json.dumps(dict(step="bind", description=bind["destination"])))
{body}
"""

CONFIG = """
[cloister]
state-directory = "{folder}/state"
runtime-directory = "{folder}/runtime"

[listeners.https]
listen = "127.0.0.1:0"

[apps.blog]
python = "blog:app"
directory = "{folder}/blog"
hosts = ["blog.example"]
tls = "self-signed"

[apps.plain]
command = ["/usr/bin/env", "true"]
directory = "{folder}/blog"
hosts = ["plain.example"]
"""


@pytest.fixture
def cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cloister-cell"
    path.write_text(FAKE.replace("{python}", sys.executable).replace("{body}", ""))
    path.chmod(0o755)
    monkeypatch.setattr(programs, "find", lambda name: str(path))
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    return path


@pytest.fixture
def config(write_config: WriteConfig) -> str:
    path = write_config(CONFIG)
    (path.parent / "blog").mkdir()
    (path.parent / "blog" / "blog.py").write_text("app = None\n")
    load(str(path))
    return str(path)


def test_all_apps_are_listed(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--config", config]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["APP", "PROGRAM", "HOSTS", "SOCKET"]
    assert lines[1].split()[:3] == ["blog", "blog:app", "blog.example"]
    assert lines[2].startswith("plain  /usr/bin/env true")
    assert main(["explain", "--config", config, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == ["blog", "plain"]
    assert rows[0]["socket"].endswith("/runtime/apps/blog/socket")


@pytest.mark.usefixtures("cell")
def test_an_app_with_its_identity_socket_and_steps(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "blog", "--config", config]) == 0
    text = capsys.readouterr().out
    for words in ("user 1000, group 1000", "/runtime/apps/blog/socket, descriptor 3", "notify"):
        assert words in text
    assert "bind       /usr\n" in text
    assert not (Path(config).parent / "state").exists()

    assert main(["explain", "blog", "--config", config, "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["hosts"] == ["blog.example"]
    files = [file["path"] for file in value["spec"]["filesystem"]["files"]]
    assert "/run/credentials/tls.key" in files
    assert {"step": "bind", "description": "/usr"} in value["operations"]


@pytest.mark.usefixtures("cell")
def test_a_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["explain", "--bind", f"{tmp_path}:/data:rw", "--json", "--", "sh", "--json", "--"]
    assert main(arguments) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["spec"]["command"] == ["sh", "--json", "--"]
    assert "/data" in [bind["destination"] for bind in value["spec"]["filesystem"]["binds"]]
    assert not (tmp_path / "store.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "there is no app 'nothing'"),
        (["blog", "--env", "A=1"], "belong to a command"),
        (["blog", "--", "sh"], "not both"),
        (["--"], "not both"),
    ],
)
def test_impossible_wishes(
    config: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "--config", config, *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("sys.exit('spec: no good')", "spec: no good"),
        ("print('nonsense')", "the message is no JSON"),
    ],
)
def test_a_program_of_another_mind(
    cell: Path, body: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cell.write_text(FAKE.replace("{python}", sys.executable).replace("{body}", body))
    assert main(["explain", "--", "sh"]) == 1
    error = capsys.readouterr().err
    assert "cannot be explained" in error
    assert message in error
