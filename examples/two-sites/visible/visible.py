"""What a program can see of the machine that it runs on; the standard library only."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

NAMESPACES = ("user", "mnt", "pid", "ipc", "uts", "cgroup", "net")


def visible() -> dict[str, str]:
    """One line for each question, in the order in which people ask."""
    return {
        "process": f"pid {os.getpid()}, uid {os.getuid()}, gid {os.getgid()}",
        "on the host": f"uid {host_id('uid')}, gid {host_id('gid')}",
        "host name": socket.gethostname(),
        "namespaces": ", ".join(f"{name} {namespace(name)}" for name in NAMESPACES),
        "processes it sees": str(count_processes()),
        "network": ", ".join(name for _, name in socket.if_nameindex()) or "no interface",
        "root folder": " ".join(sorted(entry.name for entry in Path("/").iterdir())),
        "own folder": attempt(lambda: list_folder(Path.cwd())),
        "folders beside it": attempt(lambda: list_folder(Path.cwd().parent)),
        "/etc/shadow": attempt(lambda: f"{len(Path('/etc/shadow').read_bytes())} bytes"),
        "writing to /usr": attempt(lambda: write(Path("/usr/written-by-a-site"))),
        "writing to /tmp": attempt(lambda: write(Path("/tmp/written-by-a-site"))),
        "way to the network": attempt(route_out),
    }


def attempt(action: Callable[[], str]) -> str:
    """What an action says, or why it cannot be done."""
    try:
        return action()
    except OSError as error:
        return f"refused: {error.strerror or error}"


def namespace(name: str) -> str:
    """A namespace's number (namespaces(7)): equal numbers are one namespace."""
    return str(Path(f"/proc/self/ns/{name}").readlink()).partition("[")[2].rstrip("]")


def host_id(kind: str) -> str:
    """The user or group outside of the user namespace (user_namespaces(7))."""
    own = os.getuid() if kind == "uid" else os.getgid()
    for line in Path(f"/proc/self/{kind}_map").read_text().splitlines():
        inside, outside, count = map(int, line.split())
        if inside <= own < inside + count:
            return str(outside + own - inside)
    return "none"


def count_processes() -> int:
    return sum(entry.name.isdigit() for entry in Path("/proc").iterdir())


def list_folder(folder: Path) -> str:
    return " ".join(sorted(entry.name for entry in folder.iterdir()))


def write(path: Path) -> str:
    path.write_text("written\n")
    path.unlink()
    return "allowed"


def route_out() -> str:
    # Connecting a datagram socket asks the kernel for a route and sends nothing; the address
    # is reserved for documentation (RFC 5737).
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.connect(("192.0.2.1", 443))
        return f"from {asked.getsockname()[0]}"


if __name__ == "__main__":
    for question, answer in visible().items():
        print(f"{question + ':':<20}{answer}")
