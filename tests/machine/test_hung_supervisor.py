"""A hung supervisor where control groups are of version 2: a group with groups of cells below it
takes no process, so the next supervisor's place in it is not to be taken for granted."""

import pytest
from tests.support import hung_supervisor
from tests.support.checkout import PLACE
from tests.support.guest import Guest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

CLOISTER = f"{PLACE}/.venv/bin/cloister"
GROUP = "/sys/fs/cgroup/system.slice/cloister.service"

INSTALL = f"""\
set -e
mkdir -p /etc/cloister /srv/hello
cat >/etc/cloister/cloister.toml <<'END'
{hung_supervisor.CONFIG}
END
cat >/srv/hello/hello.py <<'END'
{hung_supervisor.HELLO}
END
{CLOISTER} generate systemd up --program {CLOISTER} --output /
systemctl daemon-reload
"""


def test_its_applications_serve_on_and_the_next_one_takes_them_over(apparmor: Guest) -> None:
    apparmor.check(INSTALL)

    def run(script: str) -> str:
        return apparmor.check(script, limit=600)

    def limited() -> None:
        assert int(run(f"cat {GROUP}/cloister-*/hello/memory.max"))
        assert "memory" in run(f"cat {GROUP}/cgroup.subtree_control")

    hung_supervisor.hang(run, CLOISTER, watchdog=30, patience=600, look_too=limited)
