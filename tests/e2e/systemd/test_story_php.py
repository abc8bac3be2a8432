"""The whole story of reference 000: nginx, a Unix socket that only its group may use, a
socket-activated door, and PHP at a name whose address changes, all of it by generated files in
a real systemd."""

import errno
import time

import pytest
from tests.e2e.systemd.conftest import Generate
from tests.support import systemd
from tests.support.dns import DnsServer
from tests.support.namespaces import network_of
from tests.support.php_story import FIRST, NAME, OUTPUT, SCRIPT, SECOND, Visitors, pool
from tests.support.systemd import Container
from tests.support.waiting import wait_until

from cloister.cli.main import main

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(900)]  # the first makes the file system

SOCKET = "/run/cloister-relay/fastcgi.sock"
RELAY = "cloister-relay@fastcgi"

CONNECT = "import socket, sys; sys.exit(socket.socket(socket.AF_UNIX).connect_ex(sys.argv[1]))"

SITE = """\
server {
    listen 127.0.0.1:80 default_server backlog=4096;
    root /srv/www;
    include snippets/fastcgi.conf;
}
"""


def start_backend(container: Container, address: str) -> None:
    """php-fpm on one address, as a service of its own."""
    name = f"backend-{address}"
    container.write(f"/etc/{name}.conf", pool(address, f"/var/log/{name}.log"))
    (program,) = container.output("sh", "-c", "ls /usr/sbin/php-fpm8*").split()
    command = ["systemd-run", "--quiet", f"--unit={name}", "--property=KillSignal=SIGQUIT", program]
    container.run(*command, "--fpm-config", f"/etc/{name}.conf", "--nodaemonize")
    probe = f"import socket; socket.create_connection(('{address}', 9000))"
    wait_until(
        lambda: container.run("python3", "-c", probe, check=False).returncode == 0,
        what=f"php-fpm on {address}",
    )


@pytest.fixture
def story(container: Container, generate: Generate) -> Container:
    """Everything is configured and enabled; no request was made yet."""
    container.write("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    container.write("/srv/www/test.php", SCRIPT)
    start_backend(container, FIRST)
    generate("systemd", "relay", "fastcgi", f"{NAME}:9000", "--socket-group", "www-data")
    generate_nginx(container)
    container.run("rm", "-f", "/etc/nginx/sites-enabled/default")
    container.write("/etc/nginx/sites-enabled/story", SITE)
    container.run("nginx", "-t")
    systemd.verify(container, [f"{RELAY}.socket", f"{RELAY}.service"])
    container.run("systemctl", "enable", "--now", f"{RELAY}.socket")
    container.run("systemctl", "start", "nginx")
    return container


def generate_nginx(container: Container) -> None:
    where = ["--socket", SOCKET, "--fastcgi", "--output", str(container.view)]
    assert main(["generate", "nginx", "fastcgi", *where]) == 0


def fetch(container: Container) -> str:
    return container.output("curl", "--silent", "--show-error", "http://127.0.0.1/test.php") + "\n"


def tell(container: Container, *, dead_for: float) -> None:
    """The story, with DNS dead for so many seconds."""
    with network_of(container.leader):
        dns = DnsServer("127.0.0.1", 53)
    with dns:
        dns.set(NAME, "A", [FIRST], ttl=1)
        dns.set(NAME, "AAAA", [], ttl=1)
        assert container.state(f"{RELAY}.service") == "inactive"
        assert fetch(container).encode() == OUTPUT
        assert container.state(f"{RELAY}.service") == "active"

        made = container.output("stat", "--format=%a %U %G", SOCKET, SOCKET.rpartition("/")[0])
        assert made.splitlines() == ["660 root www-data", "711 root root"]
        refused = container.run("python3", "-c", CONNECT, SOCKET, user="nobody", check=False)
        assert refused.returncode == errno.EACCES
        let_in = container.run("python3", "-c", CONNECT, SOCKET, user="www-data", check=False)
        assert let_in.returncode == 0

        with Visitors(lambda: network_of(container.leader)) as visitors:
            visitors.wait_for(FIRST)
            start_backend(container, SECOND)
            dns.set(NAME, "A", [SECOND], ttl=1)
            visitors.wait_for(SECOND)
            container.run("systemctl", "stop", f"backend-{FIRST}")
            visitors.wait_for(SECOND)

            dns.fail("silence")
            before = visitors.answered
            end = time.monotonic() + dead_for
            wait_until(
                lambda: time.monotonic() > end or visitors.failures,
                seconds=dead_for + 10,
                what="the time without DNS",
            )
            assert visitors.answered > before + 20
            dns.fail(None)
            container.run("systemctl", "reload", f"{RELAY}.service")
            visitors.wait_for(SECOND)
        assert visitors.failures == []
        assert visitors.answered > 100
    journal = container.journal(f"{RELAY}.service")
    assert "without protection" not in journal


def test_a_backend_that_moves_and_dns_that_fails(story: Container) -> None:
    tell(story, dead_for=4)


@pytest.mark.slow
def test_a_minute_without_dns(story: Container) -> None:
    tell(story, dead_for=60)
