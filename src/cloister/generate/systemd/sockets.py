"""Socket units: where they listen, and who may connect."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cloister.generate import checks
from cloister.generate.systemd import syntax
from cloister.model.errors import UsageError

UNITS = "/etc/systemd/system"
"""Where an administrator's units are (systemd.unit(5))."""

_INTERNET = re.compile(r"([0-9.]+:|\[[0-9A-Fa-f:.]+\]:)?[0-9]{1,5}")
_VSOCK = re.compile(r"vsock:[0-9]*:[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class SocketAccess:
    """Owner and modes of Unix sockets and of the folders made for them. As strict as can be:
    every setting but the default lets somebody in."""

    user: str = "root"
    group: str = "root"
    mode: int = 0o660
    directory_mode: int = 0o711
    """Whoever may connect has to be able to enter; nobody else has to see what there is."""

    def lines(self) -> list[str]:
        """The settings, all of them."""
        return [
            f"SocketUser={checks.account(self.user, 'user')}",
            f"SocketGroup={checks.account(self.group, 'group')}",
            f"SocketMode={self.mode:04o}",
            f"DirectoryMode={self.directory_mode:04o}",
        ]

    def changes(self) -> list[str]:
        """The settings that differ from the default."""
        default = SocketAccess().lines()
        return [line for line in self.lines() if line not in default]


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
