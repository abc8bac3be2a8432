"""Socket units: where they listen, and who may connect."""

import re
from collections.abc import Sequence

from cloister.generate import checks
from cloister.generate.systemd import syntax
from cloister.model.errors import UsageError
from cloister.model.listener import SocketOptions
from cloister.sockets.plan import RELAY_SOCKET

UNITS = "/etc/systemd/system"
"""Where an administrator's units are (systemd.unit(5))."""

_INTERNET = re.compile(r"([0-9.]+:|\[[0-9A-Fa-f:.]+\]:)?[0-9]{1,5}")
_VSOCK = re.compile(r"vsock:[0-9]*:[0-9]{1,10}")


def access_lines(options: SocketOptions) -> list[str]:
    """Owner and modes of Unix sockets and of the folders made for them."""
    return [
        f"SocketUser={checks.account(options.owner or 'root', 'user')}",
        f"SocketGroup={checks.account(options.group or 'root', 'group')}",
        f"SocketMode={options.mode:04o}",
        f"DirectoryMode={options.directory_mode:04o}",
    ]


def access_changes(options: SocketOptions) -> list[str]:
    """Those that differ from what relays have unless told."""
    default = access_lines(RELAY_SOCKET)
    return [line for line in access_lines(options) if line not in default]


def listen_lines(addresses: Sequence[str]) -> list[str]:
    """``ListenStream=`` for each: a port, ``ADDRESS:PORT``, a path, ``@NAME``,
    ``vsock:[CID]:PORT``; ``unix:`` before the two of Unix is taken as well."""
    return [f"ListenStream={_address(address)}" for address in addresses]


def _address(text: str) -> str:
    plain = text.removeprefix("unix:")
    if plain.startswith("/"):
        return syntax.value(checks.socket_path(plain, "a listening socket"), "a listening socket")
    if plain.startswith("@") and len(plain) > 1:
        return syntax.value(plain, "a listening socket")
    if _VSOCK.fullmatch(text):
        return text
    if _INTERNET.fullmatch(text) and 0 < int(text.rpartition(":")[2]) < 65536:
        return text
    raise UsageError(
        f"{text!r} cannot be listened on",
        hint="for example `443`, `192.0.2.7:443`, `[::]:443`, `/run/x.sock`, `@x` or `vsock::443`",
    )
