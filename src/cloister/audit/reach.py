"""What an identity gets at from a view of the file system: looks at modes, reads nothing.

Asked once for all processes with the same identity and view. Access control lists are not
looked at: where one says more or less than the mode, the mode is believed.
"""

import os
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import lru_cache

from cloister.audit.disks import Disks
from cloister.audit.facts import BoundedDisk, Identity, Process, Reach
from cloister.mounts import of_process

SYSTEM_SECRETS = (
    "/etc/shadow",
    "/etc/gshadow",
    "/etc/krb5.keytab",
    "/etc/ssh/ssh_host_*_key",
    "/var/lib/cloister/authority/*.key",
)
_OF_A_HOME = (
    ".ssh/id_*",
    ".aws/credentials",
    ".config/gcloud/*.json",
    ".docker/config.json",
    ".kube/config",
    ".git-credentials",
    ".netrc",
    ".pgpass",
    ".my.cnf",
    ".s3cfg",
)
KEYS = (
    "/etc/ssl/private/*",
    "/etc/letsencrypt/archive/*/privkey*.pem",
    "/etc/wireguard/*.conf",
    *(f"{home}/{name}" for home in ("/root", "/home/*") for name in _OF_A_HOME),
)
AGENTS = (
    "/tmp/ssh-*/agent.*",  # noqa: S108 (where ssh-agent makes them)
    "/run/user/*/gnupg/S.gpg-agent*",
    "/run/user/*/keyring/ssh",
    "/run/user/*/ssh-agent*",
    "/run/user/*/openssh_agent",
)
MASTERS = (
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/podman/podman.sock",
    "/run/crio/crio.sock",
    "/run/libvirt/libvirt-sock",
    "/run/systemd/private",
    "/var/lib/lxd/unix.socket",
)
DATA = (
    "/srv/*",
    "/home/*",
    "/var/www/*",
    "/var/lib/mysql",
    "/var/lib/postgresql",
    "/var/lib/redis",
)
FOUND_LIMIT = 64
"""More of one kind are not looked for: a folder may hold any number."""
_DISKS = frozenset({"ext4", "ext3", "ext2", "xfs", "btrfs", "f2fs", "zfs", "bcachefs", "overlay"})

_DAC_OVERRIDE = 1 << 1
_DAC_READ_SEARCH = 1 << 2
_READ, _WRITE, _SEARCH = 4, 2, 1


class Reaches:
    """Answers, kept for as long as this object lives."""

    def __init__(self, unix_sockets: frozenset[str], disks: Disks | None = None) -> None:
        """``unix_sockets``: the paths of listening ones anywhere on this machine. ``disks`` says
        what is bounded."""
        self._sockets = sorted(unix_sockets)
        self._disks = Disks() if disks is None else disks
        self._known: dict[tuple[tuple[int, str] | None, Identity], Reach] = {}

    @property
    def unseen(self) -> tuple[str, ...]:
        """What could not be looked at for the answers so far."""
        return self._disks.unseen

    def of(self, process: Process) -> Reach:
        """What this process gets at; nothing where its view may not be looked at."""
        key = (process.view, process.identity)
        if process.view is None:
            return Reach()
        if key not in self._known:
            self._known[key] = self._look(process)
        return self._known[key]

    def _look(self, process: Process) -> Reach:
        view = _View(process.pid, process.identity)
        special = frozenset(view.find(MASTERS, _WRITE)), frozenset(view.find(AGENTS, _WRITE))
        masters, agents = special
        sockets = [
            path
            for path in self._sockets
            if path not in masters | agents and not view.owns(path) and view.may(path, _WRITE)
        ]
        free, bounded = view.writable_disks(self._disks)
        return Reach(
            system_secrets=tuple(view.find(SYSTEM_SECRETS, _READ)),
            keys=tuple(view.find(KEYS, _READ)),
            agents=tuple(sorted(agents)),
            masters=tuple(sorted(masters)),
            foreign_data=tuple(
                path for path in view.find(DATA, _READ | _SEARCH) if not view.owns(path)
            ),
            sockets=tuple(sockets[:FOUND_LIMIT]),
            writable_disks=free,
            bounded_disks=bounded,
        )


class _View:
    """A process's file tree and what it may do there."""

    def __init__(self, pid: int, identity: Identity) -> None:
        self._pid = pid
        self._root = f"/proc/{pid}/root"
        self._identity = identity
        self._passable = lru_cache(maxsize=None)(self._may_pass)

    def find(self, patterns: tuple[str, ...], want: int) -> Iterator[str]:
        """Which of the files that the patterns name it may use so."""
        found = 0
        for pattern in patterns:
            for path in self._expand(pattern):
                if self.may(path, want):
                    yield path
                    found += 1
                    if found >= FOUND_LIMIT:
                        return

    def may(self, path: str, want: int) -> bool:
        """Whether the file is there, every folder on the way can be passed, and it allows
        ``want``. A link is not followed: nobody's secret lies behind a stranger's link."""
        state = self._state(path)
        if state is None or stat.S_ISLNK(state.st_mode):
            return False
        return self._passable(os.path.dirname(path)) and self._allows(state, want)  # noqa: PTH120

    def owns(self, path: str) -> bool:
        """Whether it is its own; root's own is no stranger's either."""
        state = self._state(path)
        return state is not None and state.st_uid == self._identity.uid

    def writable_disks(self, asked: Disks) -> tuple[tuple[str, ...], tuple[BoundedDisk, ...]]:
        """Mount points below which it owns or may write to a folder that is there on most
        machines, of file systems that outlive a restart; and those where each of these folders
        has a bound."""
        free: list[str] = []
        bounded: list[BoundedDisk] = []
        for mount, folders in self._writable_folders().values():
            bounds = [asked.bound(self._root + folder, folder) for folder in folders]
            known = dict(one for one in bounds if one is not None)
            if None in bounds:
                free.append(mount)
            else:
                bounded.append(BoundedDisk(mount, sum(known.values())))
        return tuple(free), tuple(bounded)

    def _writable_folders(self) -> dict[int, tuple[str, list[str]]]:
        """By device: a mount point, and folders that it may write to."""
        tried = ("/", "/srv", "/var", "/var/lib", "/var/log", "/var/tmp", "/tmp", "/home", "/root")  # noqa: S108
        disks = self._disks()
        found: dict[int, tuple[str, list[str]]] = {}
        for path in dict.fromkeys((*tried, *disks)):
            mount, state = self._mount_of(path, disks), self._state(path)
            if mount is None or state is None or not stat.S_ISDIR(state.st_mode):
                continue
            if self.may(path, _WRITE | _SEARCH):
                # One file system may be mounted in many places.
                found.setdefault(state.st_dev, (mount, []))[1].append(path)
        return found

    def _disks(self) -> dict[str, bool]:
        """Mount points, and whether they are disks that can be written to. The last mount of a
        point counts."""
        try:
            mounts = of_process(self._pid)
        except OSError:
            return {}
        return {one.point: one.kind in _DISKS and one.writable for one in mounts}

    def _mount_of(self, path: str, disks: dict[str, bool]) -> str | None:
        while path not in disks:
            if path == "/":
                return None
            path = os.path.dirname(path)  # noqa: PTH120
        return path if disks[path] else None

    def _expand(self, pattern: str) -> Iterator[str]:
        """Files that a pattern names, looked for as the one who audits."""
        paths = [""]
        for part in pattern.strip("/").split("/"):
            if "*" not in part:
                paths = [f"{path}/{part}" for path in paths]
                continue
            found = []
            for path in paths:
                try:
                    names = os.listdir(self._root + path)  # noqa: PTH208
                except OSError:
                    continue
                found += [f"{path}/{name}" for name in sorted(names) if fnmatchcase(name, part)]
            # Public halves are no secrets.
            paths = [path for path in found if not path.endswith(".pub")][: FOUND_LIMIT * 4]
        return iter(paths)

    def _state(self, path: str) -> os.stat_result | None:
        try:
            return os.lstat(self._root + path)
        except OSError:
            return None

    def _may_pass(self, folder: str) -> bool:
        state = self._state(folder)
        if state is None:
            return False
        # A link in the middle would be resolved in this process's root, not in that one's.
        passes = stat.S_ISDIR(state.st_mode) and self._allows(state, _SEARCH)
        return passes and (folder in ("/", "") or self._passable(os.path.dirname(folder)))  # noqa: PTH120

    def _allows(self, state: os.stat_result, want: int) -> bool:
        who = self._identity
        if who.capabilities & _DAC_OVERRIDE:
            return True
        if who.capabilities & _DAC_READ_SEARCH and not want & _WRITE:
            return True
        shift = 6 if state.st_uid == who.uid else 3 if state.st_gid in who.all_groups else 0
        return state.st_mode >> shift & want == want


def unix_sockets(processes: tuple[Process, ...]) -> frozenset[str]:
    """The paths of Unix sockets that listen, of all networks (proc_pid_net(5)): a path is
    reached from any of them."""
    representatives = {process.network: process.pid for process in processes if process.network}
    found = set()
    for pid in representatives.values():
        try:
            with open(f"/proc/{pid}/net/unix", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
                lines = file.readlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.rstrip("\n").split(" ", 7)
            # __SO_ACCEPTCON is 1 << 16.
            if len(fields) == 8 and fields[3] == "00010000" and fields[7].startswith("/"):
                found.add(fields[7])
    return frozenset(found)
