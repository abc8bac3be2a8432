"""What stands behind one Unix socket, for the web servers in front of it."""

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath

from cloister.generate import checks
from cloister.model.errors import UsageError
from cloister.sockets.plan import Client, SocketPlan


class Protocol(Enum):
    """What the server in front speaks to what is behind the socket."""

    HTTP = "http"
    FASTCGI = "fastcgi"


@dataclass(frozen=True, slots=True)
class Upstream:
    """What a server in front is to reach."""

    name: str
    plan: SocketPlan
    protocol: Protocol = Protocol.HTTP

    @property
    def socket(self) -> str:
        """Its absolute path."""
        return self.plan.path


def group_to_join(plan: SocketPlan, client: Client) -> str | None:
    """The group that ``client`` has to be put into before the socket lets him in; ``None``
    where it does as he is. Raises :class:`UsageError` where no group helps."""
    if plan.passage(client) is not None:
        return None
    group = plan.joinable
    if group is None or client.user == plan.options.owner:
        mode = f"its mode is {plan.options.mode:04o}"
        raise UsageError(
            f"{client} cannot connect to {plan.path}",
            why=f"{mode}, and its group is the supervisor's own"
            if plan.options.group is None
            else f"{mode}, its group {plan.options.group}",
            hint="give the listener's socket a group that may write: "
            f'socket = {{ group = "{client.group or client.user}", mode = "0660" }}',
        )
    return checks.account(group, "group")


_PLAIN = re.compile(r"[A-Za-z0-9._/@:+,=-]+")

PRIVATE_PLACES = ("/tmp", "/var/tmp")  # noqa: S108 (named to be warned of)
"""Which ``PrivateTmp=`` of systemd.exec(5) replaces for one service."""
HOMES = ("/home", "/root", "/run/user")
"""Which ``ProtectHome=`` hides from one, and which others may not pass anyway."""


def plain_socket(path: str) -> str:
    """A socket's path for languages whose quoting has exceptions (placeholders, variables):
    what would need quoting is refused. Raises :class:`UsageError`."""
    checks.socket_path(path, "the socket")
    if not _PLAIN.fullmatch(path):
        raise UsageError(
            f"{path!r} cannot be the socket",
            why="it has characters that mean something in the generated file",
            hint="take letters, digits and . _ / @ : + , = - alone",
        )
    return path


def place_notes(socket: str, service: str) -> tuple[str, ...]:
    """Why ``service`` may not find the socket there, as steps; empty for a usual place."""
    folders = [str(parent) for parent in PurePosixPath(socket).parents]
    for place in PRIVATE_PLACES:
        if place in folders:
            return (
                f"move the socket out of {place}: where {service} has PrivateTmp=yes it sees "
                f'another {place} ("13: Permission denied" or "2: No such file or directory")',
            )
    for place in HOMES:
        if place in folders:
            return (
                f"move the socket out of {place}: where {service} has ProtectHome=yes it sees "
                "none, and without it every folder on the way has to be passable",
            )
    return ()
