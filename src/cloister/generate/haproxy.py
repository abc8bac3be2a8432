"""HAProxy in front of a Unix socket: a backend, and what its chroot hides made visible.

HAProxy connects to its servers after ``chroot`` and after it has given up every group but its
own (``setgroups(0)``): the socket has to be seen inside that root, and its group has to be
HAProxy's own.
"""

from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath

from cloister.generate import checks
from cloister.generate.file import Generated, GeneratedFile
from cloister.generate.upstream import Upstream, group_to_join, place_notes, plain_socket
from cloister.model.errors import UsageError
from cloister.sockets.plan import Client

GROUP = "haproxy"
CHROOT = "/var/lib/haproxy"
"""What Debian's configuration has."""


class Mode(Enum):
    """What HAProxy takes the bytes for."""

    HTTP = "http"
    TCP = "tcp"


@dataclass(frozen=True, slots=True)
class HaproxyRequest:
    """One backend of HAProxy's."""

    upstream: Upstream
    mode: Mode = Mode.HTTP
    send_proxy: bool = False
    """Whether a PROXY header of version 2 goes before each connection's bytes."""
    chroot: str | None = CHROOT
    """HAProxy's ``chroot``; ``None`` where it has none."""


def generate(request: HaproxyRequest) -> Generated:
    """The backend, and the mount that shows it the socket. Raises :class:`UsageError`."""
    name = checks.name(request.upstream.name, "a backend")
    socket = plain_socket(request.upstream.socket)
    group = group_to_join(request.upstream.plan, Client(GROUP, GROUP))
    chroot = None if request.chroot is None else plain_socket(request.chroot)
    seen, folder = _seen(socket, chroot)
    server = f"server {name} unix@{seen}" + (" send-proxy-v2" if request.send_proxy else "")
    lines = [f"backend {name}", f"    mode {request.mode.value}"]
    if request.mode is Mode.HTTP:
        lines.append("    option forwardfor")
    files = [
        GeneratedFile(f"/etc/haproxy/cloister/{name}.cfg", "\n".join([*lines, f"    {server}", ""]))
    ]
    steps = [*place_notes(socket, "haproxy.service")]
    if folder is not None:
        text = (
            "[Service]\n"
            f"# HAProxy's root is {chroot}: what lies outside has to be shown inside.\n"
            f"BindPaths={folder}:{chroot}{folder}\n"
        )
        files.append(GeneratedFile(f"/etc/systemd/system/haproxy.service.d/{name}.conf", text))
    if group is not None:
        steps.append(
            f"HAProxy gives up every group but its own: write `group {group}` in its `global` "
            f"section, or give the socket the group {GROUP}"
        )
    steps += [
        f"use it in a frontend: `default_backend {name}`",
        'set EXTRAOPTS="-f /etc/haproxy/cloister" in /etc/default/haproxy',
        "haproxy -c -f /etc/haproxy/haproxy.cfg -f /etc/haproxy/cloister",
        "systemctl daemon-reload && systemctl restart haproxy",
    ]
    return Generated(tuple(files), tuple(steps))


def _seen(socket: str, chroot: str | None) -> tuple[str, str | None]:
    """The socket's path as HAProxy sees it, and the folder that has to be mounted for it."""
    if chroot is None:
        return socket, None
    if socket.startswith(f"{chroot}/"):
        return socket.removeprefix(chroot), None
    folder = str(PurePosixPath(socket).parent)
    if folder == "/":
        raise UsageError(
            f"{socket!r} cannot be shown to HAProxy",
            why="its folder is the root of the file system",
            hint="put the socket into a folder of its own, for example below /run",
        )
    return socket, folder
