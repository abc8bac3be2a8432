"""Who is to connect: a running process, a user, or a web server's workers."""

import grp
import pwd
import re
from dataclasses import dataclass

from cloister.diagnose.facts import Credentials, Process
from cloister.diagnose.probes.protocol import Probes
from cloister.model.errors import CloisterError, UsageError

SERVERS = {"nginx": "www-data", "apache2": "www-data", "haproxy": "haproxy", "caddy": "caddy"}
"""Servers whose workers ``--as`` finds, and as whom Debian runs them."""

_NOBODY = 65534
_NUMBERS = re.compile(r"(\d+):(\d+)((?:,\d+)*)")


@dataclass(frozen=True, slots=True)
class Asker:
    """Who connects, and how the file system looks to him."""

    words: str
    credentials: Credentials
    process: Process | None = None
    """The running process, whose groups, mounts and root directory count."""
    long_path: bool = False
    """Whether he connects to paths longer than ``sun_path`` holds, as the door does."""

    def __str__(self) -> str:
        return self.words


def of_process(process: Process, *, long_path: bool = False) -> Asker:
    """A process that runs, as it is now."""
    return Asker(str(process), process.credentials, process, long_path)


def of_numbers(words: str, uid: int, gid: int, groups: frozenset[int] = frozenset()) -> Asker:
    """Whoever has these ids and no capability, in this process's own view."""
    return Asker(words, Credentials(uid, gid, groups), None)


def of_group(name: str, probes: Probes) -> Asker:
    """Whoever is in a group because of it: the workers of a server that runs, else a server's
    user or another member by the group database, else somebody with this group and no other.

    Raises :class:`UsageError` where there is no such group.
    """
    try:
        entry = grp.getgrgid(int(name)) if name.isdecimal() else grp.getgrnam(name)
        gid, members = entry.gr_gid, set(entry.gr_mem)
    except KeyError:
        if not name.isdecimal():
            raise UsageError(
                f"there is no group {name!r}",
                why="a socket of the configuration is to have it",
                hint="create it, or name another one",
            ) from None
        gid, members = int(name), set()
    for server in SERVERS:
        worker = _worker(server, probes)
        if worker is not None and gid in worker.credentials.all_groups:
            return worker
    members |= {entry.pw_name for entry in pwd.getpwall() if entry.pw_gid == gid}
    known = [user for user in SERVERS.values() if user in members] or sorted(members)
    if known:
        return _user(known[0], probes)
    return of_numbers(f"a member of group {name}", _NOBODY, gid)


def find(text: str | None, probes: Probes) -> Asker:
    """``--as``: a PID, a user, ``UID:GID[,GROUP...]``, or one of :data:`SERVERS`.

    Without one: nginx's workers where nginx runs, otherwise this process itself.
    Raises :class:`UsageError` where there is nobody of that name.
    """
    if text is None:
        return _worker("nginx", probes) or of_process(probes.own)
    if text.isdecimal():
        process = probes.process(int(text))
        if process is None:
            raise CloisterError(f"there is no process {text}", hint="`ps ax` lists them")
        return of_process(process)
    match = _NUMBERS.fullmatch(text)
    if match:
        groups = frozenset(int(group) for group in match[3].split(",") if group)
        return of_numbers(f"user {match[1]}", int(match[1]), int(match[2]), groups)
    if text in SERVERS:
        return _worker(text, probes) or _user(SERVERS[text], probes, f"{text}, which does not run")
    return _user(text, probes)


def _worker(name: str, probes: Probes) -> Asker | None:
    """The processes that connect are those which have given up root, where there are any."""
    running = probes.named(name)
    workers = [one for one in running if one.credentials.uid != 0] or list(running)
    return of_process(workers[0]) if workers else None


def _user(name: str, probes: Probes, words: str | None = None) -> Asker:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise UsageError(
            f"there is no user {name!r}",
            hint="name a user, a process by its number, UID:GID, or one of "
            + ", ".join(sorted(SERVERS)),
        ) from None
    account = probes.account(entry.pw_uid)
    groups = account[1] if account else frozenset({entry.pw_gid})
    described = f"{words}: as user {name}" if words else f"user {name}"
    if entry.pw_uid == 0:
        return Asker(described, probes.own.credentials, None)
    return of_numbers(described, entry.pw_uid, entry.pw_gid, groups)
