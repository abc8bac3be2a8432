"""Reads /proc once for all processes (proc(5)). Changes nothing. A process that ends meanwhile
is left out."""

import os
import re
from contextlib import suppress
from pathlib import Path

from cloister import proc
from cloister.audit.facts import LOOKED_AT, Host, Identity, Process
from cloister.audit.ports import listening

_SECRET = re.compile(
    r"SECRET|PASSW|TOKEN|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY|CREDENTIAL", re.IGNORECASE
)
_NO_SECRET = frozenset({"CREDENTIALS_DIRECTORY"})
"""A folder's name."""
_LIMITS = ("Max open files", "Max processes", "Max core file size")
"""Titles in ``limits``."""
_CELL = "cloister-cell"
_KERNEL = 2
"""kthreadd, the parent of the kernel's threads."""


def host() -> Host:
    """The machine and every process of this pid namespace that is no thread of the kernel's."""
    namespaces = _namespaces(1) or _namespaces(os.getpid()) or {}
    unseen: list[str] = []
    rows = [row for pid in proc.pids() if (row := _read(pid)) is not None]
    parents = {pid: (int(status["PPid"]), status["Name"]) for pid, status in rows}
    hidden = 0
    processes = []
    for pid, status in rows:
        own = _namespaces(pid)
        hidden += own is None
        app = _cell(pid, parents) if own else None
        processes.append(_process(pid, status, own, namespaces, app))
    if hidden:
        unseen.append(
            f"namespaces, programs and files of {hidden} processes, which this user may not look "
            "into; next: run it as root of the machine"
        )
    return Host(
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        processors=os.cpu_count() or 1,
        access_control=_access_control(),
        processes=tuple(processes),
        listening=listening(processes),
        unseen=tuple(unseen),
    )


def _read(pid: int) -> tuple[int, dict[str, str]] | None:
    try:
        status = proc.status(pid)
    except OSError:
        return None
    if status.get("PPid") == str(_KERNEL) or pid == _KERNEL or status["State"].startswith("Z"):
        return None
    return pid, status


def _process(
    pid: int,
    status: dict[str, str],
    namespaces: dict[str, int] | None,
    hosts: dict[str, int],
    app: str | None,
) -> Process:
    limits = _limits(pid)
    # Their capabilities concern what their own user namespace owns.
    apart = namespaces is not None and namespaces["user"] != hosts.get("user")
    identity = Identity(
        uid=int(status["Uid"].split()[1]),
        gid=int(status["Gid"].split()[1]),
        groups=frozenset(int(group) for group in status["Groups"].split()),
        capabilities=0 if apart else int(status["CapEff"], 16),
    )
    root = proc.link(pid, "root")
    code, both = _code(pid, identity, proc.link(pid, "exe"))
    groups = proc.control_groups(pid)
    return Process(
        pid=pid,
        parent=int(status["PPid"]),
        name=status["Name"],
        identity=identity,
        bounding=int(status["CapBnd"], 16),
        own_user_namespace=apart,
        no_new_privileges=status.get("NoNewPrivs") == "1",
        seccomp=status.get("Seccomp", "0") != "0",
        shared_namespaces=None
        if namespaces is None
        else frozenset(name for name in LOOKED_AT if namespaces[name] == hosts.get(name)),
        view=None if namespaces is None or root is None else (namespaces["mnt"], root),
        network=None if namespaces is None else namespaces["net"],
        control_groups=groups,
        label=proc.label(pid),
        oom_score_adjust=_number(pid, "oom_score_adj"),
        open_files=limits["Max open files"],
        user_processes=limits["Max processes"],
        core_size=limits["Max core file size"],
        writable_code=code,
        writable_and_executable=both,
        secret_variables=_secret_variables(pid),
        unit=proc.unit(groups),
        app=app,
    )


def _cell(pid: int, parents: dict[int, tuple[int, str]]) -> str | None:
    """The name of the cell that a process lives in, which is the host name in there. What
    makes the cell and its init are Cloister's own."""
    above, seen = parents.get(pid), 0
    if above is None or above[1] == _CELL:
        return None
    while above is not None and seen < len(parents):
        parent = parents.get(above[0])
        if parent is not None and parent[1] == _CELL:
            with suppress(OSError):
                return Path(f"/proc/{pid}/root/etc/hostname").read_text("utf-8").strip() or None
            return None
        above, seen = parent, seen + 1
    return None


def may_write(path: str, identity: Identity) -> bool:
    """By owner, group and mode (access control lists are not looked at); False where the file
    is not there."""
    try:
        found = os.stat(path)  # noqa: PTH116 - thousands of them
    except OSError:
        return False
    if identity.uid == 0 and identity.capabilities:
        return True
    if found.st_uid == identity.uid:
        return bool(found.st_mode & 0o200)
    if found.st_gid in identity.all_groups:
        return bool(found.st_mode & 0o020)
    return bool(found.st_mode & 0o002)


def _code(pid: int, identity: Identity, executable: str | None) -> tuple[tuple[str, ...], bool]:
    """Files of its code that it may write to, and whether it has memory that is writable and
    executable. Root may write to all: that is root's own risk."""
    files: dict[str, None] = {} if executable is None else {executable: None}
    both = False
    with suppress(OSError):
        for line in proc.text(pid, "maps").splitlines():
            fields = line.split(None, 5)
            if "x" in fields[1]:
                both = both or "w" in fields[1]
                if len(fields) == 6 and fields[5].startswith("/"):
                    files[fields[5]] = None
    if identity.uid == 0:
        return (), both
    return tuple(path for path in files if _changeable(pid, path, identity)), both


def _changeable(pid: int, path: str, identity: Identity) -> bool:
    """Its content, or what its name stands for. A sticky folder protects its names."""
    if not path.startswith("/") or path.endswith(" (deleted)"):
        return False
    place = f"/proc/{pid}/root{path}"
    folder = os.path.dirname(place)  # noqa: PTH120
    return may_write(place, identity) or may_write(folder, identity)


def _secret_variables(pid: int) -> tuple[str, ...]:
    try:
        text = proc.text(pid, "environ")
    except OSError:
        return ()
    names = (variable.partition("=")[0] for variable in text.split("\0") if "=" in variable)
    return tuple(name for name in names if _SECRET.search(name) and name not in _NO_SECRET)


def _limits(pid: int) -> dict[str, int]:
    """Soft limits by their titles; -1: none, or not to be seen."""
    known = proc.limits(pid) or {}
    return {title: known.get(title, (-1, -1))[0] for title in _LIMITS}


def _namespaces(pid: int) -> dict[str, int] | None:
    try:
        return {name: os.stat(f"/proc/{pid}/ns/{name}").st_ino for name in LOOKED_AT}  # noqa: PTH116
    except OSError:
        return None


def _access_control() -> bool:
    try:
        modules = Path("/sys/kernel/security/lsm").read_text("ascii").split(",")
    except OSError:
        return Path("/sys/fs/selinux/enforce").exists()
    return bool({"apparmor", "selinux", "smack"} & set(modules))


def _number(pid: int, name: str) -> int:
    try:
        return int(proc.text(pid, name))
    except OSError:
        return 0
