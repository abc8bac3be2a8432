"""Rules ``unknown-name`` and ``no-name-server``."""

import difflib
import socket
from collections.abc import Iterator

from cloister.diagnose import cures
from cloister.diagnose.case import Case
from cloister.diagnose.facts import NAME_FAILED, Attempt
from cloister.diagnose.nginx import advice
from cloister.model.finding import Confidence, Finding

CODES = ("unknown-name", "no-name-server")

_RESOLV_CONF = "/etc/resolv.conf"
_HOSTS = "/etc/hosts"


def check(case: Case) -> Iterator[Finding]:
    """The host's name has no address, or nobody says which.

    What it does: looks the name up in the asker's view, with his resolv.conf and hosts
    file, and again in ours.

    Why bad: without an address nothing is connected to. nginx does not even start:
    ``host not found in upstream``.

    Example: a chroot without /etc/resolv.conf; a name with a typing error.
    """
    attempt = case.attempt
    if case.tcp is None or attempt is None or attempt.error != NAME_FAILED:
        return
    host = case.tcp.host
    resolver = case.probes.read(_RESOLV_CONF, case.asker.process)
    servers = _servers(resolver)
    if _resolves(case.reach) and case.asker.process is not None:
        yield Finding(
            code="no-name-server",
            seen=f"{host} has an address here and none for {case.asker}: its {_RESOLV_CONF} "
            + ("is not there" if resolver is None else f"names {', '.join(servers) or 'nobody'}"),
            why="a process asks the name servers that its own view of the file system names",
            cure=_copy(case) if all(map(case.is_roots, (_RESOLV_CONF, _HOSTS))) else None,
            lasting="give it a resolv.conf of its own that names a server which it reaches",
        )
    elif attempt.name_error == socket.EAI_AGAIN:
        yield Finding(
            code="no-name-server",
            seen=f"no name server answers for {host}: {_RESOLV_CONF} names "
            f"{', '.join(servers) or 'nobody'}",
            why="without an answer there is no address to connect to",
            cure=_resolved(case),
            confidence=Confidence.LIKELY,
            lasting="`resolvectl query NAME` or `dig @SERVER NAME` asks one of them",
        )
    else:
        yield _unknown(case, host)


def _resolves(attempt: Attempt | None) -> bool:
    return attempt is not None and attempt.error != NAME_FAILED


def _servers(text: str | None) -> list[str]:
    lines = (line.split() for line in (text or "").splitlines())
    return [fields[1] for fields in lines if len(fields) > 1 and fields[0] == "nameserver"]


def _copy(case: Case) -> str:
    """Over what is there, so that a file that is mounted gets the text too."""
    etc = _in_view(case, "/etc")
    files = (f"cat {file} > {_in_view(case, file)}" for file in (_RESOLV_CONF, _HOSTS))
    return " && ".join((f"mkdir --parents {etc}", *files))


def _in_view(case: Case, path: str) -> str:
    """The asker's file, as a path of ours."""
    process = case.asker.process
    return f"/proc/{process.pid}/root{path}" if process and case.other_view else path


def _resolved(case: Case) -> str | None:
    stopped = [
        unit.name
        for unit in case.probes.units()
        if unit.name == "systemd-resolved.service" and unit.active != "active"
    ]
    return f"systemctl restart {stopped[0]}" if stopped else None


def _unknown(case: Case, host: str) -> Finding:
    known = _known(case)
    near = difflib.get_close_matches(host, known, 1, 0.7)
    cure = None
    if near and case.target.line is not None:
        cure = advice.change(case, host, near[0])
    elif near and case.is_roots(_HOSTS):
        line = cures.quote(f"{known[near[0]]} {host}")
        cure = f"echo {line} >> {_in_view(case, _HOSTS)}"
    return Finding(
        code="unknown-name",
        seen=f"{host} has no address"
        + (f"; {_HOSTS} has {near[0]}, which is like it" if near else ""),
        why="the name servers say that there is no such name",
        cure=cure,
        confidence=Confidence.LIKELY if near else Confidence.CERTAIN,
        lasting="correct the name where it is configured, or have it entered into the DNS",
    )


def _known(case: Case) -> dict[str, str]:
    """The names of the asker's hosts file, with an address each."""
    found: dict[str, str] = {}
    for line in (case.probes.read(_HOSTS, case.asker.process) or "").splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        found |= dict.fromkeys(names, address)
    return found
