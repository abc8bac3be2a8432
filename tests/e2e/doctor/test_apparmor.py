"""AppArmor refuses a socket: the kernel's own line names the cause, and the printed cure makes the
process reach it. ``make test-machine`` runs this in a machine that has AppArmor.
"""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.doctor.test_nginx import doctor, explained, proxied
from tests.support import mandatory
from tests.support.broken import Corner, codes, cure, examine
from tests.support.nginx_front import Front

PROFILES = Path("/etc/apparmor.d")

FAMILIES = """\
  capability,
  file,
  signal,
  network netlink,
}
"""
"""Everything but the families that sockets are of."""

NGINX = """\
  capability,
  network,
  signal,
  /{{usr,lib}}/** mr,
  /{{etc,proc,run,sys}}/** r,
  /dev/** rw,
  /var/log/nginx/** rw,
  {folder}/nginx/** rwk,
  {folder}/sbin/nginx mr,
}}
"""
"""All that nginx needs, but for its upstream's socket."""

CLIENT = """
import socket, sys
print("ready", flush=True)
for _ in sys.stdin:
    try:
        with socket.socket(socket.%s) as stream:
            stream.connect(%r)
            print("reached", flush=True)
    except PermissionError:
        print("refused", flush=True)
"""


@pytest.fixture(autouse=True, scope="module")
def apparmor() -> None:
    mandatory.need_apparmor()


@contextlib.contextmanager
def installed(file: str, text: str) -> Iterator[Path]:
    """A profile in its file, as a distribution has it."""
    place = PROFILES / file
    place.write_text(text)
    subprocess.run(["apparmor_parser", "--replace", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["apparmor_parser", "--remove", place], check=False)
        place.unlink()


def ask(client: "subprocess.Popen[str]") -> str:
    """What the client says of another attempt."""
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write("again\n")
    client.stdin.flush()
    return client.stdout.readline().strip()


@pytest.mark.parametrize(
    ("name", "header", "file"),
    [
        ("cloister-test", "profile cloister-test {", "cloister-test"),
        ("/opt/cloister-test", "/opt/cloister-test {", "opt.cloister-test"),
        (
            "cloister-test",
            "profile cloister-test /opt/cloister-test flags=(attach_disconnected) {",
            "cloister-other",
        ),
    ],
)
def test_a_family_that_its_profile_does_not_name(
    corner: Corner, name: str, header: str, file: str
) -> None:
    path = corner.directory("run") / "app.sock"
    corner.serve(path, umask="000")
    command = ["/usr/bin/python3", "-I", "-S", "-c", CLIENT % ("AF_UNIX", str(path))]
    with installed(file, f"{header}\n{FAMILIES}") as place:
        client = corner.start(*command, before=("aa-exec", "-p", name, "--"), ready=True)
        assert ask(client) == "refused"
        diagnosis = examine(path, client)
        assert codes(diagnosis) == ["mac-denial"]
        (finding,) = diagnosis.findings
        assert f"AppArmor's profile {name} refused a socket of unix, stream" in finding.seen
        cure(finding)
        assert "network unix stream," in place.read_text()
        assert ask(client) == "reached"
        assert codes(examine(path, client)) == []


def test_a_port_likewise(corner: Corner) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        installed("cloister-test", f"profile cloister-test {{\n{FAMILIES}"),
    ):
        address = listening.getsockname()
        command = ["/usr/bin/python3", "-I", "-S", "-c", CLIENT % ("AF_INET", address)]
        client = corner.start(*command, before=("aa-exec", "-p", "cloister-test", "--"), ready=True)
        assert ask(client) == "refused"
        target = f"tcp:127.0.0.1:{address[1]}"
        (finding,) = examine(target, client).findings
        assert "refused a socket of inet, stream" in finding.seen
        cure(finding)
        assert ask(client) == "reached"
        assert codes(examine(target, client)) == []


def test_a_path_that_its_profile_does_not_name(corner: Corner) -> None:
    """nginx, where the kernel asks about connections to paths."""
    mandatory.need_unix_paths()
    path = corner.directory("run") / "app.sock"
    corner.serve(path, umask="000")
    original = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    assert original is not None
    # One that no profile of this machine means.
    program = Path(shutil.copy(original, corner.directory("sbin", uid=0)))
    rules = NGINX.format(folder=corner.folder)
    with installed("cloister-test", f"profile cloister-test {program} {{\n{rules}") as place:
        front = Front(corner, proxied(path), before=("env", f"PATH={program.parent}:/usr/bin"))
        line = front.complaint()
        assert "(13: Permission denied)" in line
        assert explained(line) == ["mac-denial"]
        assert f"{path} rw," in place.read_text()
        front.wait_until_served()
        assert doctor("--log", line)[0]["findings"] == []
