"""The door in its AppArmor profile, on a machine that enforces: ``make test-mac``.

The steps are those of docs/apparmor.md.
"""

from collections.abc import Iterator

import pytest
from tests.mac import scene
from tests.mac.scene import KernelLog
from tests.support import packages
from tests.support.guest import PACKAGES, Guest, image

from cloister.generate.apparmor import generate
from cloister.generate.mandatory_access import MandatoryAccessRequest

# Emulated: each step takes many times longer than on a processor.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KERNEL = "security=apparmor apparmor=1"
DENIED = 'apparmor="DENIED"'
DENIALS = frozenset({"EACCES", "EPERM"})
PROFILE = "cloister-door"


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """A machine with the profile loaded and everything started."""
    packages.need(*PACKAGES)
    folder = tmp_path_factory.mktemp("apparmor")
    payload = scene.payload(folder / "payload")
    (file,) = generate(MandatoryAccessRequest()).files
    (payload / "profile").write_text(file.text)
    with Guest(image(), KERNEL, payload, folder) as machine:
        assert machine.check("cat /sys/module/apparmor/parameters/enabled").strip() == "Y"
        scene.prepare(machine)
        machine.check(f"cp /mnt/profile {file.path} && apparmor_parser --replace {file.path}")
        machine.check("dmesg -C")
        scene.start(machine)
        yield machine


@pytest.fixture
def log(guest: Guest) -> KernelLog:
    return KernelLog(guest)


def test_normal_work_is_denied_nothing(guest: Guest, log: KernelLog) -> None:
    """By Unix socket and by TCP, to a host's socket and to a name's address."""
    assert guest.check(scene.THROUGH_NGINX) == "one.example by HTTP/1.0\n"
    assert guest.check(scene.DIRECT) == "one.example by HTTP/1.1\n"
    assert guest.check(scene.THROUGH_RELAY) == "the service behind the relay\n"
    log.expect_none(DENIED)


def test_every_process_of_the_door_is_confined(guest: Guest) -> None:
    confined = guest.check(
        "for process in $(pgrep -x cloister-door); do"
        " cat /proc/$process/attr/apparmor/current; done"
    )
    # Two keepers, each with its door.
    assert confined.splitlines() == [f"{PROFILE} (enforce)"] * 4


def test_a_replaced_door_is_denied_nothing(guest: Guest, log: KernelLog) -> None:
    before = guest.check("pgrep -f 'cloister-door sni'").split()
    guest.check("systemctl reload cloister-sni.service")
    assert guest.check(scene.DIRECT) == "one.example by HTTP/1.1\n"
    assert guest.check("pgrep -f 'cloister-door sni'").split() != before
    log.expect_none(DENIED)


def test_the_door_reads_no_file_that_the_profile_does_not_name(
    guest: Guest, log: KernelLog
) -> None:
    """The door's own attempts: it asks for the name servers' file, wherever that has gone."""
    script = (
        "cp --remove-destination /etc/resolv.conf /srv/resolv.conf"
        " && ln -sf /srv/resolv.conf /etc/resolv.conf"
        " && systemctl restart cloister-relay@service.service"
    )
    guest.run(script)
    guest.run(scene.THROUGH_RELAY)
    denials = log.take(DENIED)
    assert any(
        'name="/srv/resolv.conf"' in line and f'profile="{PROFILE}"' in line for line in denials
    ), denials
    guest.check(
        "rm /etc/resolv.conf && mv /srv/resolv.conf /etc/"
        " && systemctl restart cloister-relay@service.service"
    )
    assert guest.check(scene.THROUGH_RELAY) == "the service behind the relay\n"


def test_a_taken_over_door_can_do_little_else(guest: Guest, log: KernelLog) -> None:
    """As root and with every capability: what is denied, the profile denies."""
    free = scene.attempts(guest, "python3 -I /mnt/attempts.py $(cat /run/nginx.pid)")
    assert set(free.values()) == {"done"}
    log.take("")
    taken = scene.attempts(
        guest, f"python3 -I /mnt/attempts.py $(cat /run/nginx.pid) --profile {PROFILE}"
    )
    assert set(taken) == set(free)
    assert {name for name, outcome in taken.items() if outcome not in DENIALS} == {
        # AppArmor's rules know address families and no ports, and memory not at all; and
        # Linux 6.1 does not ask it about connecting to a Unix socket.
        "connect to a port",
        "listen on a port",
        "connect to the system's bus",
        "make writable code",
    }
    assert len(log.take(DENIED)) >= len(taken) // 2
