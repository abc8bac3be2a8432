"""What both enforcing tests set up in the guest: doors as `cloister generate systemd` has them
started, nginx before and behind.

::

    curl ── 80 ─▶ nginx ── /run/cloister/sni.sock ──▶ door (sni) ──▶ one.example/tls-socket: nginx
    curl ── 443 ───────────────────────────────────▶ door (sni)
    curl ── 81 ─▶ nginx ── /run/cloister-relay/*.sock ─▶ door (relay) ─▶ TCP 9000: a service
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

from tests.support.guest import REPOSITORY, Guest

from cloister.generate.file import GeneratedFile
from cloister.generate.systemd import relay, sni
from cloister.sockets.plan import RELAY_SOCKET

DOOR = "/usr/local/bin/cloister-door"

PORT_UNITS = {
    "cloister-port.socket": """\
[Socket]
ListenStream=127.0.0.1:8181
""",
    "cloister-port.service": f"""\
[Service]
ExecStart={DOOR} relay 127.0.0.1:9000
""",
}
"""A door on a port that nobody gave to it."""

NGINX = """\
user www-data;
worker_processes 1;
pid /run/nginx.pid;
events {}
http {
    access_log off;
    server {
        listen unix:/srv/hosts/one.example/tls-socket ssl;
        ssl_certificate /etc/scene/certificate;
        ssl_certificate_key /etc/scene/key;
        location / { return 200 "one.example by $server_protocol\\n"; }
    }
    server {
        listen 127.0.0.1:80;
        location / {
            proxy_pass https://unix:/run/cloister/sni.sock;
            proxy_ssl_server_name on;
            proxy_ssl_name one.example;
        }
        location /relay/ { proxy_pass http://unix:/run/cloister-relay/service.sock:/; }
    }
}
"""

SERVICE = """\
import sys
sys.path.insert(0, "/mnt")
from http.server import BaseHTTPRequestHandler, HTTPServer
from tests.support.dns import DnsServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"the service behind the relay\\n")

with DnsServer("127.0.0.2", 53) as names:
    names.set("service.test.", "A", ["127.0.0.1"], ttl=1)
    HTTPServer(("127.0.0.1", 9000), Handler).serve_forever()
"""

SET_UP = f"""\
set -e
cp /mnt/cloister-door {DOOR}
chmod 755 {DOOR}
cp -r /mnt/generated/* /
cp /mnt/units/* /etc/systemd/system/
useradd --system --no-create-home --shell /usr/sbin/nologin cloister-sni
cp /mnt/nginx.conf /etc/nginx/nginx.conf
mkdir -p /srv/hosts/one.example /etc/scene
echo nameserver 127.0.0.2 >/etc/resolv.conf
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \\
  -subj /CN=one.example -addext subjectAltName=DNS:one.example \\
  -keyout /etc/scene/key -out /etc/scene/certificate 2>/dev/null
cp /etc/scene/key /srv/hosts/one.example/key
chown www-data /srv/hosts/one.example
systemctl daemon-reload
"""

START = """\
set -e
systemctl start cloister-sni.socket cloister-relay@service.socket nginx.service
systemd-run --quiet --unit=scene-service --property=Restart=on-failure python3 /mnt/service.py
for try in $(seq 100); do
  curl -s -m 2 -o /dev/null http://127.0.0.1:9000/ && exit
  sleep 0.1
done
exit 1
"""

THROUGH_NGINX = "curl -sS -f -m 20 http://127.0.0.1/"
DIRECT = "curl -sS -f -m 20 -k --resolve one.example:443:127.0.0.1 https://one.example/"
THROUGH_RELAY = "curl -sS -f -m 20 http://127.0.0.1/relay/"


def payload(folder: Path) -> Path:
    """Collects everything that the guest needs into ``folder``, which it returns."""
    folder.mkdir()
    shutil.copy(REPOSITORY / ".venv/bin/cloister-door", folder)
    shutil.copy(Path(__file__).with_name("attempts.py"), folder)
    (folder / "nginx.conf").write_text(NGINX)
    (folder / "service.py").write_text(SERVICE)
    for file in _units():
        place = folder / "generated" / file.path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(file.text)
    (folder / "units").mkdir()
    for name, text in PORT_UNITS.items():
        (folder / "units" / name).write_text(text)
    support = folder / "tests" / "support"
    support.mkdir(parents=True)
    for name in ("dns.py", "dns_messages.py", "waiting.py"):
        shutil.copy(REPOSITORY / "tests" / "support" / name, support)
    return folder


def _units() -> tuple[GeneratedFile, ...]:
    access = replace(RELAY_SOCKET, group="www-data")
    listen = ("/run/cloister/sni.sock", "127.0.0.1:443")
    relay_ = relay.RelayRequest(DOOR, "service", "service.test.:9000", access=access)
    sni_ = sni.SniRequest(DOOR, "/srv/hosts", listen, access)
    return (*relay.generate(relay_).files, *sni.generate(sni_).files)


def prepare(guest: Guest) -> None:
    """Puts the files in their places; nothing is started."""
    guest.check(SET_UP)


def start(guest: Guest) -> None:
    """Starts the sockets, nginx, the service and its name server."""
    guest.check(START)


def attempts(guest: Guest, command: str) -> dict[str, str]:
    """What ``attempts.py``, started by ``command``, could do: see there."""
    printed = guest.check(command)
    outcome = json.loads(printed.strip().splitlines()[-1])
    assert isinstance(outcome, dict)
    return outcome


class KernelLog:
    """The guest's kernel messages, each read once."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest

    def take(self, mark: str) -> list[str]:
        """Those since the last call that have ``mark`` in them."""
        printed = self._guest.check("dmesg; dmesg -C")
        return [line for line in printed.splitlines() if mark in line]

    def expect_none(self, mark: str) -> None:
        """Nothing has it."""
        found = self.take(mark)
        assert not found, "\n".join(found)
