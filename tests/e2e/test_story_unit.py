"""NGINX's announcement of application isolation in Unit, told with Cloister: its JSON, its curl
commands and its answers, and a Go application that is written for Unit.

https://www.nginx.com/blog/application-isolation-nginx-unit/
"""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.support.namespaces import network_of
from tests.support.packages import need
from tests.support.up import Up, open_folder
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("as_root")

ROOT = Path(__file__).parents[2]
JSON = ROOT / "tests" / "golden" / "unit"
HOST = """
set -e
ip link set lo up
ip link add eth0 type veth peer name elsewhere
ip addr add 192.168.128.41/21 dev eth0
ip link set elsewhere up
ip link set eth0 up
echo ready
exec cat >/dev/null
"""
"""The network of a host with one interface; it ends with standard input."""
NAMES = {
    "USER": "user",
    "PID": "pid",
    "IPC": "ipc",
    "CGROUP": "cgroup",
    "UTS": "uts",
    "MNT": "mnt",
    "NET": "net",
}


class Story:
    """A supervisor that runs one configuration after the other on a small host of its own."""

    def __init__(self, folder: Path, host: int) -> None:
        self.host = host
        self.up = Up(folder)
        self.up.config = folder / "unit.json"
        self.program = folder / "go-app"
        self.control = str(self.up.runtime / "control.sock")

    def text(self, name: str) -> str:
        """A configuration as it is printed, but for the program's place."""
        text = (JSON / f"reference-{name}.json").read_text()
        return text.replace("/tmp/go-app", str(self.program))

    def start(self, name: str) -> None:
        self.up.config.write_text(self.text(name))
        places = {
            "RUNTIME_DIRECTORY": str(self.up.runtime),
            "STATE_DIRECTORY": str(self.up.state),
        }
        with network_of(self.host):
            self.up.start("--log-format", "json", environment=places)
        self.up.wait_ready()

    def curl(self, *arguments: str) -> Any:
        command = ["curl", "--silent", "--show-error", "--max-time", "20", *arguments]
        with network_of(self.host):
            return json.loads(subprocess.check_output(command, text=True))

    def configure(self, method: str, path: str, text: str | None = None) -> Any:
        data = [] if text is None else ["--data-binary", text]
        where = ["--unix-socket", self.control, f"http://localhost{path}"]
        return self.curl("-X", method, *data, *where)

    def ask(self) -> Any:
        """What the application tells of itself."""
        return self.curl("-X", "GET", "http://localhost:8080")

    def ask_until(self, **wanted: int) -> Any:
        """The same, from the application as the newest configuration wants it: until it is
        ready the one before goes on serving."""

        def asked() -> Any:
            found = self.ask()
            flat = {**found, **found["NS"]}
            return all(flat[key] == value for key, value in wanted.items()) and found

        return wait_until(asked, what=f"an application with {wanted}", seconds=30)

    def process(self) -> psutil.Process:
        """The application as the host sees it: ps aux | grep go-app."""
        (found,) = [pid for pid in psutil.pids() if self._is_program(pid)]
        return psutil.Process(found)

    def _is_program(self, pid: int) -> bool:
        # psutil remembers what a process was executing when it was first looked at.
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/exe").readlink() == self.program
        return False

    def enter(self, command: str) -> str:
        """In the application's namespaces."""
        enter = ["nsenter", "--all", "-t", str(self.process().pid), "/bin/sh", "-c", command]
        return subprocess.check_output(enter, text=True)

    def interfaces(self) -> set[str]:
        return {link["ifname"] for link in json.loads(self.enter("ip -json link"))}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go application, built from the example."""
    need("curl", "golang-go", "iproute2", "util-linux")
    built = tmp_path_factory.mktemp("go") / "go-app"
    subprocess.run(
        ["go", "build", "-o", str(built), "."],
        cwd=ROOT / "examples" / "unit-go" / "app",
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(built.parent),
            "GOPROXY": "off",
            "GOTOOLCHAIN": "local",
            "CGO_ENABLED": "0",
        },
        check=True,
    )
    return built


@pytest.fixture
def story(program: Path) -> Iterator[Story]:
    unshare = ["unshare", "--net", "sh", "-c", HOST]
    with subprocess.Popen(
        unshare, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n", "no network namespace; see standard error"
        with open_folder() as folder:
            told = Story(folder, holder.pid)
            shutil.copy(program, told.program)
            told.program.chmod(0o755)
            try:
                yield told
            finally:
                told.up.close()
        assert holder.stdin is not None
        holder.stdin.close()


def namespaces(pid: int) -> dict[str, int]:
    """Their numbers, as the application tells its own."""
    links = {name: str(Path(f"/proc/{pid}/ns/{kind}").readlink()) for name, kind in NAMES.items()}
    return {name: int(link.partition("[")[2].rstrip("]")) for name, link in links.items()}


def test_isolation_is_switched_on_and_the_network_off_again(story: Story) -> None:
    story.start("plain")
    assert story.up.process is not None
    own = namespaces(story.up.process.pid)
    found = story.ask()
    # Unit's defaults: user nobody, and every namespace the host's.
    assert (found["UID"], found["GID"]) == (65534, 65534)
    assert found["NS"] == own
    assert found["PID"] == story.process().pid

    answer = story.configure("PUT", "/config", story.text("isolated"))
    assert answer == {"success": "Reconfiguration done."}
    found = story.ask_until(UID=0)
    # As the reference shows it: the application is the first process of its namespace.
    assert (found["PID"], found["UID"], found["GID"]) == (1, 0, 0)
    changed = {name for name, number in found["NS"].items() if number != own[name]}
    assert changed == {"USER", "PID", "CGROUP", "UTS", "MNT", "NET"}
    assert found["NS"]["IPC"] == own["IPC"]

    assert alone(story, 1000).gids().real == 1000
    assert story.enter("id -u; id -g").split() == ["0", "0"]
    # Only a loopback interface, and yet it serves whoever comes from outside.
    assert story.interfaces() == {"lo"}
    assert story.curl("http://192.168.128.41:8080")["UID"] == 0

    answer = story.configure("PUT", "/config", story.text("without-network"))
    assert answer == {"success": "Reconfiguration done."}
    found = story.ask_until(NET=own["NET"])
    assert found["UID"] == 0
    alone(story, 1000)
    assert {"lo", "eth0"} <= story.interfaces()
    assert "192.168.128.41/21" in story.enter("ip addr show eth0")


def alone(story: Story, uid: int) -> psutil.Process:
    """The application, which runs as this user on the host, once the one before it has ended."""

    def found() -> psutil.Process | None:
        try:
            process = story.process()
            return process if process.uids().real == uid else None
        except (ValueError, psutil.NoSuchProcess):
            return None  # both are there, or the one that was has just gone

    return wait_until(found, what=f"one process of user {uid}", seconds=30)


def test_a_part_of_the_configuration_is_put_read_and_taken_away(story: Story) -> None:
    story.start("plain")
    whole = json.loads(story.text("isolated"))
    isolation = whole["applications"]["go-app"]["isolation"]
    path = "/config/applications/go-app"
    application = json.dumps(whole["applications"]["go-app"])
    done = {"success": "Reconfiguration done."}
    assert story.configure("PUT", path, f"\ufeff// as Unit reads it\n{application}") == done
    assert story.configure("GET", f"{path}/isolation") == isolation
    assert story.ask_until(UID=0)["NS"]["NET"] != namespaces(os.getpid())["NET"]
    assert story.configure("DELETE", f"{path}/isolation/namespaces/network") == done
    assert "network" not in story.configure("GET", f"{path}/isolation/namespaces")
    assert (
        story.configure(
            "POST", f"{path}/isolation/uidmap", '{"host": 5000, "container": 5000, "size": 1}'
        )
        == done
    )
    assert len(story.configure("GET", f"{path}/isolation/uidmap")) == 2


def test_a_refused_change_says_why_and_changes_nothing(story: Story) -> None:
    story.start("isolated")
    before = story.configure("GET", "/config")
    pid = story.process().pid
    path = "/config/applications/go-app"
    refused = story.configure("DELETE", f"{path}/isolation/uidmap")
    assert refused["error"] == "Invalid configuration."
    assert "would be the host's root user" in refused["detail"]
    refused = story.configure("PUT", f"{path}/executable", '"/nowhere/at/all"')
    assert refused["detail"].startswith("/applications/go-app/executable: /nowhere/at/all is not")
    refused = story.configure("DELETE", "/config/listeners/*:8080/pass")
    assert "`pass` is missing" in refused["detail"]
    refused = story.configure("PUT", "/config/listeners/*:8080/pass", '"routes"')
    assert refused["problems"][0]["code"] == "unsupported"
    refused = story.configure("PUT", "/config", '{\n"listeners": {},\n}}')
    assert refused["location"] == {"offset": 20, "line": 3, "column": 2}
    assert story.configure("GET", "/config") == before
    assert story.process().pid == pid
    assert story.ask()["UID"] == 0


def test_the_application_is_restarted_as_in_unit_and_its_status_told(story: Story) -> None:
    story.start("plain")
    pid = story.ask()["PID"]
    assert story.configure("GET", "/control/applications/go-app/restart") == {"success": "Ok"}

    def restarted() -> bool:
        return bool(story.ask()["PID"] != pid)

    wait_until(restarted, what="another process", seconds=30)
    status = story.configure("GET", "/status/applications/go-app")
    assert status["processes"]["running"] >= 1
    assert story.configure("GET", "/status/connections")["accepted"] >= 2


def test_whole_configurations_of_unit_without_listeners_run_too(story: Story) -> None:
    """The two that show isolation and maps alone: nothing leads to their application."""
    story.start("credential-and-mount")
    process = story.process()
    assert process.uids().real == 65534
    own = namespaces(os.getpid())
    inside = namespaces(process.pid)
    assert {name for name in own if inside[name] != own[name]} >= {"USER", "MNT"}
    text = story.text("maps").replace("/bin/app", str(story.program))
    assert story.configure("PUT", "/config", text) == {"success": "Reconfiguration done."}
    pid = alone(story, 500).pid
    assert Path(f"/proc/{pid}/uid_map").read_text().split() == ["0", "500", "10"]
    assert Path(f"/proc/{pid}/gid_map").read_text().split() == ["0", "1000", "20"]
