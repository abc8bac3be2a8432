"""``cloister audit`` beside ``systemd-analyze security``, of the same units in a booted systemd."""

import json
import re
from pathlib import Path

import pytest
from tests.support.systemd import Container

from cloister.cli.main import main

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(900)]  # the first makes the file system

HARDENING = {
    "bare": [],
    "user": ["User=nobody"],
    "some": [
        "DynamicUser=yes",
        "NoNewPrivileges=yes",
        "PrivateTmp=yes",
        "ProtectHome=yes",
        "CapabilityBoundingSet=",
    ],
    "most": [
        "DynamicUser=yes",
        "NoNewPrivileges=yes",
        "PrivateTmp=yes",
        "PrivateUsers=yes",
        "PrivateNetwork=yes",
        "PrivateIPC=yes",
        "ProtectHome=yes",
        "ProtectSystem=strict",
        "ProtectProc=invisible",
        "ProtectHostname=yes",
        "ProtectControlGroups=yes",
        "CapabilityBoundingSet=",
    ],
}
"""Each unit has more fences than the one before."""


def exposure(container: Container, unit: str) -> float:
    """What systemd says: 0 to 10 as well."""
    text = container.run("systemd-analyze", "security", "--no-pager", unit, check=False).stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", text)
    assert found is not None, text
    return float(found[1])


def host_pid(container: Container, inside: int) -> int:
    """A process of the container as this machine numbers it (``NSpid``, proc_pid_status(5))."""
    space = Path(f"/proc/{container.leader}/ns/pid").stat().st_ino
    for place in Path("/proc").iterdir():
        if place.name.isdecimal():
            try:
                status = (place / "status").read_text()
                same = (place / "ns/pid").stat().st_ino == space
            except (FileNotFoundError, PermissionError, ProcessLookupError):
                continue
            if same and re.search(rf"^NSpid:.*\s{inside}$", status, re.MULTILINE):
                return int(place.name)
    raise AssertionError(f"process {inside} of the container is not there")


def test_more_fences_are_a_lower_score_for_both(
    container: Container, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs, codes, services = {}, {}, {}, {}
    for name, lines in HARDENING.items():
        unit = f"audited-{name}.service"
        # `exec`: what is audited is the program, not systemd on its way to it.
        service = "\n".join(["[Service]", "Type=exec", "ExecStart=/bin/sleep 600", *lines, ""])
        container.write(f"/etc/systemd/system/{unit}", service)
    container.run("systemctl", "daemon-reload")
    # Whoever is nobody shares it: with this one, whatever else runs on the machine.
    container.run("systemd-run", "--unit=neighbour", "--uid=nobody", "/bin/sleep", "600")
    for name in HARDENING:
        unit = f"audited-{name}.service"
        container.run("systemctl", "start", unit)
        pid = host_pid(container, int(container.show(unit, "MainPID")["MainPID"]))
        capsys.readouterr()
        assert main(["audit", str(pid), "--json"]) == 0
        (audit,) = json.loads(capsys.readouterr().out)["audits"]
        # Not the score, which is rounded.
        ours[name] = sum(risk["check"]["weight"] * risk["share"] for risk in audit["risks"])
        services[name] = audit["service"]
        codes[name] = {risk["check"]["code"] for risk in audit["risks"]}
        theirs[name] = exposure(container, unit)
    names = list(HARDENING)
    assert sorted(names, key=ours.__getitem__, reverse=True) == names, (ours, theirs)
    assert sorted(names, key=theirs.__getitem__, reverse=True) == names, (ours, theirs)
    assert len(set(ours.values())) == len(names)
    assert services == {name: f"audited-{name}.service" for name in names}
    # Each line of a unit takes its own risk away, and no other. A container filters system calls
    # itself and gives its systemd no control groups: both are the same for all four.
    assert {"root-user", "capabilities", "system-secrets"} <= codes["bare"]
    assert not {"root-user", "capabilities", "system-secrets"} & codes["user"]
    assert {"new-privileges", "shared-user"} <= codes["user"]
    assert not {"new-privileges", "shared-user"} & codes["some"]
    assert "namespaces" in codes["some"]
    assert "namespaces" not in codes["most"]
