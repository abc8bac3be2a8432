"""A package's upgrade renames a new program over the old one: `systemctl reload` runs the new."""

import pytest
from tests.e2e.systemd.conftest import Generate
from tests.support.systemd import PROGRAMS, Container
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(900)]  # the first makes the file system

PROGRAM = str(PROGRAMS / "cloister-door")


def file(container: Container, path: str) -> str:
    """The file behind ``path``, whatever it is called now."""
    return container.output("stat", "--dereference", "--format=%d:%i", path).strip()


def doors(container: Container, keeper: str) -> list[str]:
    return container.run("pgrep", "--parent", keeper, check=False).stdout.split()


@pytest.mark.parametrize("command", ["sni", "relay"])
def test_reload_after_an_upgrade_runs_the_new_program(
    container: Container, generate: Generate, command: str
) -> None:
    if command == "sni":
        container.run("mkdir", "-p", "/srv/hosts")
        generate("systemd", "sni", "--hosts", "/srv/hosts")
        container.run("systemd-sysusers", "/etc/sysusers.d/cloister-sni.conf")
        service = "cloister-sni.service"
    else:
        generate("systemd", "relay", "app", "unix:/run/app.sock")
        service = "cloister-relay@app.service"
    container.run("systemctl", "start", service)
    keeper = container.show(service, "MainPID")["MainPID"]
    (before,) = doors(container, keeper)
    old = file(container, PROGRAM)
    assert file(container, f"/proc/{before}/exe") == old

    container.run("cp", PROGRAM, f"{PROGRAM}.new")
    container.run("mv", f"{PROGRAM}.new", PROGRAM)
    new = file(container, PROGRAM)
    assert new != old
    container.run("systemctl", "reload", service)

    def alone() -> bool:
        found = doors(container, keeper)
        return len(found) == 1 and found != [before]

    wait_until(alone, what="the next door")
    (after,) = doors(container, keeper)
    assert file(container, f"/proc/{after}/exe") == new
    assert container.show(service, "MainPID")["MainPID"] == keeper
