"""Units: goldens, every option, what is refused, and systemd's own opinion of them."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Golden
from tests.support.generated import check_goldens

from cloister.generate.door import DoorOptions
from cloister.generate.file import Generated
from cloister.generate.systemd import relay, sni, up
from cloister.generate.systemd.relay import RelayRequest
from cloister.generate.systemd.sni import SniRequest
from cloister.generate.systemd.up import UpRequest
from cloister.model.errors import UsageError
from cloister.model.listener import SocketOptions
from cloister.sockets.plan import RELAY_SOCKET

DOOR = "/usr/local/bin/cloister-door"
NGINX = replace(RELAY_SOCKET, group="nginx")
EVERYTHING = DoorOptions(
    user="proxy",
    groups=("web", "db"),
    exit_idle=90,
    connections=500,
    drain=2.5,
    oom_score_adjust=-1000,
)

RELAYS = {
    "systemd-relay-templates": RelayRequest(DOOR),
    "systemd-relay-templates-options": RelayRequest(
        DOOR, access=SocketOptions("proxy", "web", 0o666, 0o755), options=EVERYTHING
    ),
    "systemd-relay-name": RelayRequest(
        DOOR, "fastcgi", "remote.php.backend.domain.tld.:9000", access=NGINX
    ),
    "systemd-relay-environment": RelayRequest(
        DOOR,
        "fastcgi",
        "remote.php.backend.domain.tld.:9000",
        access=NGINX,
        options=EVERYTHING,
        environment_file=True,
    ),
    "systemd-relay-address": RelayRequest(DOOR, "db", "192.0.2.7:5432", listen=("127.0.0.1:5432",)),
    "systemd-relay-address6": RelayRequest(DOOR, "db", "tcp:[2001:db8::7]:5432"),
    "systemd-relay-unix": RelayRequest(
        DOOR,
        "db",
        'unix:/run/my "odd" $path 100%\\x.sock',
        listen=("[::]:80", "unix:/run/my 100% socket", "@name", "vsock::443"),
        options=EVERYTHING,
    ),
    "systemd-relay-abstract": RelayRequest(DOOR, "db", "unix:@db"),
    "systemd-relay-srv": RelayRequest(DOOR, "web", "srv:_http._tcp.example"),
    "systemd-relay-vsock": RelayRequest(DOOR, "vm", "vsock:3:8080"),
}

SNIS = {
    "systemd-sni": SniRequest(DOOR, "/srv/hosts"),
    "systemd-sni-options": SniRequest(
        DOOR,
        "/srv/100%hosts",
        listen=("192.0.2.7:443", "/run/tls.sock"),
        access=NGINX,
        options=EVERYTHING,
    ),
}

UPS = {
    "systemd-up": UpRequest("/usr/local/bin/cloister"),
    "systemd-up-options": UpRequest("/opt/cloister/bin/cloister", "/srv/my site.toml", -500),
}


def made() -> dict[str, Generated]:
    return {
        **{case: relay.generate(request) for case, request in RELAYS.items()},
        **{case: sni.generate(request) for case, request in SNIS.items()},
        **{case: up.generate(request) for case, request in UPS.items()},
    }


@pytest.mark.parametrize("case", [*RELAYS, *SNIS, *UPS])
def test_goldens(golden: Golden, case: str) -> None:
    check_goldens(golden, case, made()[case])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"program": "cloister-door"}, "cannot be the program"),
        ({"program": "/opt/my tools/door"}, "cannot be the program"),
        ({"program": "/opt/$HOME/door"}, "cannot be the program"),
        ({"program": "/home/me/cloister-door"}, "does not see /home"),
        ({"instance": "../x"}, "cannot be the name"),
        ({"instance": "a@b"}, "cannot be the name"),
        ({"instance": None}, "belong to one instance"),
        ({"target": None}, "has no target"),
        ({"target": "nowhere"}, "is no target"),
        ({"target": "unix:/run/a\nExecStartPre=/bin/evil"}, "cannot be a target"),
        ({"target": "unix:run/x"}, "absolute path"),
        ({"target": "unix:/tmp/x.sock"}, "does not see /tmp"),
        ({"target": "host:70000"}, "is no target"),
        ({"target": "[192.0.2.7]:80"}, "is no target"),
        ({"target": "2001:db8::7:80"}, "is no target"),
        ({"listen": ("70000",)}, "cannot be listened on"),
        ({"listen": ("name:80",)}, "cannot be listened on"),
        ({"listen": ("/run/x ",)}, "blanks at the ends"),
        ({"listen": ("/run/x\\",)}, "backslash"),
        ({"listen": ("/run/" + "x" * 103,)}, "108 bytes"),
        ({"access": replace(RELAY_SOCKET, group="a b")}, "cannot be a group"),
        ({"access": replace(RELAY_SOCKET, owner="a%n")}, "cannot be a user"),
    ],
)
def test_refusals(changes: dict[str, Any], message: str) -> None:
    valid = {"program": DOOR, "instance": "db", "target": "db.example:5432"}
    with pytest.raises(UsageError) as error:
        relay.generate(RelayRequest(**{**valid, **changes}))
    assert message in f"{error.value.what} {error.value.why}"


@pytest.mark.parametrize(
    "options",
    [
        {"user": "a b"},
        {"groups": ("",)},
        {"exit_idle": -1},
        {"drain": 1e9},
        {"connections": -1},
        {"oom_score_adjust": -1001},
    ],
)
def test_refused_options(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        DoorOptions(**options)


@pytest.mark.parametrize("hosts", ["srv", "/home/me/hosts", "/srv/a:b", "/srv/a b", '/srv/"'])
def test_refused_hosts_directories(hosts: str) -> None:
    with pytest.raises(UsageError):
        sni.generate(SniRequest(DOOR, hosts))


@pytest.mark.parametrize("program", ["/cloister-door", "/opt/a:b/cloister-door"])
def test_refused_folders_of_the_program(program: str) -> None:
    with pytest.raises(UsageError):
        sni.generate(SniRequest(program, "/srv/hosts"))


def exposure(folder: Path, unit: str) -> float:
    """systemd's measure of a service below ``folder``, without a running systemd."""
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--root={folder}"]
    result = subprocess.run([*command, unit], capture_output=True, text=True, check=True)
    return float(result.stdout.rpartition("Overall exposure level for ")[2].split()[1])


@pytest.mark.parametrize(
    ("case", "unit"),
    [
        ("systemd-relay-templates", "cloister-relay@x.service"),
        ("systemd-relay-name", "cloister-relay@fastcgi.service"),
        ("systemd-relay-address", "cloister-relay@db.service"),
        ("systemd-relay-unix", "cloister-relay@db.service"),
        ("systemd-relay-abstract", "cloister-relay@db.service"),
        ("systemd-relay-vsock", "cloister-relay@vm.service"),
        ("systemd-sni", "cloister-sni.service"),
    ],
)
def test_exposure_is_at_most_1_5(tmp_path: Path, case: str, unit: str) -> None:
    for file in made()[case].files:
        place = tmp_path / file.path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(file.text)
    program = tmp_path / DOOR.lstrip("/")
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    assert exposure(tmp_path, unit) <= 1.5
