"""Python applications of NGINX Unit's configurations, set up by its curl commands and asked by
HTTP through their listeners."""

import concurrent.futures
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.open_python import virtual_environment
from tests.support.unit_up import DONE, UnitUp, free_port, get, idle_unit
from tests.support.waiting import wait_until

WSGI = """
import json, os, sys, threading
import only_here
together = threading.Barrier(3, timeout=30)
def tell(environ, start_response):
    if environ["PATH_INFO"] == "/together":
        together.wait()  # three requests at once, or nobody gets an answer
    told = {"prefix": sys.prefix, "word": only_here.WORD, "folder": os.getcwd(), "uid": os.getuid(),
            "variable": os.environ.get("WORD"), "name": __name__, "inside": os.listdir("/")}
    start_response("200 OK", [("content-type", "application/json")])
    return [json.dumps(told).encode()]
class site:
    start = staticmethod(tell)
"""
ASGI = """
import json, os
async def made(scope, receive, send):
    if scope["type"] != "http":
        return
    told = {"scope": scope["type"], "path": scope["path"], "pid": os.getpid(),
            "inside": os.listdir("/"), "uid": os.getuid()}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})
def make():
    return made
"""


@pytest.fixture
def up() -> Iterator[UnitUp]:
    with idle_unit() as running:
        yield running


def module(folder: Path, name: str, text: str) -> str:
    """The folder that holds a module of this text."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(text)
    return str(folder)


def ask(port: int, path: str = "/") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(get(port, path))
    return found


def test_wsgi_from_a_virtual_environment(up: UnitUp) -> None:
    home, port = up.folder / "venv", free_port()
    packages = virtual_environment(up.python, home)
    (packages / "only_here.py").write_text("WORD = 'environment'\n")
    application = {
        "type": "python 3",
        "path": module(up.folder / "code", "blog", WSGI),
        "home": str(home),
        "module": "blog",
        "callable": "site.start",
        "protocol": "wsgi",
        "threads": 3,
        "working_directory": str(up.folder / "code"),
        "environment": {"WORD": "told"},
    }
    listeners = {f"*:{port}": {"pass": "applications/blog"}}
    up.put("/config", {"listeners": listeners, "applications": {"blog": application}})
    told = ask(port)
    assert told["prefix"] == str(home)
    assert told["word"] == "environment"
    assert told["folder"] == str(up.folder / "code")
    assert told["variable"] == "told"
    # Without `isolation` nothing is apart: it sees the host's files, as Unit's default user.
    assert "root" in told["inside"]
    if os.geteuid() == 0:
        assert told["uid"] == 65534
    # `threads` requests are answered at once.
    with concurrent.futures.ThreadPoolExecutor(3) as clients:
        answers = list(clients.map(lambda _: ask(port, "/together"), range(3)))
    assert {one["word"] for one in answers} == {"environment"}
    assert up.configure("GET", "/config/applications/blog/threads") == 3
    assert up.configure("GET", "/status/applications/blog/processes/running") >= 1


def test_asgi_by_a_factory_restarted_changed_and_taken_away(up: UnitUp) -> None:
    port = free_port()
    application = {
        "type": "python",
        "path": [module(up.folder / "lib", "unused", ""), module(up.folder / "web", "web", ASGI)],
        "module": "web",
        "callable": "make",
        "factory": True,
        "protocol": "asgi",
    }
    up.put("/config/applications/web", application)
    up.put(f"/config/listeners/127.0.0.1:{port}", {"pass": "applications/web"})
    first = ask(port, "/some/where")
    assert (first["scope"], first["path"]) == ("http", "/some/where")
    assert up.configure("GET", "/control/applications/web/restart") == {"success": "Ok"}
    wait_until(lambda: ask(port)["pid"] != first["pid"], what="another process", seconds=60)
    refused = up.configure("PUT", "/config/applications/web/protocol", "carrier pigeon")
    assert refused["error"]
    refused = up.configure("PUT", "/config/applications/web/protocol", '"pigeon"')
    assert "asgi" in refused["detail"]
    up.put("/config/applications/web/processes", 2)
    assert up.configure("GET", "/config/applications/web/processes") == 2
    refused = up.configure("DELETE", "/config/applications/web")
    assert "there is no application web" in refused["detail"]
    assert ask(port)["scope"] == "http"
    assert up.configure("DELETE", f"/config/listeners/127.0.0.1:{port}") == DONE
    assert up.configure("DELETE", "/config/applications/web") == DONE
    assert up.configure("GET", "/config/applications") == {}


def test_an_error_at_import_is_told_and_mended(up: UnitUp) -> None:
    port, code = free_port(), up.folder / "code"
    application = {"type": "python", "path": module(code, "web", "import gone\n"), "module": "web"}
    up.put("/config/applications/web", {**application, "callable": "make", "factory": True})
    up.put(f"/config/listeners/*:{port}", {"pass": "applications/web"})

    def told() -> bool:
        failure = up.app("web").failure
        return failure is not None and any(
            "No module named 'gone'" in line for line in failure.last_output
        )

    wait_until(told, what="the traceback in the status", seconds=60)
    module(code, "web", ASGI)
    # Who came meanwhile has waited.
    assert ask(port)["scope"] == "http"


@pytest.mark.usefixtures("as_root")
def test_python_in_a_root_of_its_own_gets_its_interpreter_from_the_host(up: UnitUp) -> None:
    """`automount.language_deps`: the root has nothing but the application's own files."""
    port, root = free_port(), up.folder / "image"
    module(root / "app", "web", ASGI)
    application = {
        "type": "python 3",
        "path": "/app",
        "module": "web",
        "callable": "made",
        "isolation": {"rootfs": str(root)},
    }
    listeners = {f"*:{port}": {"pass": "applications/web"}}
    up.put("/config", {"listeners": listeners, "applications": {"web": application}})
    told = ask(port)
    assert "app" in told["inside"]
    assert {"etc", "var", "boot"}.isdisjoint(told["inside"])
    # Nothing of what was shown there stays in it.
    assert sorted(path.name for path in root.rglob("*")) == ["app", "web.py"]
    # Without it the root has no interpreter, and that is what is said.
    refused = up.configure(
        "PUT", "/config/applications/web/isolation/automount", {"language_deps": False}
    )
    assert "language_deps" in refused["detail"]
    assert ask(port)["scope"] == "http"
