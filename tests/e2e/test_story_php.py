"""The story of tests/e2e/systemd on this machine itself: nginx, php-fpm and the door in a
network namespace with names of its own, the door activated by systemd-socket-activate."""

import contextlib
import errno
import grp
import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.door import program
from tests.support.namespaces import NamesNamespace
from tests.support.packages import need
from tests.support.php_story import FIRST, NAME, SCRIPT, SECOND, Visitors, pool
from tests.support.waiting import wait_until

from cloister.cli.main import main

pytestmark = pytest.mark.usefixtures("as_root")

CONNECT = "import socket, sys; sys.exit(socket.socket(socket.AF_UNIX).connect_ex(sys.argv[1]))"

NGINX = """\
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
user www-data www-data;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/tmp/body;
    fastcgi_temp_path {folder}/tmp/fastcgi;
    proxy_temp_path {folder}/tmp/proxy;
    uwsgi_temp_path {folder}/tmp/uwsgi;
    scgi_temp_path {folder}/tmp/scgi;
    include {folder}/made/etc/nginx/conf.d/*.conf;
    server {{
        listen 127.0.0.1:80 backlog=4096;
        root {folder}/www;
        include {folder}/made/etc/nginx/snippets/php.conf;
    }}
}}
"""


class Story:
    """Programs in one namespace, ended with it."""

    def __init__(self, namespace: NamesNamespace, folder: Path) -> None:
        self._namespace = namespace
        self._folder = folder
        self._programs: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        with (self._folder / "output").open("ab") as output:
            process = subprocess.Popen(
                self._namespace.command(command, folder=self._folder),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._programs.append(process)
        return process

    def start_backend(self, address: str) -> subprocess.Popen[bytes]:
        """php-fpm on one address, once it accepts."""
        config = self._folder / f"{address}.conf"
        config.write_text(pool(address, str(self._folder / f"{address}.log")))
        (php,) = Path("/usr/sbin").glob("php-fpm8*")
        process = self.start(str(php), "-y", str(config), "-c", "/dev/null")
        probe = f"import socket; socket.create_connection(('{address}', 9000))"
        command = self._namespace.command(["/usr/bin/python3", "-c", probe])
        wait_until(
            lambda: subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0,
            what=f"php-fpm on {address}",
        )
        return process

    def end(self) -> None:
        for process in reversed(self._programs):
            process.terminate()
        for process in self._programs:
            process.wait(20)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that www-data can enter."""
    for parent in (tmp_path, *tmp_path.parents[:-1]):
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | 0o111)
    for name in ("www", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "www" / "test.php").write_text(SCRIPT)
    # A relative include begins where the main configuration is.
    (tmp_path / "fastcgi.conf").symlink_to("/etc/nginx/fastcgi.conf")
    (tmp_path / "nginx.conf").write_text(NGINX.format(folder=tmp_path))
    return tmp_path


@pytest.fixture
def story(folder: Path) -> Iterator[tuple[Story, NamesNamespace]]:
    need("nginx", "php-fpm", "systemd", "iproute2")
    with NamesNamespace(folder / "etc") as namespace, contextlib.ExitStack() as stack:
        story = Story(namespace, folder)
        stack.callback(story.end)
        yield story, namespace


def connect_as(user: str, path: Path) -> int:
    """errno of connect(2) as ``user``."""
    entry = pwd.getpwnam(user)
    setting = ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
    command = [*setting, "/usr/bin/python3", "-c", CONNECT, str(path)]
    return subprocess.run(command, check=False, timeout=30).returncode


def test_a_backend_that_moves_and_dns_that_fails(
    story: tuple[Story, NamesNamespace], folder: Path
) -> None:
    programs, namespace = story
    path = folder / "php.sock"
    made = ["--socket", str(path), "--fastcgi", "--output", str(folder / "made")]
    assert main(["generate", "nginx", "php", *made]) == 0
    with namespace.dns() as dns:
        dns.set(NAME, "A", [FIRST], ttl=1)
        dns.set(NAME, "AAAA", [], ttl=1)
        first = programs.start_backend(FIRST)
        relay = [program(), "relay", "--user", "nobody", f"{NAME}:9000"]
        programs.start("systemd-socket-activate", f"--listen={path}", *relay)
        wait_until(path.exists, what="the relay's socket")
        os.chown(path, 0, grp.getgrnam("www-data").gr_gid)
        path.chmod(0o660)
        assert connect_as("nobody", path) == errno.EACCES
        programs.start("nginx", "-c", str(folder / "nginx.conf"), "-g", "daemon off;")
        wait_until((folder / "nginx.pid").exists, what="nginx")
        with Visitors(namespace.network) as visitors:
            visitors.wait_for(FIRST)
            programs.start_backend(SECOND)
            dns.set(NAME, "A", [SECOND], ttl=1)
            visitors.wait_for(SECOND)
            first.terminate()
            visitors.wait_for(SECOND)
            asked = len(dns.queries(NAME))
            dns.fail("silence")
            # The answer is a second old after a second: several questions come to nothing.
            wait_until(lambda: len(dns.queries(NAME)) >= asked + 3, what="questions in vain")
            visitors.wait_for(SECOND)
        assert visitors.failures == []
