"""``cloister up`` puts limits into force, says which, and what came of them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.up import SITES, WSGI, Up, open_folder
from tests.support.waiting import wait_until

from cloister.cells.cgroups.groups import control_groups
from cloister.cells.cgroups.hierarchies import discover
from cloister.control.client import ControlClient
from cloister.model.snapshot import Paths

GREEDY = """
kept = []
def app(environ, start_response):
    while environ["PATH_INFO"] == "/hog":
        kept.append(bytearray(1 << 20))
    body = b"greedy"
    start_response("200 OK", [("content-length", str(len(body)))])
    return [body]
"""
BOMB = """
import subprocess
FORKS = '''
import os, time
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.01)
'''
def app(environ, start_response):
    body = b"no bomb"
    if environ["PATH_INFO"] == "/bomb":
        subprocess.Popen(["/usr/bin/python3", "-I", "-c", FORKS])
        body = b"a bomb"
    start_response("200 OK", [("content-length", str(len(body)))])
    return [body]
"""
LIMITS = '[apps.greedy.limits]\nmemory = "96M"\nswap = "0"\npids = 40\ncpu-weight = 50\n'
FANTASTIC = '[apps.fantastic.limits]\ncpus = "4095"\n'


@pytest.fixture
def up() -> Iterator[Up]:
    if os.geteuid() != 0 or discover().site("memory") is None:
        pytest.skip("needs root, and control groups with memory")
    with open_folder() as folder:
        running = Up(folder)
        try:
            yield running
        finally:
            running.close()


def folders(up: Up) -> list[Path]:
    name = control_groups(Paths(str(up.runtime), str(up.state))).name
    places = [Path(site.folder, name) for site in discover().sites]
    return [place for place in places if place.exists()]


def test_a_hog_is_killed_alone_and_comes_back(up: Up) -> None:
    up.write({**SITES, "greedy": GREEDY}, LIMITS)
    up.start()
    up.wait_ready()
    resources = up.app("greedy").resources
    assert resources is not None
    assert {one.name: one.value for one in resources.limits if one.in_force} == {
        "memory": "96 MiB",
        "swap": "none",
        "cpu-weight": "50",
        "pids": "40",
    }
    assert resources.usage.cpu_seconds
    assert resources.usage.memory_bytes
    others = [up.app(name).pid for name in SITES]
    up.curl("greedy.example", "/hog", "--fail-with-body", "--output", "/dev/null", check=False)
    wait_until(lambda: up.app("greedy").restarts > 0, what="the restart", seconds=30)
    up.wait_ready()
    assert up.curl("greedy.example") == "greedy"
    # The group outlives the process: what has happened is not forgotten.
    resources = up.app("greedy").resources
    assert resources is not None
    assert resources.counters.oom_kills >= 1
    assert [up.app(name).pid for name in SITES] == others
    said = "killed for lack of memory: its limit `memory` is used up"
    wait_until(lambda: said in up.log_path.read_text(), what="the line in the log", seconds=30)
    defaults = up.app("one").resources
    assert defaults is not None
    assert [one.name for one in defaults.limits if one.default] == ["memory", "pids"]
    assert folders(up)
    assert up.stop() == 0
    assert folders(up) == []


def test_what_has_used_up_its_processes_is_restarted_all_the_same(up: Up) -> None:
    up.write({"one": SITES["one"], "bomb": BOMB}, "[apps.bomb.limits]\npids = 40\n")
    up.start("--log-format", "json")
    up.wait_ready()
    before = up.app("bomb").pid
    up.curl("bomb.example", "/bomb")

    def full() -> bool:
        resources = up.app("bomb").resources
        return resources is not None and resources.counters.pids_refused > 10

    wait_until(full, what="the bomb at its limit", seconds=60)
    with ControlClient(str(up.runtime / "control.sock")) as client:
        client.command("bomb", "restart")
    wait_until(
        lambda: (now := up.app("bomb")).pid not in {None, before} and now.state == "ready",
        what="a process in its place",
        seconds=60,
    )
    assert up.curl("bomb.example") == "no bomb"
    assert any("no room for another process" in text for text in up.said("bomb"))
    (one,) = [app for app in up.status().apps if app.name == "one"]
    assert one.restarts == 0


def test_a_limit_that_cannot_be_had_stops_its_own_application_only(up: Up) -> None:
    up.write({"one": SITES["one"], "fantastic": WSGI}, FANTASTIC)
    up.start()
    up.wait_ready("one")
    wait_until(lambda: up.app("fantastic").failure is not None, what="the refusal", seconds=30)
    failure = up.app("fantastic").failure
    assert failure is not None
    assert failure.message == "the limits of fantastic cannot be put into force"
    assert "cpus = 4095" in failure.last_output[0]
    assert up.curl("one.example", "/x").startswith("asgi https /x")
    assert up.stop() == 0
    assert folders(up) == []


def test_a_limit_that_cannot_be_had_is_reported_where_that_will_do(up: Up) -> None:
    up.write({"fantastic": WSGI}, FANTASTIC + "required = false\n")
    up.start()
    up.wait_ready()
    resources = up.app("fantastic").resources
    assert resources is not None
    missing = [one for one in resources.limits if not one.in_force]
    assert [one.name for one in missing] == ["cpus"]
    assert "cpuset.cpus" in missing[0].detail


def test_groups_of_a_killed_supervisor_are_the_next_ones(up: Up) -> None:
    up.write({"one": SITES["one"]})
    up.start()
    up.wait_ready()
    assert up.process is not None
    up.process.kill()
    up.process.wait(10)
    assert folders(up)
    up.start()
    up.wait_ready()
    # Of one application there is one cell: taken over, or ended and made anew.
    cells = [path for folder in folders(up) for path in folder.glob("one/*") if path.is_dir()]
    assert len(cells) == 1
    resources = up.app("one").resources
    assert resources is not None
    assert all(one.in_force for one in resources.limits)
    assert up.stop() == 0
    assert folders(up) == []
