"""Rule ``wrong-type``."""

import errno
from collections.abc import Iterator

from cloister.diagnose import cures
from cloister.diagnose.case import Case
from cloister.diagnose.nginx import advice
from cloister.model.finding import Finding

CODES = ("wrong-type",)

_LISTENS = {"Datagram": "ListenDatagram", "SequentialPacket": "ListenSequentialPacket"}
"""How `systemctl show` and a unit file call the two."""


def check(case: Case) -> Iterator[Finding]:
    """The socket is not of the type that the asker connects with.

    What it does: compares the kernel's type of the socket with the one that is asked for.

    Why bad: HTTP, FastCGI and TLS need a stream. connect(2) to another type fails with
    "Protocol wrong type for socket".

    Example: ``fastcgi_pass unix:/run/systemd/notify``, or ``ListenDatagram=`` in a unit.
    """
    attempt, socket = case.attempt, case.socket
    mismatch = attempt is not None and attempt.error == errno.EPROTOTYPE
    if socket is None or not (mismatch or socket.type is not case.wanted_type):
        return
    near = _stream_of_same_server(case)
    yield Finding(
        code="wrong-type",
        seen=f"{case.target.place} is a {socket.type.name.lower()} socket of "
        f"{case.server or 'a process that is not shown'}"
        + (f", which also listens on {near}" if near else ""),
        why=f"whoever asks wants a {case.wanted_type.name.lower()} socket, and the kernel "
        "connects like with like only",
        cure=_cure(case, near),
        lasting="the server, or the unit that makes its socket, has to make the other type",
    )


def _cure(case: Case, near: str | None) -> str | None:
    for unit in case.probes.units():
        for kind, address in unit.listens:
            if address == case.path and kind in _LISTENS and unit.file:
                old, file = _LISTENS[kind], cures.quote(unit.file)
                change = f"s|^{old}=\\({cures.pattern(address)}\\)|ListenStream=\\1|"
                again = f"systemctl daemon-reload && systemctl restart {cures.quote(unit.name)}"
                return f"sed -i {cures.quote(change)} {file} && {again}"
    if near is None or case.path is None:
        return None
    if case.target.line is not None:
        return advice.change(case, case.path, near)
    return f"ln --symbolic --force {cures.quote(near)} {cures.quote(case.path)}"


def _stream_of_same_server(case: Case) -> str | None:
    server = case.server
    if server is None:
        return None
    found = [
        one.name
        for one in case.probes.unix_sockets()
        if one.listening
        and one.type is case.wanted_type
        and one.name.startswith("/")
        and server in case.probes.holders(one.inode)
    ]
    return found[0] if len(found) == 1 else None
