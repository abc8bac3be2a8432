"""A service folder for s6-svscan: ``run``, ``finish``, readiness, and a logger.

The socket is bound first, by a program of its own, and passed as standard input. From then on
connections wait in its queue, so that the service is ready before the door is.
"""

import ipaddress
from dataclasses import dataclass, field

from cloister.generate import checks, execline
from cloister.generate import target as targets
from cloister.generate.door import DoorOptions
from cloister.generate.file import Generated, GeneratedFile
from cloister.model.errors import UsageError
from cloister.model.listener import SocketOptions
from cloister.sockets.plan import RELAY_SOCKET

READINESS = 3
"""The descriptor on which s6-supervise awaits a newline (``notification-fd``)."""


@dataclass(frozen=True, slots=True)
class S6Request:
    """A supervised door."""

    name: str
    """Of the service's folder."""
    program: str
    """The absolute path of ``cloister-door``."""
    listen: str
    """A Unix socket's path, or ``ADDRESS:PORT``, for which s6-networking 2.6 is needed."""
    hosts: str | None = None
    """The hosts directory of ``cloister-door sni``, or"""
    target: str | None = None
    """the target of ``cloister-door relay``."""
    access: SocketOptions = RELAY_SOCKET
    """Who may connect to a Unix socket."""
    folder: str = "/etc/s6"
    """Where service folders are."""
    log_folder: str = "/var/log"
    log_user: str = "nobody"
    options: DoorOptions = field(default_factory=DoorOptions)
    """``user`` is needed."""


def generate(request: S6Request) -> Generated:
    """The folder, and how s6-svscan comes to know it."""
    options = request.options
    if options.user is None:
        raise UsageError(
            "s6 needs a user for the door",
            hint="name one who may reach the target, for example by --user www-data",
        )
    if options.groups or options.oom_score_adjust is not None or options.exit_idle is not None:
        raise UsageError(
            "a supervised door has no supplementary groups but its user's, no OOM score, and "
            "no end when idle",
            why="s6-supervise starts again what has ended",
            hint="give the user its groups by usermod(8)",
        )
    name = checks.name(request.name, "a service")
    folder = f"{checks.path(request.folder, 'a folder of services')}/{name}"
    files = (
        GeneratedFile(f"{folder}/run", _run(request, options), mode=0o755),
        GeneratedFile(f"{folder}/finish", _finish(), mode=0o755),
        GeneratedFile(f"{folder}/notification-fd", f"{READINESS}\n"),
        GeneratedFile(f"{folder}/log/run", _log(request, name), mode=0o755),
    )
    steps = (
        f"ln -s {folder} /run/service/ && s6-svscanctl -a /run/service",
        f"s6-svc -2 /run/service/{name} replaces the door, without losing a connection",
    )
    return Generated(files, steps)


def _run(request: S6Request, options: DoorOptions) -> str:
    lines = ["fdmove -c 2 1"]
    if request.listen.startswith("/"):
        lines += _bind_path(request)
    else:
        lines += [
            f"s6-tcpserver-socketbinder -b {request.access.backlog} {_internet(request.listen)}"
        ]
    return execline.script(
        "-P",
        *lines,
        "# Whoever connects from here on is served.",
        f"foreground {{ fdmove 1 {READINESS} echo }}",
        f"fdclose {READINESS}",
        f"s6-setuidgid {options.user}",
        " ".join(execline.word(text, "an argument") for text in (*_command(request, options),)),
    )


def _bind_path(request: S6Request) -> list[str]:
    path = checks.socket_path(request.listen, "a listening socket")
    place = execline.word(path, "a listening socket")
    parent = execline.word(path.rpartition("/")[0] or "/", "a folder")
    access = request.access
    group = checks.account(access.group or "root", "group")
    give = f"chgrp {group}"
    if access.owner not in (None, "root"):
        give = f"chown {checks.account(str(access.owner), 'user')}:{group}"
    return [
        f"if {{ mkdir -p -m {access.directory_mode:04o} {parent} }}",
        # Nobody but root may connect until the group is right.
        f"s6-ipcserver-socketbinder -b {access.backlog} -a 0600 {place}",
        f"if {{ {give} {place} }}",
        f"if {{ chmod {access.mode:04o} {place} }}",
    ]


def _internet(text: str) -> str:
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        address = None
    wrong = address is None or bracketed != (address.version == 6)
    if wrong or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(
            f"{text!r} cannot be listened on",
            hint="for example `/run/x.sock`, `0.0.0.0:443` or `[::]:443`",
        )
    return f"{address} {port}"


def _command(request: S6Request, options: DoorOptions) -> list[str]:
    if (request.hosts is None) == (request.target is None):
        raise UsageError("a door has either a hosts directory or a target", hint="name one")
    program = [checks.path(request.program, "the program"), "keep"]
    if request.hosts is not None:
        hosts = checks.path(request.hosts, "the hosts directory")
        return [*program, "sni", "--hosts", hosts, *options.sni_arguments()]
    target = targets.parse(str(request.target)).text
    return [*program, "relay", *options.relay_arguments(), target]


def _finish() -> str:
    return execline.script(
        "-S1",
        "# 2: the command line asks for something impossible, and will the next time.",
        "# s6-supervise takes 125 for a permanent failure.",
        "ifelse { test ${1} -eq 2 } { exit 125 }",
        "exit 0",
    )


def _log(request: S6Request, name: str) -> str:
    user = checks.account(request.log_user, "user")
    folder = f"{checks.path(request.log_folder, 'a folder of logs')}/{name}"
    place = execline.word(folder, "a folder of logs")
    return execline.script(
        "-P",
        f"if {{ mkdir -p -m 0750 {place} }}",
        f"if {{ chown {user} {place} }}",
        f"s6-setuidgid {user}",
        f"s6-log -b n20 s1000000 T {place}",
    )
