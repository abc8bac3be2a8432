"""`cloister init`: what it writes loads, runs as an application, and overwrites nothing."""

import asyncio
import os
import re
import runpy
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloister.cli.main import main
from cloister.config.declared import settings
from cloister.config.load import load
from cloister.config.reference import sections
from cloister.model.app import PythonProgram, Readiness, SelfSignedTls
from cloister.model.listener import TcpAddress

FILES = ("cloister.toml", "hello/hello.py")


@pytest.fixture
def starter(tmp_path: Path) -> Path:
    folder = tmp_path / "starter"
    assert main(["init", str(folder)]) == 0
    return folder


def test_the_starter_loads_and_says_what_it_promises(starter: Path) -> None:
    snapshot = load(str(starter / "cloister.toml"))
    (listener,) = snapshot.listeners
    assert listener.addresses == (TcpAddress("127.0.0.1", 8443), TcpAddress("::1", 8443))
    (app,) = snapshot.apps
    assert app.program == PythonProgram("hello", "app")
    assert app.directory == str(starter / "hello")
    assert app.hosts == ("hello.localhost",)
    assert app.tls == SelfSignedTls()
    assert app.ready is Readiness.NOTIFY


def uncommented(text: str) -> Iterator[str]:
    """The text once for each setting that it has as a comment, with that one in force; where a
    table's header is a comment, with that whole table."""
    lines = text.split("\n")
    index = 0
    while index < len(lines):
        end = index + 1
        if lines[index].startswith("#["):
            while lines[end].startswith("#"):
                end += 1
        if re.match(r"#[^ ]", lines[index]):
            block = [line.removeprefix("#") for line in lines[index:end]]
            key = block[0].partition("=")[0]
            rest = [line for line in lines[:index] if not line.startswith(key)]
            yield "\n".join([*rest, *block, *lines[end:]])
        index = end


def test_every_commented_setting_can_be_uncommented(starter: Path) -> None:
    config = starter / "cloister.toml"
    variants = list(uncommented(config.read_text()))
    assert len(variants) > 15
    plain = load(str(config), check_files=False)
    for variant in variants:
        config.write_text(variant)
        load(str(config), check_files=False)
        assert "\n[door]" in variant
    assert plain.apps


def test_the_starter_names_every_setting(starter: Path) -> None:
    """Whoever reads it sees what there is."""
    text = (starter / "cloister.toml").read_text()
    names = {name for section in sections() for name, _ in settings(section.table)}
    assert len(names) > 30
    assert [name for name in sorted(names) if name not in text] == []


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    mine = tmp_path / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    assert main(["init", str(tmp_path)]) == 2
    assert mine.read_text() == "mine"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [mine.name]
    assert str(mine) in capsys.readouterr().err


def test_a_dangling_link_counts_as_there(tmp_path: Path) -> None:
    (tmp_path / "cloister.toml").symlink_to("elsewhere")
    assert main(["init", str(tmp_path)]) == 2
    assert not (tmp_path / "elsewhere").exists()


def test_force_replaces_a_link_and_not_what_it_points_to(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    folder = tmp_path / "starter"
    folder.mkdir()
    (folder / "cloister.toml").symlink_to(precious)
    assert main(["init", str(folder), "--force"]) == 0
    assert precious.read_text() == "mine"
    assert not (folder / "cloister.toml").is_symlink()
    assert {path.name for path in folder.iterdir()} == {"cloister.toml", "hello"}


def test_a_cell_can_read_the_application_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        assert main(["init", str(tmp_path / "starter")]) == 0
    finally:
        os.umask(before)
    hello = tmp_path / "starter" / "hello"
    assert stat.S_IMODE(hello.stat().st_mode) == 0o755
    assert stat.S_IMODE((hello / "hello.py").stat().st_mode) == 0o644


def test_it_says_what_to_do_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init"]) == 0
    printed = capsys.readouterr().out
    authority = load("cloister.toml").paths.authority_certificate
    assert "next:  cloister up\n" in printed
    assert f"curl --cacert {authority} https://hello.localhost:8443/\n" in printed


def call(app: Any, scope: dict[str, Any], received: list[dict[str, Any]]) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return received.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


def test_the_application_speaks_asgi(starter: Path) -> None:
    app = runpy.run_path(str(starter / "hello" / "hello.py"))["app"]
    start, body = call(app, {"type": "http", "path": "/here"}, [])
    assert start["status"] == 200
    assert b"/here" in body["body"]
    events = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    assert [message["type"] for message in call(app, {"type": "lifespan"}, events)] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    assert call(app, {"type": "websocket"}, []) == [{"type": "websocket.close"}]
