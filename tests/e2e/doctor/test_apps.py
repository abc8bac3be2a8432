"""Applications and listeners of a real supervisor: reached by those who are to reach them, or
not any more."""

import contextlib
import io
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.broken import Corner, cure
from tests.support.nginx_front import Nginx, free_port
from tests.support.up import ASGI, Up, open_folder
from tests.support.waiting import wait_until

from cloister.cli.main import main
from cloister.model.finding import Confidence, Finding

pytestmark = pytest.mark.usefixtures("as_root")

PLAIN = """
[apps.plain]
python = "web:app"
directory = "{folder}/apps/one"
listen = ["127.0.0.1:{port}", "[::1]:{port}", "unix:{folder}/plain.sock"]
"""


@pytest.fixture
def up() -> Iterator[Up]:
    with open_folder() as folder:
        up = Up(folder)
        up.write({"one": ASGI})
        try:
            yield up
        finally:
            up.close()


def doctor(up: Up, *arguments: str) -> dict[str, list[Finding]]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.chdir(up.folder):
        assert main(["doctor", "--json", "--config", str(up.config), *arguments]) in (0, 1)
    found: list[dict[str, Any]] = json.loads(printed.getvalue())
    return {
        one["target"]: [
            Finding(**finding | {"confidence": Confidence(finding["confidence"])})
            for finding in one["findings"]
        ]
        for one in found
    }


def codes(found: dict[str, list[Finding]]) -> list[str]:
    return [finding.code for findings in found.values() for finding in findings]


def test_what_the_supervisor_made_is_well_and_is_made_so_again(up: Up) -> None:
    up.start()
    up.wait_ready("one")
    assert codes(doctor(up, "one")) == []
    path = up.runtime / "apps" / "one" / "socket"
    made = [(place.stat().st_gid, place.stat().st_mode) for place in (path.parent, path)]
    os.chown(path.parent, 0, 0)
    path.parent.chmod(0o700)
    os.chown(path, 0, 0)
    path.chmod(0o755)
    found = doctor(up, "one")
    assert codes(found) == ["no-execute-bit", "socket-mode"]
    for findings in found.values():
        for finding in findings:
            cure(finding)
    assert codes(doctor(up, "one")) == []
    # As planned, and not merely open.
    assert [(place.stat().st_gid, place.stat().st_mode) for place in (path.parent, path)] == made


def test_somebody_else_on_the_socket_of_an_application(up: Up) -> None:
    up.start()
    up.wait_ready("one")
    path = up.runtime / "apps" / "one" / "socket"
    path.unlink()
    child = os.fork()
    if child == 0:
        try:
            listening = socket.socket(socket.AF_UNIX)
            listening.bind(str(path))
            path.chmod(0o777)
            os.setresuid(71005, 71005, 71005)
            listening.listen(16)
            while True:
                listening.accept()[0].close()
        finally:
            os._exit(1)
    try:
        wait_until(lambda: "foreign-listener" in codes(doctor(up, "one")), what="a finding")
        assert codes(doctor(up, "one"))[0] == "foreign-listener"
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


GROUP_GID = 71010
"""Nobody's: whoever is in it is there because of the socket."""
LISTENERS = """
[listeners.front]
listen = "unix:{folder}/front/front.sock"
socket = {{ group = "{gid}", mode = "0660", directory-mode = "0711" }}

[listeners.private]
listen = "unix:{folder}/private.sock"
socket = {{ mode = "0600" }}

[listeners.everybody]
listen = ["unix:{folder}/everybody.sock", "unix:@cloister-test-{pid}"]
socket = {{ mode = "0666" }}

[metrics]
listen = "unix:{folder}/metrics.sock"
group = "{gid}"
"""


def test_the_listeners_sockets_are_looked_at_as_those_who_are_to_connect(up: Up) -> None:
    more = LISTENERS.format(folder=up.folder, gid=GROUP_GID, pid=os.getpid())
    up.write({"one": ASGI}, more)
    up.start()
    up.wait_ready("one")
    everything = doctor(up)
    assert codes(everything) == []
    # The one on TCP is none of them.
    assert [target.partition(" ")[0] for target in everything] == [
        "one",
        "front",
        "private",
        "everybody",
        "everybody",
        "metrics",
    ]
    asked = up.folder / "metrics.sock"
    asked.chmod(0o600)
    (finding,) = doctor(up, "metrics")[f"metrics (unix:{asked})"]
    assert finding.code == "socket-mode"
    cure(finding)
    assert asked.stat().st_mode & 0o777 == 0o660
    path = up.folder / "front" / "front.sock"
    made = (path.stat().st_gid, path.stat().st_mode)
    path.chmod(0o755)
    os.chown(path, -1, 0)
    path.parent.chmod(0o700)
    # Whoever owns it gets through: only the group's members do not.
    found = doctor(up, "front")
    assert codes(found) == ["no-execute-bit", "socket-mode"]
    assert codes(doctor(up, "front", "--as", "root")) == []
    everybody = up.folder / "everybody.sock"
    everybody.chmod(0o660)
    abroad = doctor(up, "everybody")
    assert codes(abroad) == ["socket-group"]
    for findings in (*found.values(), *abroad.values()):
        for finding in findings:
            cure(finding)
    assert codes(doctor(up)) == []
    assert (path.stat().st_gid, path.stat().st_mode) == made
    assert everybody.stat().st_mode & 0o777 == 0o666
    with pytest.raises(AssertionError):  # no Unix socket: it says so, and ends with another code
        doctor(up, "https")


def test_a_listener_without_the_group_of_the_nginx_in_front(up: Up) -> None:
    path = up.folder / "web.sock"
    with Corner() as corner:
        behind = corner.directory("behind") / "app.sock"
        corner.serve(behind, umask="000")
        listener = f'listen = "unix:{path}"\nroute = {{ target = "unix:{behind}" }}\n'
        up.write({"one": ASGI}, f"[listeners.web]\n{listener}")
        up.start()
        up.wait_ready("one")
        proxy = f"location / {{ proxy_pass http://unix:{path}; }}"
        front = Nginx(corner, "server { listen unix:{folder}/a.sock; " + proxy + " }\n")
        front.start()
        front.worker()
        # The configuration itself is what keeps nginx out; the cure is for now, and what lasts
        # is said.
        (findings,) = doctor(up, "web").values()
        assert [one.code for one in findings] == ["socket-group"]
        assert "`group` of a Cloister listener" in (findings[0].lasting or "")
        cure(findings[0])
        assert codes(doctor(up, "web")) == []


def test_a_listener_whose_supervisor_is_gone(up: Up) -> None:
    path = up.folder / "left.sock"
    up.write({"one": ASGI}, f'[listeners.left]\nlisten = "unix:{path}"\n')
    up.start()
    up.wait_ready("one")
    up.close()  # killed: the file stays
    assert codes(doctor(up, "left")) == ["stale-socket"]


def test_one_application_on_both_stacks_and_on_a_path(up: Up) -> None:
    port = free_port()
    up.write({"one": ASGI}, PLAIN.format(folder=up.folder, port=port))
    up.start()
    up.wait_ready("one", "plain")
    for family, address in (
        (socket.AF_INET, ("127.0.0.1", port)),
        (socket.AF_INET6, ("::1", port)),
        (socket.AF_UNIX, str(up.folder / "plain.sock")),
    ):
        with socket.socket(family) as client:
            client.settimeout(10)
            client.connect(address)
            client.sendall(b"GET /here HTTP/1.0\r\nHost: plain\r\n\r\n")
            answer = b"".join(iter(lambda one=client: one.recv(4096), b""))
        assert b"asgi http /here" in answer
    assert codes(doctor(up)) == []
    assert not Path(f"{up.folder}/plain.sock").stat().st_mode & 0o007
