"""Lines for inetd.conf(5): the door in ``wait`` mode, with the listening socket as its input.

inetd splits a line at blanks and knows no quotes, so that nothing with a blank can be said.
"""

import ipaddress
import re
from dataclasses import dataclass, field

from cloister.generate import checks
from cloister.generate import target as targets
from cloister.generate.door import DoorOptions
from cloister.generate.file import Generated, GeneratedFile
from cloister.model.errors import UsageError

EXIT_IDLE = 60.0
"""Seconds, unless told: inetd has its socket back only when the door has ended."""

_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,31}")


@dataclass(frozen=True, slots=True)
class InetdRequest:
    """A door that inetd starts with the first connection."""

    program: str
    """The absolute path of ``cloister-door``."""
    listen: str
    """A service of services(5) or a port, after an address and a colon if wished; or the
    path of a Unix socket, where the inetd takes such (OpenBSD's does)."""
    hosts: str | None = None
    """The hosts directory of ``cloister-door sni``, or"""
    target: str | None = None
    """the target of ``cloister-door relay``."""
    options: DoorOptions = field(default_factory=DoorOptions)
    """``user`` is needed: inetd starts the door as this user."""


def generate(request: InetdRequest) -> Generated:
    """One line, in a file of its own."""
    options = request.options
    if options.user is None:
        raise UsageError(
            "inetd needs a user for the door",
            hint="name one who may reach the target, for example by --user www-data",
        )
    if options.groups or options.oom_score_adjust is not None:
        raise UsageError(
            "inetd can set neither supplementary groups nor an OOM score",
            hint="give the user its groups by usermod(8)",
        )
    if options.exit_idle is None:
        options = DoorOptions(
            user=options.user,
            exit_idle=EXIT_IDLE,
            connections=options.connections,
            drain=options.drain,
        )
    address, protocol = _address(request.listen)
    program = checks.path(request.program, "the program")
    arguments = ["cloister-door", *_arguments(request, options)]
    words = [address, "stream", protocol, "wait", str(options.user), program, *arguments]
    for word in words:
        if not word.isprintable() or " " in word or word.startswith("#"):
            raise UsageError(
                f"{word!r} cannot stand in inetd.conf",
                why="inetd splits its lines at blanks and knows no quotes",
                hint="use a path or a name without blanks",
            )
    name = "sni" if request.hosts is not None else "relay"
    path = f"/etc/cloister/inetd-{name}.conf"
    steps = (f"cat {path} >> /etc/inetd.conf", "systemctl reload inetd")
    return Generated((GeneratedFile(path, " ".join(words) + "\n"),), steps)


def _arguments(request: InetdRequest, options: DoorOptions) -> list[str]:
    if (request.hosts is None) == (request.target is None):
        raise UsageError("a door has either a hosts directory or a target", hint="name one")
    if request.hosts is not None:
        hosts = checks.path(request.hosts, "the hosts directory")
        return ["sni", "--hosts", hosts, *options.sni_arguments()]
    target = targets.parse(str(request.target)).text
    return ["relay", *options.relay_arguments(), target]


def _address(text: str) -> tuple[str, str]:
    """The first and the third field."""
    if text.startswith("/"):
        return checks.socket_path(text, "a listening socket"), "unix"
    host, _, service = text.rpartition(":")
    if _SERVICE.fullmatch(service) and not (service.isdigit() and not 0 < int(service) < 65536):
        if not host:
            return service, "tcp"
        bracketed = host.startswith("[") and host.endswith("]")
        try:
            version: int | None = ipaddress.ip_address(host.strip("[]")).version
        except ValueError:
            version = None
        if version == 4 + 2 * bracketed:
            return text, "tcp6" if bracketed else "tcp"
    raise UsageError(
        f"{text!r} cannot be listened on",
        hint="for example `https`, `443`, `192.0.2.7:443`, `[2001:db8::7]:443` or `/run/x.sock`",
    )
