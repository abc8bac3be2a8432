"""doctor where SELinux enforces: nginx in its domain is refused, the kernel's own lines name the
cause, and the printed cure changes the policy: ``make test-mac``."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from tests.support import packages
from tests.support.guest import PACKAGES, Guest, image

import cloister

# Emulated: each step takes many times longer than on a processor.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

KERNEL = "security=selinux selinux=1 enforcing=1"
PATH = "/run/app.sock"
SITE = f"server {{ listen 127.0.0.1:80; location / {{ proxy_pass http://unix:{PATH}; }} }}"
SERVER = """\
import os, socket
os.umask(0)
listening = socket.socket(socket.AF_UNIX)
listening.bind("/run/app.sock")
listening.listen(64)
while True:
    connection, _ = listening.accept()
    if connection.recv(4096):
        connection.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: 3\\r\\n\\r\\nok\\n")
    connection.close()
"""


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """A machine with nginx before a server, both as systemd starts them."""
    packages.need(*PACKAGES)
    folder = tmp_path_factory.mktemp("doctor")
    payload = folder / "payload"
    for package in (cloister, click):
        source = Path(package.__file__).parent
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, payload / source.name, ignore=ignored)
    (payload / "site.conf").write_text(SITE)
    (payload / "server.py").write_text(SERVER)
    with Guest(image(), KERNEL, payload, folder) as machine:
        assert machine.check("getenforce").strip() == "Enforcing"
        machine.check(
            "rm -f /etc/nginx/sites-enabled/default && cp /mnt/site.conf /etc/nginx/conf.d/"
            " && restorecon -RF /etc/nginx && cp /mnt/server.py /usr/local/lib/"
        )
        machine.check("systemd-run --unit=app python3 /usr/local/lib/server.py")
        machine.check(f"for i in $(seq 200); do test -S {PATH} && break; sleep 0.1; done")
        machine.check("dmesg -C; systemctl restart nginx")
        yield machine


def status(guest: Guest) -> str:
    command = "curl --silent --max-time 60 --output /dev/null --write-out '%{http_code}'"
    return guest.run(f"{command} http://127.0.0.1/").output.strip()


def doctor(guest: Guest) -> list[dict[str, Any]]:
    command = 'python3 -B -m cloister doctor --json --log "$(tail -1 /var/log/nginx/error.log)"'
    answer = guest.run(f"cd / && PYTHONPATH=/mnt {command}")
    assert answer.status in (0, 1), answer.output
    (diagnosis,) = json.loads(answer.output)
    findings: list[dict[str, Any]] = diagnosis["findings"]
    return findings


def test_a_socket_that_nginx_s_domain_may_not_connect_to(guest: Guest) -> None:
    """One permission after the other: SELinux refuses at the first."""
    seen = []
    while status(guest) != "200":
        findings = doctor(guest)
        assert [finding["code"] for finding in findings] == ["mac-denial"], guest.run(
            "dmesg"
        ).output
        assert findings[0]["seen"] not in seen, "the cure did not cure"
        seen.append(findings[0]["seen"])
        guest.check(findings[0]["cure"])
    assert seen
    assert all("httpd_t" in one for one in seen)
    assert doctor(guest) == []
