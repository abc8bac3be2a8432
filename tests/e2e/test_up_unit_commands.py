"""Cloister's own commands where NGINX Unit's configuration runs, and what a crash leaves of it."""

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from tests.support.open_python import open_python
from tests.support.unit_up import UnitUp, free_port, get
from tests.support.up import open_folder
from tests.support.waiting import wait_until

from cloister.cli.main import main

NAME, OWN_NAME = "Shop / Cart", "shop-cart"
PATH = "/config/applications/Shop%20%2F%20Cart"
WEB = """
import os
def application(environ, start_response):
    print("asked", environ["PATH_INFO"])
    start_response("200 OK", [])
    return [f"{os.getpid()} {os.environ.get('WORD')}".encode()]
"""


@pytest.fixture
def up() -> Iterator[UnitUp]:
    with open_folder() as folder:
        made = UnitUp(folder)
        made.python = open_python(folder)
        (folder / "code").mkdir()
        (folder / "code" / "web.py").write_text(WEB)
        try:
            yield made
        finally:
            made.close()


def configuration(up: UnitUp, port: int) -> dict[str, Any]:
    return {
        "listeners": {f"127.0.0.1:{port}": {"pass": "applications/Shop%20%2F%20Cart"}},
        "applications": {
            NAME: {
                "type": "python",
                "path": f"{up.folder}/code",
                "module": "web",
                "environment": {"WORD": "first"},
            }
        },
    }


def cloister(up: UnitUp, verb: str, *arguments: str, stdin: str = "", code: int = 0) -> str:
    output, errors = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, up.places),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()))),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
    ):
        where = [str(up.config)] if verb == "logs" else ["--config", str(up.config)]
        found = main([verb, *arguments, *where])
    assert found == code, output.getvalue() + errors.getvalue()
    return output.getvalue() + errors.getvalue()


def test_commands_take_the_names_of_the_configuration(up: UnitUp) -> None:
    port = free_port()
    up.start_unit(configuration(up, port))
    pid, word = get(port).split()
    assert word == "first"
    assert json.loads(cloister(up, "get", "applications"))[NAME]["module"] == "web"

    cloister(up, "set", "applications/Shop%20%2F%20Cart/environment/WORD", '"second"')
    wait_until(lambda: get(port).split()[1] == "second", what="the changed one", seconds=60)
    pid = get(port).split()[0]
    cloister(up, "restart", OWN_NAME)
    wait_until(lambda: get(port).split()[0] != pid, what="another process", seconds=60)

    cloister(up, "stop", OWN_NAME)
    wait_until(lambda: up.app(OWN_NAME).state == "stopped", what="its end", seconds=60)
    cloister(up, "start", OWN_NAME)
    assert get(port, "/after").split()[1] == "second"
    wait_until(
        lambda: "asked /after" in cloister(up, "logs", OWN_NAME), what="its line", seconds=60
    )

    file = up.folder / "next.json"
    whole = configuration(up, port)
    whole["applications"][NAME]["environment"]["WORD"] = "third"
    file.write_text(json.dumps(whole))
    cloister(up, "apply", str(file))
    wait_until(lambda: get(port).split()[1] == "third", what="the applied one", seconds=60)
    whole["applications"][NAME]["module"] = 3
    file.write_text(json.dumps(whole))
    refused = cloister(up, "apply", str(file), code=3)
    assert "`module` has to be a text" in refused
    assert get(port).split()[1] == "third"


def test_after_a_crash_the_last_accepted_configuration_runs(up: UnitUp) -> None:
    port = free_port()
    up.start_unit({"listeners": {}, "applications": {}})
    up.put("/config", configuration(up, port))
    assert get(port).split()[1] == "first"
    up.put(f"{PATH}/environment/WORD", '"second"')
    wait_until(lambda: get(port).split()[1] == "second", what="the changed one", seconds=60)
    assert up.configure("PUT", f"{PATH}/module", "3")["error"] == "Invalid configuration."
    up.kill()
    # Whoever comes meanwhile is served, or waits.
    up.start("--log-format", "json", environment=up.places)
    assert get(port).split()[1] == "second"
    up.wait_ready()
    assert up.configure("GET", f"{PATH}/environment/WORD") == "second"


def test_one_broken_application_costs_no_other(up: UnitUp) -> None:
    port = free_port()
    whole = configuration(up, port)
    whole["applications"]["broken"] = {"type": "python", "path": "/usr", "module": "not_there"}
    up.start_unit(whole, OWN_NAME)
    assert get(port).split()[1] == "first"

    def told() -> bool:
        failure = up.app("broken").failure
        return failure is not None and "not_there" in "".join(failure.last_output)

    wait_until(told, what="the traceback of the broken one", seconds=60)
    up.put(f"{PATH}/environment/WORD", '"second"')
    wait_until(lambda: get(port).split()[1] == "second", what="the changed one", seconds=60)
