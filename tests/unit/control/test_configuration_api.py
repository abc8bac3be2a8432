"""Unit's control API over a configuration that accepts or refuses what it is told to."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast
from unittest import mock

import httpx
import pytest

from cloister.apps.configuration import ConflictError, RunningConfiguration
from cloister.apps.supervisor import Supervisor
from cloister.config import json_text
from cloister.control import configuration_api
from cloister.control.api import application
from cloister.model.configuration import MAX_BYTES, Accepted, Configuration, Dialect
from cloister.model.errors import CloisterError, ConfigError, Location, Problem

UNIT = """// A comment that is not kept.
{
    "cloister": {"state-directory": "/srv/state"},
    "listeners": {"*:80": {"pass": "applications/My App"}, "unix:/run/a.sock": {"pass": "x"}},
    "applications": {
        "My App": {"type": "external", "executable": "/a", "arguments": ["x"]},
        "two": {"type": "python", "targets": {"a": {"module": "a"}, "b": {"module": "b"}}}
    }
}"""
Hook = Callable[[dict[str, Any]], None]


class FakeConfiguration:
    def __init__(self, text: str) -> None:
        self.accepted = Accepted(1, Configuration(text, Dialect.JSON, "/etc/u.json"), "d", 1.0)
        self.hook: Hook = lambda document: None
        """Called with each document; raises what the supervisor would."""
        self.between = 0
        """So many changes come between a reading and a change."""
        self.running = 0

    def current(self) -> Accepted:
        return self.accepted

    async def replace(
        self, text: str, dialect: Dialect, *, expected: int | None = None
    ) -> Accepted:
        assert dialect is Dialect.JSON
        assert self.running == 0, "one change at a time"
        self.running += 1
        await asyncio.sleep(0)
        self.running -= 1
        if self.between:
            self.between -= 1
            self.accepted = replace(self.accepted, version=self.accepted.version + 1)
        if expected != self.accepted.version:
            raise ConflictError("another version runs")
        self.hook(json.loads(text))
        configuration = replace(self.accepted.configuration, text=text)
        self.accepted = replace(
            self.accepted, version=self.accepted.version + 1, configuration=configuration
        )
        return self.accepted

    @property
    def document(self) -> Any:
        return json.loads(self.accepted.configuration.text)


class FakeSupervisor:
    def __init__(self) -> None:
        self.commands: list[tuple[str, str]] = []

    def command(self, name: str, verb: str) -> None:
        self.commands.append((name, verb))


async def no_metrics() -> str:
    raise AssertionError("nobody asks here")


class Api:
    def __init__(self, text: str = UNIT) -> None:
        self.configuration = FakeConfiguration(text)
        self.supervisor = FakeSupervisor()
        self.app = application(
            cast("Supervisor", self.supervisor),
            cast("RunningConfiguration", self.configuration),
            no_metrics,
        )

    def ask(self, method: str, path: str, body: str | bytes | None = None) -> tuple[int, Any]:
        ((code, answer),) = asyncio.run(self.ask_all([(method, path, body)]))
        return code, answer

    async def ask_all(
        self, requests: list[tuple[str, str, str | bytes | None]]
    ) -> list[tuple[int, Any]]:
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            responses = await asyncio.gather(
                *(client.request(method, path, content=body) for method, path, body in requests)
            )
        return [(response.status_code, response.json()) for response in responses]


DONE = (200, {"success": "Reconfiguration done."})


def test_what_runs_is_read_by_path() -> None:
    api = Api()
    code, document = api.ask("GET", "/config")
    assert code == 200
    assert list(document) == ["cloister", "listeners", "applications"]
    assert api.ask("GET", "/config/") == (200, document)
    assert api.ask("GET", "/config/listeners/*:80/pass") == (200, "applications/My App")
    assert api.ask("GET", "/config/listeners/unix:%2Frun%2Fa.sock") == (200, {"pass": "x"})
    assert api.ask("GET", "/config/applications/My%20App/arguments/0") == (200, "x")


def test_a_native_configuration_is_read_the_same_way() -> None:
    api = Api('[listeners.https]\nlisten = "*:443"\n[apps.blog]\npython = "a:b"\n')
    assert api.ask("GET", "/config/apps/blog/python") == (200, "a:b")
    assert api.ask("PUT", "/config/apps/blog/threads", "4") == DONE
    assert api.configuration.document["apps"]["blog"] == {"python": "a:b", "threads": 4}


def test_changes() -> None:
    api = Api()
    assert api.ask("PUT", "/config/applications/My%20App/user", '"root" // why not') == DONE
    assert api.ask("POST", "/config/applications/My%20App/arguments", '"y"') == DONE
    assert api.ask("DELETE", "/config/listeners/unix:%2Frun%2Fa.sock") == DONE
    document = api.configuration.document
    assert document["applications"]["My App"]["user"] == "root"
    assert document["applications"]["My App"]["arguments"] == ["x", "y"]
    assert list(document["listeners"]) == ["*:80"]
    assert api.configuration.accepted.version == 4


def test_a_whole_configuration_leaves_the_supervisor_s_places_alone() -> None:
    api = Api()
    places = {"state-directory": "/srv/state"}
    assert api.ask("PUT", "/config", '\ufeff{"listeners": {}}'.encode()) == DONE
    assert api.configuration.document == {"cloister": places, "listeners": {}}
    assert api.ask("PUT", "/config", '{"cloister": {}}') == DONE
    assert api.configuration.document == {"cloister": {}}
    api = Api()
    assert api.ask("DELETE", "/config") == DONE
    assert api.configuration.document == {"cloister": places}


@pytest.mark.parametrize(
    ("method", "path", "code", "error"),
    [
        ("GET", "/config/nothing", 404, "Value doesn't exist."),
        ("PUT", "/config/nothing/below", 404, "Value doesn't exist."),
        ("DELETE", "/config/nothing", 404, "Value doesn't exist."),
        ("POST", "/config/listeners", 405, "Method isn't allowed."),
        ("POST", "/config", 405, "Method isn't allowed."),
        ("GET", "/config//x", 400, "Invalid path."),
        ("GET", "/config/%ff", 400, "Invalid path."),
        ("GET", "/control/applications/none/restart", 404, "Value doesn't exist."),
        ("GET", "/control/applications/two/stop", 404, "Value doesn't exist."),
        ("GET", "/control/applications/two", 404, "Value doesn't exist."),
    ],
)
def test_requests_that_do_not_fit(method: str, path: str, code: int, error: str) -> None:
    api = Api()
    found, answer = api.ask(method, path, "{}" if method in ("PUT", "POST") else None)
    assert (found, answer["error"]) == (code, error)
    assert answer["detail"]
    assert api.configuration.accepted.version == 1
    assert api.supervisor.commands == []


@pytest.mark.parametrize(
    ("body", "location"),
    [
        (b'{\n"a": 1,\n"a": 2}', {"offset": 10, "line": 3, "column": 1}),
        (b"", {"offset": 0, "line": 1, "column": 1}),
        (b"\xff", {"offset": 0, "line": 1, "column": 1}),
    ],
)
def test_what_is_no_json(body: bytes, location: dict[str, int]) -> None:
    code, answer = Api().ask("PUT", "/config", body)
    assert (code, answer["error"], answer["location"]) == (400, "Invalid JSON.", location)
    assert answer["detail"]


def test_too_much() -> None:
    code, answer = Api().ask("PUT", "/config", b" " * (MAX_BYTES + 1))
    assert code == 413
    assert "longer than" in answer["what"]


def test_a_refused_change_says_all_and_changes_nothing() -> None:
    api = Api()

    def refuse(document: dict[str, Any]) -> None:
        places = [
            (12, "/applications/My App/isolation/uidmap/0/size"),
            (7, "/listeners/unix:~1run~1a.sock"),
        ]
        problems = [
            Problem("bad", f"no {key}", Location("/f", n, key), "why", "do") for n, key in places
        ]
        raise ConfigError(problems)

    api.configuration.hook = refuse
    body = '{\n"uidmap": [\n{"size": 0}]}'
    code, answer = api.ask("PUT", "/config/applications/My%20App/isolation", body)
    assert (code, answer["error"]) == (400, "Invalid configuration.")
    assert answer["detail"] == (
        "/applications/My App/isolation/uidmap/0/size: "
        "no /applications/My App/isolation/uidmap/0/size: why; do (and 1 more)"
    )
    # The lines are those of what was sent, which is all that the sender knows.
    assert [one.get("line") for one in answer["problems"]] == [3, None]
    assert answer["problems"][1]["pointer"] == "/listeners/unix:~1run~1a.sock"
    assert api.configuration.accepted.version == 1


def test_lines_of_an_appended_element() -> None:
    api = Api()

    def refuse(document: dict[str, Any]) -> None:
        where = Location("/f", 1, "/applications/My App/arguments/1/deep")
        raise ConfigError([Problem("bad", "no", where)])

    api.configuration.hook = refuse
    _, answer = api.ask("POST", "/config/applications/My%20App/arguments", '{\n\n"deep": 1}')
    assert answer["problems"][0]["line"] == 3


def test_what_cannot_be_applied_is_told_with_its_reason() -> None:
    api = Api()

    def fail(document: dict[str, Any]) -> None:
        raise CloisterError("0.0.0.0:80 is in use", why="nginx listens there", hint="stop it")

    api.configuration.hook = fail
    assert api.ask("PUT", "/config", "{}") == (
        500,
        {
            "error": "Failed to apply new configuration.",
            "detail": "0.0.0.0:80 is in use: nginx listens there; stop it",
        },
    )


def test_a_change_is_made_anew_when_another_comes_between() -> None:
    api = Api()
    api.configuration.between = 3
    assert api.ask("PUT", "/config/applications/My%20App/user", '"a"') == DONE
    api.configuration.between = 100
    code, answer = api.ask("PUT", "/config/applications/My%20App/user", '"b"')
    assert (code, answer["error"]) == (500, "Failed to apply new configuration.")
    assert api.configuration.document["applications"]["My App"]["user"] == "a"


def test_no_change_of_many_at_once_is_lost() -> None:
    api = Api()
    api.configuration.hook = lambda document: None
    requests: list[tuple[str, str, str | bytes | None]] = [
        ("POST", "/config/applications/My%20App/arguments", str(number)) for number in range(50)
    ]
    assert asyncio.run(api.ask_all(requests)) == [DONE] * 50
    arguments = api.configuration.document["applications"]["My App"]["arguments"]
    assert sorted(arguments[1:]) == list(range(50))


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_applications_are_restarted_by_the_names_of_the_configuration(method: str) -> None:
    api = Api()
    assert api.ask(method, "/control/applications/My%20App/restart") == (200, {"success": "Ok"})
    assert api.ask(method, "/control/applications/two/restart") == (200, {"success": "Ok"})
    assert api.supervisor.commands == [
        ("my-app", "restart"),
        ("two-a", "restart"),
        ("two-b", "restart"),
    ]


def test_every_line_is_looked_at_once_however_many_problems_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api = Api()
    names = [f"a{number}" for number in range(100)]
    asked = mock.Mock(wraps=json_text.pointer)
    monkeypatch.setattr(configuration_api, "pointer", asked)

    def refuse(document: dict[str, Any]) -> None:
        places = [Location("/f", 1, f"/applications/{name}") for name in names]
        raise ConfigError([Problem("bad", "no", where) for where in places])

    api.configuration.hook = refuse
    _, answer = api.ask(
        "PUT", "/config/applications", json.dumps(dict.fromkeys(names, 1), indent=0)
    )
    assert [one["line"] for one in answer["problems"]] == list(range(2, 102))
    assert asked.call_count <= 3 * len(names)
