"""What somebody who has taken the door over would try. Runs in the guest, as root.

``attempts.py PID [--profile NAME]`` prints a JSON object: each attempt's name with "done" or the
name of the error that stopped it. With a profile it is in AppArmor's confinement before it
tries; SELinux confines it by its program's label.
"""

import ctypes
import errno
import json
import mmap
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

HOST = "/srv/hosts/one.example"
OTHERS_PORT = 80
"""nginx listens there, and no policy gives it to the door."""

NGINX = int(sys.argv[1])
"""A process of somebody else's."""

# Before the confinement: loading is not what is tried.
LIBRARY = ctypes.CDLL(None, use_errno=True)


def read(path: str) -> None:
    with Path(path).open("rb") as file:
        file.read(1)


def create(path: str) -> None:
    Path(path).touch()
    Path(path).unlink()


def execute() -> None:
    _, status = os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
    if status:
        raise OSError(errno.EACCES, "it did not run")


def listen() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 8181))


def connect() -> None:
    with socket.socket() as stream:
        stream.connect(("127.0.0.1", OTHERS_PORT))


def packets() -> None:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()


def route() -> None:
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()


def bus() -> None:
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect("/run/dbus/system_bus_socket")


def writable_code() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def send_signal() -> None:
    os.kill(1, signal.SIGCONT)


def trace() -> None:
    seize, detach = ctypes.c_long(0x4206), ctypes.c_long(17)
    traced = ctypes.c_long(NGINX)
    if LIBRARY.ptrace(seize, traced, None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")
    LIBRARY.ptrace(detach, traced, None, None)


def mount() -> None:
    if LIBRARY.mount(b"none", b"/media", b"tmpfs", 0, None) != 0:
        raise OSError(ctypes.get_errno(), "mount")
    LIBRARY.umount(b"/media")


ATTEMPTS: dict[str, Callable[[], None]] = {
    "read the passwords": lambda: read("/etc/shadow"),
    "read the users": lambda: read("/etc/passwd"),
    "read a host's key": lambda: read(f"{HOST}/key"),
    "read a log": lambda: read("/var/log/nginx/error.log"),
    "read another's environment": lambda: read("/proc/1/environ"),
    "write a setting": lambda: create("/etc/attempt"),
    "write into a host": lambda: create(f"{HOST}/attempt"),
    "write beside its program": lambda: create("/usr/local/bin/attempt"),
    "execute a program": execute,
    "listen on a port": listen,
    "connect to a port": connect,
    "connect to the system's bus": bus,
    "send raw packets": packets,
    "talk to the kernel's routing": route,
    "make writable code": writable_code,
    "signal another": send_signal,
    "trace another": trace,
    "mount": mount,
}


def main() -> None:
    """Confines itself where asked to, tries everything, and prints the outcome."""
    if sys.argv[2:3] == ["--profile"]:
        Path("/proc/self/attr/apparmor/current").write_text(f"changeprofile {sys.argv[3]}")
    outcome = {}
    for name, attempt in ATTEMPTS.items():
        try:
            attempt()
            outcome[name] = "done"
        except OSError as error:
            outcome[name] = errno.errorcode[error.errno or 0]
    print(json.dumps(outcome))


main()
