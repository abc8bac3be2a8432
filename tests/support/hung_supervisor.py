"""A supervisor that hangs, under a real systemd with the generated unit: the service manager's
watchdog ends it alone, its applications serve on, and the next one takes them over.

Told in shell scripts, so that it can happen in a container as well as in a virtual machine.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.support.waiting import wait_until

Run = Callable[[str], str]
"""Runs a script as root; what it prints. Raises where it fails."""

CONFIG = """\
[listeners.https]
listen = ["127.0.0.1:443"]

[apps.hello]
python = "hello:app"
directory = "/srv/hello"
hosts = ["hello.example"]
tls = "self-signed"
"""

HELLO = """\
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello from a cell"})
"""

UNIT = "cloister.service"
ASK = (
    "curl --max-time 60 --silent --show-error --resolve hello.example:443:127.0.0.1"
    " --cacert /var/lib/cloister/authority/ca.pem https://hello.example/"
)
SHORTER = f"""\
mkdir -p /etc/systemd/system/{UNIT}.d
printf '[Service]\\nWatchdogSec=%s\\nTimeoutStartSec=600\\n' {{seconds}} \\
  >/etc/systemd/system/{UNIT}.d/watchdog.conf
systemctl daemon-reload
"""
"""The unit's minute is long for a test, and systemd's minute and a half to start short for an
emulated machine."""


@dataclass(frozen=True)
class Alive:
    """Who serves."""

    supervisor: int
    application: int
    door: int


def look(run: Run, cloister: str) -> Alive:
    """Asks the supervisor. Raises where none answers."""
    status: dict[str, Any] = json.loads(run(f"{cloister} status --json"))
    (app,) = status["apps"]
    supervisor = run(f"systemctl show {UNIT} --property=MainPID --value")
    return Alive(int(supervisor), app["pid"], status["door"]["pid"])


def hang(
    run: Run,
    cloister: str,
    *,
    watchdog: float,
    patience: float,
    look_too: Callable[[], None] = lambda: None,
) -> None:
    """Everything, from a start to a stop.

    Args:
        run: runs a script where the unit is installed.
        cloister: the program's path there.
        watchdog: seconds until systemd takes the supervisor for hung.
        patience: seconds to wait for anything.
        look_too: called while either supervisor serves.
    """
    run(SHORTER.format(seconds=watchdog))
    run(f"systemctl start {UNIT}")
    assert run(ASK) == "hello from a cell"
    before = look(run, cloister)
    look_too()
    run(f"kill -STOP {before.supervisor}")
    # Whoever asks meanwhile does not ask the supervisor.
    assert run(ASK) == "hello from a cell"
    served = 0

    def followed() -> bool:
        nonlocal served
        assert run(ASK) == "hello from a cell"
        served += 1
        main = run(f"systemctl show {UNIT} --property=MainPID --value").strip()
        state = run(f"systemctl show {UNIT} --property=ActiveState --value").strip()
        return state == "active" and main not in ("0", str(before.supervisor))

    wait_until(followed, seconds=patience, what="another supervisor")
    assert served > 1
    after = look(run, cloister)
    look_too()
    assert (after.application, after.door) == (before.application, before.door)
    assert run(ASK) == "hello from a cell"
    journal = run(f"journalctl --no-pager --output=cat --unit={UNIT}")
    assert "Watchdog timeout" in journal, journal
    assert run(f"systemctl show {UNIT} --property=NRestarts --value").strip() == "1", journal
    run(f"systemctl stop {UNIT}")
    left = run(f"kill -0 {after.application} {after.door} 2>&1; true")
    assert left.count("No such process") == 2, left
    assert run("pgrep -c 'cloister-[cd]'; true").strip() == "0"
