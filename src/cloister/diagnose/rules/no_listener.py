"""Rules ``no-listener`` and ``other-address``."""

import errno
from collections.abc import Iterator

from cloister.diagnose import cures
from cloister.diagnose.case import Case
from cloister.diagnose.facts import AbstractPlace, TcpListener
from cloister.diagnose.nginx import advice
from cloister.model.finding import Confidence, Finding

CODES = ("no-listener", "other-address")

_NO_ANSWER = (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH)


def check(case: Case) -> Iterator[Finding]:
    """Nothing listens on the port or the abstract name.

    What it does: looks which listening sockets have the port, on other addresses too.

    Why bad: a server on 127.0.0.1 is not reached by ::1 or by the machine's own address,
    and the other way round.

    Example: ``connect() failed (111: Connection refused) … upstream: "http://[::1]:8000/"``
    for a server that listens on 127.0.0.1.
    """
    attempt = case.attempt
    if attempt is None:
        return
    if attempt.error in _NO_ANSWER and case.tcp is not None:
        yield Finding(
            code="no-listener",
            seen=f"{case.target.place} does not answer: {attempt.words}",
            why="the machine is down, no route leads there, or a firewall drops the packets",
            cure=None,
            confidence=Confidence.POSSIBLE,
            lasting=f"`ip route get {case.tcp.host}` shows the way, `nft list ruleset` the filters",
        )
    if attempt.error != errno.ECONNREFUSED or case.network_differs:
        return
    if isinstance(case.target.place, AbstractPlace):
        yield _nobody(case)
    elif case.tcp is not None:
        others = _others(case)
        yield _elsewhere(case, others[0]) if others else _nobody(case)


def _others(case: Case) -> list[TcpListener]:
    found = case.probes.tcp_listeners(case.asker.process)
    return [one for one in found if case.tcp is not None and one.port == case.tcp.port]


def _elsewhere(case: Case, other: TcpListener) -> Finding:
    shown = f"[{other.host}]" if ":" in other.host else other.host
    place = str(case.target.place)
    return Finding(
        code="other-address",
        seen=f"nothing listens on {place}, but something does on {shown}:{other.port}",
        why="a server that listens on one address is not reached by another one of the machine, "
        "and IPv4 and IPv6 are two",
        cure=advice.change(case, place, f"{shown}:{other.port}") if case.target.line else None,
        lasting=f"connect to {shown}:{other.port}, or have the server listen on this address too",
    )


def _nobody(case: Case) -> Finding:
    return Finding(
        code="no-listener",
        seen=f"nothing listens on {case.target.place}",
        why="the server does not run, or listens elsewhere",
        cure=f"systemctl restart {cures.quote(case.unit.name)}" if case.unit else None,
        lasting="start the server; `ss --listening --processes` shows who listens where",
    )
