"""The door in its SELinux domain, on a machine that enforces: ``make test-mac``.

The steps are those of docs/selinux.md.
"""

from collections.abc import Iterator

import pytest
from tests.mac import policy, scene
from tests.mac.scene import KernelLog
from tests.support import packages
from tests.support.guest import PACKAGES, Guest, image

from cloister.generate.mandatory_access import MandatoryAccessRequest

# Emulated: each step takes many times longer than on a processor.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

KERNEL = "security=selinux selinux=1 enforcing=1"
DENIED = "scontext=system_u:system_r:cloister_door_t:s0"
DENIALS = frozenset({"EACCES", "EPERM"})


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """A machine with the module in it and everything started."""
    packages.need(*PACKAGES, *policy.PACKAGES)
    folder = tmp_path_factory.mktemp("selinux")
    payload = scene.payload(folder / "payload")
    policy.build(payload / "module", MandatoryAccessRequest())
    with Guest(image(), KERNEL, payload, folder) as machine:
        assert machine.check("getenforce").strip() == "Enforcing"
        scene.prepare(machine)
        machine.check("semodule -i /mnt/module/cloister.pp")
        machine.check(
            "restorecon -RF /usr/local/bin/cloister-door /srv/hosts /etc/systemd/system"
            " /etc/resolv.conf /etc/nginx"
        )
        machine.check("semanage port -m -t cloister_door_port_t -p tcp 9000")
        machine.check("systemctl daemon-reload; dmesg -C")
        scene.start(machine)
        yield machine


@pytest.fixture
def log(guest: Guest) -> KernelLog:
    return KernelLog(guest)


def test_files_have_their_labels(guest: Guest) -> None:
    for path, label in {
        scene.DOOR: "cloister_door_exec_t",
        "/etc/systemd/system/cloister-sni.service": "cloister_door_unit_t",
        "/run/cloister/sni.sock": "cloister_door_var_run_t",
        "/run/cloister-relay/service.sock": "cloister_door_var_run_t",
        "/srv/hosts/one.example/tls-socket": "cloister_door_hosts_t",
    }.items():
        assert f":{label}:" in guest.check(f"ls -Z {path}"), path


def test_normal_work_is_denied_nothing(guest: Guest, log: KernelLog) -> None:
    """By Unix socket and by TCP, to a host's socket and to a name's address."""
    assert guest.check(scene.THROUGH_NGINX) == "one.example by HTTP/1.0\n"
    assert guest.check(scene.DIRECT) == "one.example by HTTP/1.1\n"
    assert guest.check(scene.THROUGH_RELAY) == "the service behind the relay\n"
    log.expect_none(DENIED)
    # The clients were what they are meant to be.
    assert ":httpd_t:" in guest.check("ps -Z -C nginx")


def test_every_process_of_the_door_is_in_its_domain(guest: Guest) -> None:
    lines = guest.check("ps -o label= -C cloister-door").split()
    # Two keepers, each with its door.
    assert len(lines) == 4
    assert set(lines) == {"system_u:system_r:cloister_door_t:s0"}


def test_a_replaced_door_is_denied_nothing(guest: Guest, log: KernelLog) -> None:
    before = guest.check("pgrep -f 'cloister-door sni'").split()
    guest.check("systemctl reload cloister-sni.service")
    assert guest.check(scene.DIRECT) == "one.example by HTTP/1.1\n"
    assert guest.check("pgrep -f 'cloister-door sni'").split() != before
    log.expect_none(DENIED)


def test_ports_without_its_label_are_out_of_reach(guest: Guest, log: KernelLog) -> None:
    """The label, and the boolean: each alone opens the way."""
    guest.check("semanage port -d -p tcp 9000")
    log.take("")
    assert "502" in guest.run(scene.THROUGH_RELAY).output
    (denial, *_) = log.take(DENIED)
    assert "{ name_connect }" in denial
    assert "dest=9000" in denial
    guest.check("setsebool cloister_door_connect_any on")
    try:
        assert guest.check(scene.THROUGH_RELAY) == "the service behind the relay\n"
        log.expect_none(DENIED)
    finally:
        guest.check("setsebool cloister_door_connect_any off")
    assert "502" in guest.run(scene.THROUGH_RELAY).output
    guest.check("semanage port -m -t cloister_door_port_t -p tcp 9000")
    assert guest.check(scene.THROUGH_RELAY) == "the service behind the relay\n"


def test_ports_without_its_label_are_not_bound(guest: Guest, log: KernelLog) -> None:
    """systemd binds, and the socket that it binds is labelled as the door's."""
    log.take("")
    assert guest.run("systemctl start cloister-port.socket").status != 0
    (denial, *_) = log.take(DENIED)
    assert "{ name_bind }" in denial
    assert "src=8181" in denial
    guest.check("setsebool cloister_door_bind_any on")
    try:
        guest.check("systemctl start cloister-port.socket")
        log.expect_none(DENIED)
    finally:
        guest.check("systemctl stop cloister-port.socket; setsebool cloister_door_bind_any off")


def test_a_taken_over_door_can_do_nothing_else(guest: Guest, log: KernelLog) -> None:
    """As root and with every capability: what is denied, the domain denies."""
    guest.check(
        "cp /usr/bin/python3 /usr/local/bin/taken-over"
        " && chcon -t cloister_door_exec_t /usr/local/bin/taken-over"
    )
    command = (
        "systemd-run --quiet --pipe --wait /usr/local/bin/taken-over -I -S -c"
        ' "$(cat /mnt/attempts.py)" $(cat /run/nginx.pid)'
    )
    guest.check("setenforce 0")
    free = scene.attempts(guest, command)
    guest.check("setenforce 1")
    assert set(free.values()) == {"done"}, free
    log.take("")
    taken = scene.attempts(guest, command)
    assert set(taken) == set(free)
    assert {name for name, outcome in taken.items() if outcome not in DENIALS} == set(), taken
    assert len(log.take(DENIED)) >= len(taken) // 2
