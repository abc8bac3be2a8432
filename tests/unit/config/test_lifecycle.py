"""The settings of an application's life, from text to values."""

from pathlib import PurePosixPath

import pytest

from cloister.config.load import build
from cloister.config.problems import Code
from cloister.config.source import parse
from cloister.config.surroundings import Surroundings
from cloister.model.app import App, Endpoint, Readiness
from cloister.model.errors import ConfigError
from cloister.model.lifecycle import (
    HttpProbe,
    LogOptions,
    LogTarget,
    Processes,
    RestartPolicy,
    RestartWhen,
)

HEAD = '[listeners.https]\nlisten = "*:443"\n[apps.a]\nhosts = ["a.example"]\n'
COMMAND = 'command = ["/srv/a/server"]\n'
PYTHON = 'python = "web:app"\ndirectory = "a"\n'
SURROUNDINGS = Surroundings(PurePosixPath("/srv/site"), 0, {}, lambda name: f"/usr/bin/{name}")


def app(text: str) -> App:
    (found,) = build(parse("c.toml", HEAD + text), SURROUNDINGS, check_files=False).apps
    return found


def refused(text: str) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        app(text)
    return [(problem.code, problem.where.key) for problem in caught.value.problems]


def test_what_is_not_given() -> None:
    plain = app(COMMAND)
    assert plain.processes == Processes(1)
    assert plain.restart == RestartPolicy(RestartWhen.ALWAYS, 20, 600.0, rolling=True)
    assert plain.idle_stop is None
    assert plain.log == LogOptions(LogTarget.AUTO, 10 * 1024 * 1024, 4)
    assert plain.port == 8080


def test_everything_given() -> None:
    full = app(
        COMMAND
        + 'endpoint = "port"\nport = 3000\nidle-stop = "5m"\nready = "http:/health?deep=1"\n'
        + 'processes = { max = 10, spare = 2, idle-timeout = "1m" }\n'
        + 'restart = { when = "on-failure", failures = 3, window = "1m", rolling = false }\n'
        + 'log = { to = "files", size = "1M", files = 2, rate = 5 }\n'
    )
    assert (full.endpoint, full.port, full.idle_stop) == (Endpoint.PORT, 3000, 300.0)
    assert full.ready == HttpProbe("/health?deep=1")
    assert full.processes == Processes(10, 2, 60.0)
    assert full.restart == RestartPolicy(RestartWhen.ON_FAILURE, 3, 60.0, rolling=False)
    assert full.log == LogOptions(LogTarget.FILES, 1024 * 1024, 2, 5)


def test_a_number_of_requests_after_which_a_process_is_relieved() -> None:
    counted = app(PYTHON + "restart = { after-requests = 10000 }\n")
    assert counted.restart == RestartPolicy(after_requests=10000)


def test_the_short_forms() -> None:
    short = app(COMMAND + 'processes = 4\nrestart = "never"\nready = "notify"\n')
    assert short.processes == Processes(4)
    assert short.restart == RestartPolicy(RestartWhen.NEVER)
    assert short.ready is Readiness.NOTIFY


def test_a_table_of_processes_has_unit_s_defaults() -> None:
    assert app(COMMAND + "processes = {}\n").processes == Processes(1, 0, 15.0)


def test_as_many_connections_as_inetd_would_take_have_a_bound() -> None:
    assert app(COMMAND + 'endpoint = "stdio"\n').processes.most == 64


@pytest.mark.parametrize(
    ("text", "code", "key"),
    [
        (PYTHON + 'endpoint = "bind"', Code.CONFLICTING_KEYS, "endpoint"),
        (PYTHON + 'endpoint = "stdio"', Code.CONFLICTING_KEYS, "endpoint"),
        (COMMAND + "port = 80", Code.UNUSED_SETTING, "port"),
        (COMMAND + "processes = 0", Code.OUT_OF_RANGE, "processes"),
        (COMMAND + "processes = 1001", Code.OUT_OF_RANGE, "processes"),
        (COMMAND + 'processes = "4"', Code.WRONG_TYPE, "processes"),
        (COMMAND + "processes = { spare = 2 }", Code.CONFLICTING_KEYS, "processes.spare"),
        (COMMAND + "processes = { min = 2 }", Code.UNKNOWN_KEY, "processes.min"),
        (COMMAND + 'restart = "sometimes"', Code.UNKNOWN_VALUE, "restart"),
        (
            COMMAND + "restart = { after-requests = 10 }",
            Code.CONFLICTING_KEYS,
            "restart.after-requests",
        ),
        (
            PYTHON + "restart = { after-requests = 0 }",
            Code.OUT_OF_RANGE,
            "restart.after-requests",
        ),
        (COMMAND + 'ready = "http:health"', Code.UNKNOWN_VALUE, "ready"),
        (COMMAND + 'ready = "http:/a b"', Code.UNKNOWN_VALUE, "ready"),
        (
            COMMAND + 'endpoint = "handoff"\nready = "http:/"',
            Code.CONFLICTING_KEYS,
            "ready",
        ),
        (
            COMMAND + 'endpoint = "handoff"\nidle-stop = "1m"',
            Code.CONFLICTING_KEYS,
            "idle-stop",
        ),
        (
            COMMAND + 'endpoint = "handoff"\nprocesses = { max = 2 }',
            Code.CONFLICTING_KEYS,
            "processes.spare",
        ),
        (COMMAND + 'endpoint = "stdio"\nready = "accept"', Code.UNUSED_SETTING, "ready"),
        (COMMAND + 'endpoint = "stdio"\nidle-stop = "1m"', Code.UNUSED_SETTING, "idle-stop"),
        (
            COMMAND + 'endpoint = "stdio"\nprocesses = { max = 2 }',
            Code.CONFLICTING_KEYS,
            "processes.spare",
        ),
        (COMMAND + 'log = { to = "journal", size = "1M" }', Code.UNUSED_SETTING, "log.size"),
    ],
)
def test_what_does_not_go_together(text: str, code: Code, key: str) -> None:
    found = refused(text + "\n")
    assert len(found) == 1
    assert found[0][0] == code
    # What is not written has no line of its own: its table is named.
    assert found[0][1] in {f"apps.a.{key}", f"apps.a.{key.partition('.')[0]}"}
