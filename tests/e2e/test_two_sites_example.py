"""The example's configuration is valid and both of its sites answer."""

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloister.apps.servers import interface_of, load
from cloister.config.load import load as load_config

EXAMPLE = Path(__file__).parents[2] / "examples" / "two-sites"


@pytest.fixture
def importing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The module search path of both cells at once; what was imported is forgotten after."""
    for folder in ("visible", "one", "two"):
        monkeypatch.syspath_prepend(EXAMPLE / folder)
    yield
    for module in ("visible", "site_one", "site_two"):
        sys.modules.pop(module, None)


def test_the_configuration_names_both_sites() -> None:
    snapshot = load_config(str(EXAMPLE / "cloister.toml"))
    assert {app.name: app.hosts for app in snapshot.apps} == {
        "one": ("one.example",),
        "two": ("two.example",),
    }
    assert all(Path(app.directory).is_dir() for app in snapshot.apps)
    assert all(Path(bind.source).is_dir() for app in snapshot.apps for bind in app.binds)


@pytest.mark.usefixtures("importing")
def test_the_asgi_site_answers_json() -> None:
    app = load("site_one:app")
    assert interface_of(app) == "asgi3"
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/look",
        "query_string": b"a=1",
        "http_version": "1.1",
    }
    asyncio.run(app(scope, receive, send))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    answer = json.loads(sent[1]["body"])
    assert answer["site"] == "one (ASGI)"
    assert answer["request"] == "GET /look?a=1 HTTP/1.1"
    assert answer["namespaces"].count(",") == 6
    assert int(dict(sent[0]["headers"])[b"content-length"]) == len(sent[1]["body"])


@pytest.mark.usefixtures("importing")
def test_the_wsgi_site_answers_text() -> None:
    app = load("site_two:app")
    assert interface_of(app) == "wsgi"
    started: list[tuple[str, dict[str, str]]] = []

    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        started.append((status, dict(headers)))

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SERVER_PROTOCOL": "HTTP/1.1"}
    body = b"".join(app(environ, start_response))
    (status, headers) = started[0]
    assert status == "200 OK"
    assert int(headers["Content-Length"]) == len(body)
    lines = dict(line.split(":", 1) for line in body.decode().splitlines())
    assert lines["site"].strip() == "two (WSGI)"
    assert lines["request"].strip() == "GET / HTTP/1.1"
