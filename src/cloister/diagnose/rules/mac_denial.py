"""Rule ``mac-denial``."""

import re
import time
from collections.abc import Iterator

from cloister.diagnose import cures
from cloister.diagnose.case import Case
from cloister.diagnose.facts import Process
from cloister.model.finding import Confidence, Finding

CODES = ("mac-denial",)

_PROFILES = "/etc/apparmor.d"
_RECENT = 3600.0
"""Seconds: what was refused longer ago may be allowed by now."""
_FIELD = re.compile(r'(\w+)=(?:"([^"]*)"|(\S+))')
_TIME = re.compile(r"audit\((\d+\.\d+):\d+\)")
_CHANGE = re.compile(r"type=(?:1403|MAC_POLICY_LOAD)|operation=\"profile_replace\"")
_OTHER = re.compile(r"[^A-Za-z0-9]")
_PLAIN = re.compile(r"[A-Za-z0-9/._@+-]+")
"""A path that means itself in a rule of a profile: whoever makes the socket chooses its name."""
_PERMISSIONS = re.compile(r"denied\s+\{ ([^}]+) \}")


def check(case: Case) -> Iterator[Finding]:
    """SELinux or AppArmor refused it, and said so in the log.

    What it does: reads the audit and kernel logs for refusals of the last hour, since the
    last change of the policy, that name the asker's program and this socket.

    Why bad: a security module decides after modes and lists, and whoever is refused gets
    the same "Permission denied".

    Example: ``avc: denied { connectto } for comm="nginx" path="/run/app.sock" …``.
    """
    process = case.asker.process
    if process is None or not (case.denied() or process.label):
        return
    lines = case.probes.denials()
    changed = max(map(_changed, lines), default=0.0)
    for line in reversed(lines):
        fields = {name: quoted or plain for name, quoted, plain in _FIELD.findall(line)}
        if fields.get("comm") != process.name or not _about(case, fields):
            continue
        if not _recent(line, changed):
            continue
        finding = (
            _apparmor(case, fields)
            if "apparmor" in fields
            else _selinux(case, line, fields, process)
        )
        if finding is not None:
            yield finding
        return


def _time(line: str) -> float | None:
    match = _TIME.search(line)
    return float(match[1]) if match else None


def _changed(line: str) -> float:
    """When a policy was loaded, where the line says so."""
    return (_time(line) or 0.0) if _CHANGE.search(line) else 0.0


def _recent(line: str, changed: float) -> bool:
    at = _time(line)
    return at is None or (at > changed and time.time() - at < _RECENT)


def _about(case: Case, fields: dict[str, str]) -> bool:
    if _is_family(fields):
        return fields["family"] in (("unix",) if case.tcp is None else ("inet", "inet6"))
    if case.tcp is not None:
        return fields.get("dest") == str(case.tcp.port)
    names = {step.path for walk in (case.walk, case.own_walk) for step in walk.steps}
    names |= {case.path or ""}
    if fields.get("path", fields.get("name", "")) in names:
        return True
    # SELinux names the last entry only, with its inode.
    inodes = {str(step.inode) for step in case.walk.steps}
    return fields.get("ino") in inodes


def _is_family(fields: dict[str, str]) -> bool:
    """Whether AppArmor refused to make a socket of a whole family at all. It is all that it does
    about Unix sockets before Linux 6.17 (security/apparmor/lsm.c, apparmor_socket_create()):
    connecting to one that has a path is asked of nobody there."""
    return fields.get("operation") == "create" and "family" in fields


def _apparmor(case: Case, fields: dict[str, str]) -> Finding | None:
    profile = fields.get("profile", "")
    words: tuple[str, ...]
    if _is_family(fields):
        words = ("network", fields["family"], fields.get("sock_type", "stream"))
        seen = f"a socket of {words[1]}, {words[2]}"
    else:
        words = (
            fields.get("name", case.path or ""),
            fields.get("requested_mask", "rw").replace("wr", "rw"),
        )
        seen = f"{fields.get('operation', 'access')} ({words[1]}) on {words[0]}"
    rule = f"{' '.join(words)},"
    file = _profile_file(case, profile)
    if file is not None and rule in (case.probes.read(file) or ""):
        return None  # it is allowed by now
    header = profile.replace("/", "\\/").replace(".", "\\.")
    insert = cures.quote(f"/^\\(profile \\+\\)\\?{header} *\\( .*\\)\\?{{/a\\  {rule}")
    return Finding(
        code="mac-denial",
        seen=f"AppArmor's profile {profile} refused {seen}, by the log",
        why="the profile of a program lists what it may reach: connecting needs a `network` line "
        "for the socket's family, and rw on its path where the kernel asks for that as well",
        cure=f"sed -i {insert} {file} && apparmor_parser --replace {file}"
        if file and all(map(_PLAIN.fullmatch, words))
        else None,
        confidence=Confidence.CERTAIN if case.denied() else Confidence.LIKELY,
        lasting=f"lines of one's own belong into /etc/apparmor.d/local/, which survives upgrades, "
        f"where the profile includes it: {rule}",
    )


def _profile_file(case: Case, profile: str) -> str | None:
    """The file that defines it, in the form that the cure can add a line to."""
    if not _PLAIN.fullmatch(profile):
        return None
    # A file is mostly called by its program's path; a profile may have a name of its own.
    likely = [profile.strip("/"), profile.strip("/").replace("/", ".")]
    header = re.compile(rf"^(?:profile +)?{re.escape(profile)} *(?: .*)?\{{", re.MULTILINE)
    for name in (*likely, *case.probes.names(_PROFILES)):
        if _PLAIN.fullmatch(name) and header.search(case.probes.read(f"{_PROFILES}/{name}") or ""):
            return f"{_PROFILES}/{name}"
    return None


def _records(case: Case, process: Process) -> str:
    """A command that prints the refusals: auditd's log where there is one, else the kernel's."""
    comm = cures.quote(process.name)
    if case.probes.has_program("ausearch"):
        return f"ausearch --message avc --comm {comm} --raw"
    pattern = cures.quote(f'avc: .* comm="{process.name}"')
    return f"dmesg | grep -- {pattern}"


def _selinux(case: Case, line: str, fields: dict[str, str], process: Process) -> Finding:
    match = _PERMISSIONS.search(line)
    permissions = match[1] if match else "access"
    source = fields.get("scontext", "?").split(":")[2:3] or ["?"]
    target = fields.get("tcontext", "?").split(":")[2:3] or ["?"]
    # The program chose its name itself: nothing of it may mean something to the shell.
    module = f"cloister_doctor_{_OTHER.sub('_', process.name)}"
    return Finding(
        code="mac-denial",
        seen=f"SELinux refused {source[0]} {{ {permissions} }} on {target[0]} "
        f"({fields.get('tclass', '?')}), by the log",
        why="the policy allows nothing that it does not say; labels decide, not modes",
        cure=f"cd /root && {_records(case, process)} | audit2allow -M {module} && "
        f"semodule --install {module}.pp",
        confidence=Confidence.LIKELY,
        lasting="better: give the socket's folder the type that the policy expects (semanage "
        "fcontext, restorecon); `cloister generate selinux` writes a policy for Cloister",
    )
