"""``cloister up`` with real programs: two applications, one port, real clients."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import psutil
import pytest
from tests.support.processes import command_line
from tests.support.up import SITES, Client, Up, open_folder
from tests.support.waiting import wait_until

ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    with open_folder() as folder:
        running = Up(folder)
        running.write(SITES)
        running.start()
        try:
            running.wait_ready()
            yield running
        finally:
            running.close()


def test_both_names_reach_their_application_through_one_port(up: Up) -> None:
    assert up.curl("one.example", "/a").startswith("asgi https /a ")
    assert up.curl("two.example", "/b") == "wsgi https /b"
    assert up.curl("deep.two.example") == "wsgi https /"


def test_http_1_1_is_agreed_on_where_a_client_offers_more(up: Up) -> None:
    verbose = ("--http2", "--write-out", " %{http_version} %{ssl_verify_result}")
    assert up.curl("two.example", "/", *verbose) == "wsgi https / 1.1 0"


def test_a_name_that_nobody_serves_is_refused(up: Up) -> None:
    with pytest.raises(subprocess.CalledProcessError) as raised:
        up.curl("three.example")
    assert raised.value.returncode == 35  # the handshake failed
    assert "unrecognized name" in raised.value.stderr


def test_the_status_tells_what_runs(up: Up) -> None:
    up.curl("one.example")
    status = up.status()
    assert up.process is not None
    assert status.pid == up.process.pid
    assert status.config == str(up.config)
    assert status.authority == up.authority
    assert status.rootless is not ROOT
    (https,) = status.listeners
    assert re.fullmatch(r"127\.0\.0\.1:[1-9]\d*", https.address)
    assert https.route == "by server name"
    assert https.accepted
    assert status.door.generation == 1
    assert status.door.workers
    pids = {app.pid for app in status.apps} | {status.door.pid}
    children = psutil.Process(status.pid).children()
    (holder,) = (child for child in children if "hold" in command_line(child))
    assert pids == {child.pid for child in children} - {holder.pid}
    one, two = status.apps
    assert (one.name, two.name) == ("one", "two")
    assert one.traffic is not None
    assert one.traffic.accepted >= 1
    assert one.traffic.bytes_to_client > 100
    for app in (one, two):
        fences = {fence.name: fence for fence in app.fences}
        assert fences["system-calls"].detail.startswith("profile default: ")
        assert {name for name, fence in fences.items() if not fence.active} <= {"landlock"}
    if ROOT:
        uids = {one.host_uid, two.host_uid, status.door.host_uid}
        assert len(uids) == 3
        assert 0 not in uids


def test_the_door_is_confined(up: Up) -> None:
    protections = {one.name: one for one in up.status().door.protections}
    assert {"user", "capabilities", "no-new-privileges", "seccomp"} <= protections.keys()
    needed = {"capabilities", "no-new-privileges", "seccomp"}
    assert [name for name in needed if not protections[name].active] == []


@pytest.mark.skipif(not ROOT, reason="needs root: otherwise all share one user")
def test_an_application_sees_its_own_id_and_the_host_another(up: Up) -> None:
    seen = int(up.curl("one.example").split()[-1])
    one = up.app("one")
    assert seen != one.host_uid
    assert one.pid is not None
    family = psutil.Process(one.pid).children(recursive=True)
    assert family
    assert {process.uids().real for process in family} == {one.host_uid}


@pytest.mark.skipif(not ROOT, reason="needs root: otherwise all share one user")
def test_who_may_reach_an_applications_socket(up: Up) -> None:
    one, two = up.status().apps
    knock = (
        "import os, socket, sys; os.setresgid(*[int(sys.argv[2])] * 3);"
        "os.setgroups([]); os.setresuid(*[int(sys.argv[2])] * 3);"
        "socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    )

    def reaches(uid: int) -> bool:
        command = [sys.executable, "-c", knock, one.socket, str(uid)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or "PermissionError" in done.stderr
        return done.returncode == 0

    assert reaches(up.status().door.host_uid)
    assert not reaches(two.host_uid)
    assert not reaches(one.host_uid)
    assert not reaches(65534)


def test_the_supervisor_is_small(up: Up) -> None:
    for _ in range(20):
        up.curl("two.example")
    assert up.process is not None
    resident = psutil.Process(up.process.pid).memory_info().rss
    assert resident <= 40 * 1024 * 1024


def test_the_log_is_json_and_tells_of_each_connection(up: Up) -> None:
    up.curl("one.example", "/logged")

    def records() -> list[dict[str, object]]:
        return [line for line in up.log() if line.get("event") == "connection"]

    wait_until(
        lambda: any(one["name"] == "one.example" for one in records()), what="a record", seconds=30
    )
    record = next(one for one in records() if one["name"] == "one.example")
    assert record["app"] == "one"
    # curl closes without reading the application's last record: then a reset may answer it.
    assert record["outcome"] in ("complete", "client-aborted")
    assert cast("int", record["bytes_to_client"]) > 500
    assert record["listener"] == "https"
    assert any(str(message).startswith("try: curl ") for message in up.said("cloister"))


def test_the_line_that_tells_how_to_reach_a_site_works(up: Up) -> None:
    line = next(
        message
        for message in up.said("cloister")
        if message.startswith("try: curl ") and "two.example" in message
    )
    answer = subprocess.check_output(line.removeprefix("try: ").split(), stderr=subprocess.DEVNULL)
    assert answer == b"wsgi https /"


def test_status_as_a_table_and_as_json(up: Up) -> None:
    command = [sys.executable, "-m", "cloister", "status", str(up.config)]
    table = subprocess.check_output(command, text=True)
    for text in ("https", "127.0.0.1:", "one.example", "two.example", "ready", "protections"):
        assert text in table
    value = json.loads(subprocess.check_output([*command, "--json"], text=True))
    assert [app["name"] for app in value["apps"]] == ["one", "two"]


def test_sighup_does_not_end_it(up: Up) -> None:
    assert up.process is not None
    up.process.send_signal(signal.SIGHUP)
    assert Client(up, "two.example").get() == b"wsgi https /"
    wait_until(
        lambda: any(message.startswith("SIGHUP: ") for message in up.said("cloister")),
        what="a line of the log",
    )


def test_a_second_supervisor_in_the_same_place_is_refused(up: Up) -> None:
    command = [sys.executable, "-m", "cloister", "up", str(up.config)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 1
    assert "another supervisor runs" in second.stderr
    assert up.process is not None
    assert str(up.process.pid) in second.stderr
    assert Client(up, "two.example").get() == b"wsgi https /"


def test_the_certificates_key_is_on_no_disk(up: Up) -> None:
    for folder in (up.state, up.runtime):
        for path in folder.rglob("*"):
            if path.is_file() and b"PRIVATE KEY" in path.read_bytes():
                assert path == Path(up.state) / "authority" / "ca.key"
                assert path.stat().st_mode & 0o077 == 0


def test_it_tells_its_own_supervisor() -> None:
    with open_folder() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(folder / "notify"))
        notify.settimeout(30)
        running = Up(folder)
        running.write({"two": SITES["two"]})
        running.start(environment={"NOTIFY_SOCKET": str(folder / "notify")})
        try:
            assert notify.recv(100).splitlines()[0] == b"READY=1"
            assert Client(running, "two.example").get() == b"wsgi https /"
            assert running.stop() == 0
            assert notify.recv(100).splitlines()[0] == b"STOPPING=1"
        finally:
            running.close()
