"""What units do to sockets, under a real systemd: reference 001's PrivateTmp first of all."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from tests.support import systemd
from tests.support.systemd import Container
from tests.support.waiting import wait_until

import cloister

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(900)]  # the first makes the file system

Json = dict[str, Any]

SERVER = """\
import os, socket, sys
if os.environ.get("LISTEN_FDS"):
    listening = socket.socket(fileno=3)
else:
    if os.path.exists(sys.argv[1]):
        os.unlink(sys.argv[1])
    os.umask(0)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(sys.argv[1])
    listening.listen(128)
while True:
    connection, _ = listening.accept()
    if connection.recv(4096):
        connection.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: 3\\r\\n\\r\\nok\\n")
    connection.close()
"""

SCRIPT = """\
#!/usr/bin/python3
import sys
from cloister.cli.main import main
sys.exit(main())
"""

SITE = "server {{ listen 127.0.0.1:80; location / {{ proxy_pass http://unix:{path}; }} }}\n"


class Host:
    """The container with the command, nginx and servers as units."""

    def __init__(self, container: Container) -> None:
        self.container = container
        packages = Path("/usr/lib/python3/dist-packages")
        for package in (cloister, click):
            place = container.view / str(packages / package.__name__).lstrip("/")
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(Path(package.__file__).parent, place, ignore=ignored)
        container.write("/usr/local/bin/cloister", SCRIPT, mode=0o755)
        container.write("/usr/local/lib/server.py", SERVER)
        container.run("rm", "--force", "/etc/nginx/sites-enabled/default")

    def serve(self, name: str, path: str, settings: str = "", *, start: bool = True) -> None:
        """A service that makes its own socket."""
        self.container.write(
            f"/etc/systemd/system/{name}.service",
            f"[Service]\nExecStart=/usr/bin/python3 /usr/local/lib/server.py {path}\n{settings}",
        )
        self.container.run("systemctl", "daemon-reload")
        if start:
            self.container.run("systemctl", "start", f"{name}.service")

    def front(self, path: str, settings: str = "") -> None:
        """nginx before ``path``, with settings of its unit."""
        self.container.write("/etc/nginx/conf.d/site.conf", SITE.format(path=path))
        drop_in = "/etc/systemd/system/nginx.service.d/test.conf"
        self.container.write(drop_in, f"[Service]\n{settings}\n")
        self.container.run("systemctl", "daemon-reload")
        self.container.run("systemctl", "restart", "nginx.service")

    def status(self) -> str:
        command = ["curl", "--silent", "--max-time", "10", "--output", "/dev/null"]
        done = self.container.run(
            *command, "--write-out", "%{http_code}", "http://127.0.0.1/", check=False
        )
        return done.stdout

    def complaint(self) -> str:
        wait_until(lambda: self.status() == "502", what="nginx's complaint")
        return self.container.output("tail", "-n", "1", "/var/log/nginx/error.log")

    def doctor(self, *arguments: str) -> list[Json]:
        """The findings for one target."""
        done = self.container.run(
            "/usr/local/bin/cloister", "doctor", "--json", *arguments, check=False
        )
        assert done.returncode in (0, 1), done.stderr
        (diagnosis,) = json.loads(done.stdout)
        findings: list[Json] = diagnosis["findings"]
        return findings

    def cure(self, finding: Json) -> None:
        self.container.run("sh", "-c", finding["cure"])

    def is_cured(self, *arguments: str) -> None:
        """Nothing is found any more, once what the cure started has started."""
        wait_until(lambda: self.doctor(*arguments) == [], what="no finding")

    def wait_for(self, path: str) -> None:
        wait_until(
            lambda: self.container.run("test", "-S", path, check=False).returncode == 0, what=path
        )


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """One for all: each test has names of its own."""
    with systemd.booted() as container:
        yield Host(container)


def codes(findings: list[Json]) -> list[str]:
    return [finding["code"] for finding in findings]


def test_the_private_tmp_of_nginx(host: Host) -> None:
    path = "/tmp/printerfacts.sock"
    host.serve("printerfacts", path)
    host.wait_for(path)
    host.front(path, "PrivateTmp=yes")
    line = host.complaint()
    findings = host.doctor("--log", line)
    assert codes(findings) == ["private-tmp"]
    assert "nginx.service" in findings[0]["why"]
    host.cure(findings[0])
    wait_until(lambda: host.status() == "200", what="an answer through nginx")
    assert host.doctor(path, "--as", "nginx") == []


@pytest.mark.slow
def test_the_private_tmp_of_the_server(host: Host) -> None:
    path = "/tmp/hidden.sock"
    host.serve("hidden", path, "PrivateTmp=yes\n")
    wait_until(lambda: codes(host.doctor(path, "--as", "www-data")) == ["private-tmp"], what="it")
    (finding,) = host.doctor(path, "--as", "www-data")
    assert "hidden.service" in finding["why"]
    host.cure(finding)
    host.wait_for(path)
    host.is_cured(path, "--as", "www-data")


@pytest.mark.slow
def test_homes_that_a_unit_does_not_see(host: Host) -> None:
    path = "/home/alice/run/app.sock"
    host.container.run("mkdir", "--parents", "/home/alice/run")
    host.serve("homely", path)
    host.wait_for(path)
    host.front(path, "ProtectHome=yes")
    findings = host.doctor("--log", host.complaint())
    assert codes(findings) == ["other-mount-view"]
    host.cure(findings[0])
    wait_until(lambda: host.status() == "200", what="an answer through nginx")


@pytest.mark.slow
def test_a_network_of_its_own(host: Host) -> None:
    host.container.write(
        "/etc/systemd/system/abstract.socket", "[Socket]\nListenStream=@abstract\n"
    )
    host.serve("abstract", "unused", start=False)
    host.container.run("systemctl", "start", "abstract.socket")
    host.container.write(
        "/etc/systemd/system/alone.service",
        "[Service]\nExecStart=/usr/bin/sleep 1000\nUser=www-data\nPrivateNetwork=yes\n",
    )
    host.container.run("systemctl", "daemon-reload")
    host.container.run("systemctl", "start", "alone.service")
    findings = host.doctor("@abstract", "--as", main_pid(host, "alone"))
    assert codes(findings) == ["other-network"]
    host.cure(findings[0])
    wait_until(
        lambda: host.doctor("@abstract", "--as", main_pid(host, "alone")) == [], what="no finding"
    )


def main_pid(host: Host, name: str) -> str:
    return host.container.show(f"{name}.service", "MainPID")["MainPID"]


@pytest.mark.slow
def test_an_inactive_socket_unit(host: Host) -> None:
    path = "/run/idle.sock"
    host.container.write(
        "/etc/systemd/system/idle.socket", f"[Socket]\nListenStream={path}\nSocketMode=0666\n"
    )
    host.serve("idle", "unused", start=False)
    findings = host.doctor(path, "--as", "www-data")
    assert codes(findings) == ["unit-inactive"]
    host.cure(findings[0])
    host.is_cured(path, "--as", "www-data")


def test_a_failed_service_and_the_socket_that_it_left(host: Host) -> None:
    path = "/run/failing.sock"
    host.serve("failing", path)
    host.wait_for(path)
    host.container.run("systemctl", "kill", "--signal=KILL", "failing.service")
    host.container.wait_for_state("failing.service", "failed")
    findings = host.doctor(path, "--as", "www-data")
    assert codes(findings) == ["unit-failed", "stale-socket"]
    assert "signal" in findings[0]["seen"]
    host.cure(findings[0])
    host.is_cured(path, "--as", "www-data")


@pytest.mark.slow
def test_a_unit_that_makes_the_wrong_type(host: Host) -> None:
    path = "/run/packets.sock"
    host.container.write(
        "/etc/systemd/system/packets.socket",
        f"[Socket]\nListenSequentialPacket={path}\nSocketMode=0666\n",
    )
    host.serve("packets", "unused", start=False)
    host.container.run("systemctl", "start", "packets.socket")
    findings = host.doctor(path, "--as", "www-data")
    assert codes(findings) == ["wrong-type"]
    host.cure(findings[0])
    host.is_cured(path, "--as", "www-data")


@pytest.mark.slow
def test_somebody_else_on_the_socket_of_a_service(host: Host) -> None:
    path = "/run/taken.sock"
    host.serve("taken", path)
    host.wait_for(path)
    command = f"setsid --fork python3 /usr/local/lib/server.py {path} </dev/null >/dev/null 2>&1"
    host.container.run("sh", "-c", command)
    wait_until(lambda: host.doctor(path, "--as", "www-data") != [], what="a finding")
    findings = host.doctor(path, "--as", "www-data")
    assert codes(findings) == ["foreign-listener"]
    host.cure(findings[0])
    host.is_cured(path, "--as", "www-data")


@pytest.mark.slow
def test_a_group_that_a_service_does_not_have_yet(host: Host) -> None:
    path = "/run/grouped.sock"
    host.container.run("groupadd", "shared")
    host.container.write(
        "/etc/systemd/system/grouped.socket",
        f"[Socket]\nListenStream={path}\nSocketMode=0660\nSocketGroup=shared\n",
    )
    host.serve("grouped", "unused", start=False)
    host.container.run("systemctl", "start", "grouped.socket")
    host.container.write(
        "/etc/systemd/system/client.service",
        "[Service]\nExecStart=/usr/bin/sleep 1000\nUser=www-data\n",
    )
    host.container.run("systemctl", "daemon-reload")
    host.container.run("systemctl", "start", "client.service")
    findings = host.doctor(path, "--as", main_pid(host, "client"))
    assert codes(findings) == ["socket-group"]
    host.container.run("usermod", "--append", "--groups", "shared", "www-data")
    findings = host.doctor(path, "--as", main_pid(host, "client"))
    assert codes(findings) == ["group-not-in-process"]
    assert findings[0]["cure"] == "systemctl restart client.service"
    host.cure(findings[0])
    wait_until(lambda: host.doctor(path, "--as", main_pid(host, "client")) == [], what="no finding")
