"""Everything that is seen about one way to one socket, looked at once and when first needed."""

import errno
from dataclasses import dataclass
from functools import cached_property

from cloister.diagnose import talk
from cloister.diagnose.access import SEARCH, WRITE, Verdict, judge
from cloister.diagnose.asker import Asker
from cloister.diagnose.facts import (
    AbstractPlace,
    Attempt,
    Credentials,
    Kind,
    Process,
    SocketType,
    Step,
    TcpPlace,
    Unit,
    UnixPlace,
    UnixSocket,
    Walk,
)
from cloister.diagnose.probes.protocol import Probes
from cloister.diagnose.talk import Answer
from cloister.diagnose.target import Speech, Target
from cloister.model.route import SendProxy


@dataclass(frozen=True, slots=True)
class Barrier:
    """One entry on the way that does not let the asker through."""

    step: Step
    want: int
    verdict: Verdict
    with_account_groups: bool
    """Whether the groups that the database gives his user would let him through."""


class Case:
    """One target, one asker, one host."""

    def __init__(self, target: Target, asker: Asker, probes: Probes) -> None:
        self.target = target
        self.asker = asker
        self.probes = probes

    @property
    def path(self) -> str | None:
        """Of a Unix socket in the file system."""
        return self.target.place.path if isinstance(self.target.place, UnixPlace) else None

    @property
    def tcp(self) -> TcpPlace | None:
        """A port, where the target is one."""
        return self.target.place if isinstance(self.target.place, TcpPlace) else None

    @cached_property
    def attempt(self) -> Attempt | None:
        """What the kernel says to the asker; ``None`` where we may not act as him."""
        return self.probes.connect(
            self.target.place,
            self.asker.credentials,
            self.asker.process,
            long_path=self.asker.long_path,
        )

    @property
    def connects(self) -> bool:
        """Whether the kernel lets the asker connect."""
        return self.attempt is not None and self.attempt.error == 0

    @cached_property
    def reach(self) -> Attempt | None:
        """What the socket itself answers, whoever may reach it: as the asker, and where that
        is refused on the way, as ourselves."""
        if self.connects or self.asker.process == self.probes.own:
            return self.attempt
        own = self.probes.own
        return self.probes.connect(self.target.place, own.credentials, None, long_path=True)

    @cached_property
    def walk(self) -> Walk:
        """The path as the asker sees it; empty for what is no path."""
        return Walk("", ()) if self.path is None else self._walk(self.asker.process)

    @cached_property
    def own_walk(self) -> Walk:
        """The path as this process sees it."""
        if self.path is None or not self.other_view:
            return self.walk
        return self._walk(None)

    def _walk(self, view: Process | None) -> Walk:
        return self.probes.walk(self.path or "", view)

    @cached_property
    def other_view(self) -> bool:
        """Whether the asker has another mount namespace or root directory than we."""
        process, own = self.asker.process, self.probes.own
        if process is None:
            return False
        mine, his = own.namespaces.mount, process.namespaces.mount
        return (his is not None and his != mine) or (
            process.root is not None and process.root != own.root
        )

    @cached_property
    def end(self) -> Step | None:
        """What is at the path: for the asker, or where he sees nothing, for us."""
        return self.walk.end or self.own_walk.end

    @cached_property
    def barriers(self) -> tuple[Barrier, ...]:
        """Every entry that refuses the asker, in the order of the path. Where he does not see
        the socket, the way that we see counts: he meets that once he does."""
        walk = self.walk if self.walk.end else self.own_walk
        found = []
        for place, step in enumerate(walk.steps):
            if step.kind is Kind.DIRECTORY and place < len(walk.steps) - 1 + bool(walk.error):
                want = SEARCH
            elif step.kind is Kind.SOCKET:
                want = WRITE
            else:
                continue
            verdict = judge(step, self.asker.credentials, want)
            if not verdict.allowed:
                enough = judge(step, self._with_account_groups, want).allowed
                found.append(Barrier(step, want, verdict, enough))
        return tuple(found)

    @cached_property
    def _with_account_groups(self) -> Credentials:
        who = self.asker.credentials
        account = self.probes.account(who.uid)
        if account is None:
            return who
        return Credentials(who.uid, who.gid, who.groups | account[1], who.capabilities)

    @cached_property
    def bound(self) -> tuple[UnixSocket, ...]:
        """Every Unix socket of the kernel's that was bound by this name, or is at this path."""
        if isinstance(self.target.place, AbstractPlace):
            wanted = f"@{self.target.place.name}"
            return tuple(one for one in self.probes.unix_sockets() if one.name == wanted)
        if self.path is None:
            return ()
        names = {self.path, *(step.path for step in self._ends())}
        return tuple(
            one
            for one in self.probes.unix_sockets()
            if one.name in names or any(self.is_at(one, step) for step in self._ends())
        )

    def _ends(self) -> tuple[Step, ...]:
        return tuple(walk.end for walk in (self.walk, self.own_walk) if walk.end)

    @staticmethod
    def is_at(one: UnixSocket, step: Step) -> bool:
        """Whether the socket's file is this entry. The kernel tells 32 bits of the inode's
        number, and on some file systems (overlayfs, btrfs) another device than stat(2)."""
        if one.file is None or one.file[1] != step.inode & 0xFFFFFFFF:
            return False
        return one.file[0] == step.device or one.name.endswith(step.path.rpartition("/")[2])

    @cached_property
    def socket(self) -> UnixSocket | None:
        """The kernel's socket behind the path or the name."""
        if isinstance(self.target.place, AbstractPlace):
            return self.bound[0] if self.bound else None
        end = self.end
        if end is None or end.kind is not Kind.SOCKET:
            return None
        return next((one for one in self.bound if self.is_at(one, end)), None)

    @cached_property
    def server(self) -> Process | None:
        """Who listens: as the kernel tells a client, else whoever holds the socket."""
        if self.reach is not None and self.reach.peer:
            return self.probes.process(self.reach.peer)
        inode = self.socket.inode if self.socket else self._tcp_inode()
        if inode is None:
            return None
        holders = self.probes.holders(inode)
        return holders[0] if holders else None

    def _tcp_inode(self) -> int | None:
        if self.tcp is None:
            return None
        found = [
            one
            for one in self.probes.tcp_listeners(self.asker.process)
            if one.port == self.tcp.port
        ]
        return found[0].inode if found else None

    @cached_property
    def unit(self) -> Unit | None:
        """The unit of systemd that makes this socket, where one says so."""
        if self.reach is not None and self.reach.error == 0:
            name = self.server.unit if self.server else None
            return next((unit for unit in self.probes.units() if unit.name == name), None)
        return next((unit for unit in self.probes.units() if self.listens(unit)), None)

    def listens(self, unit: Unit) -> bool:
        """Whether the unit says that it makes this socket."""
        place = self.target.place
        if isinstance(place, TcpPlace):
            return any(
                kind == "Stream" and address.rpartition(":")[2] == str(place.port)
                for kind, address in unit.listens
            )
        text = place.path if isinstance(place, UnixPlace) else f"@{place.name}"
        if any(address == text for _, address in unit.listens):
            return True
        if text in unit.settings.get("ExecStart", ""):
            return True
        folder = text.rpartition("/")[0]
        made = unit.settings.get("RuntimeDirectory", "").split()
        return bool(made) and folder in {f"/run/{name}" for name in made}

    @cached_property
    def network_differs(self) -> bool:
        """Whether something listens at this port or name in another network namespace."""
        process, own = self.asker.process, self.probes.own.namespaces.network
        if process is not None and process.namespaces.network not in (None, own):
            return self.reach is not None and self.reach.error == 0
        return bool(self.probes.listening_elsewhere(self.target.place))

    @property
    def wanted_type(self) -> SocketType:
        """What kind of socket the asker connects with."""
        sequenced = isinstance(self.target.place, UnixPlace) and self.target.place.sequenced
        return SocketType.SEQPACKET if sequenced else SocketType.STREAM

    @cached_property
    def socket_in_path(self) -> str | None:
        """A beginning of the path that is a socket, where the path itself is nothing."""
        path = self.path
        if path is None or self.own_walk.error not in (errno.ENOENT, errno.ENOTDIR):
            return None
        for mark in (":", "/"):
            for place in range(len(path) - 1, 0, -1):
                if path[place] != mark or path[place - 1] == "/":
                    continue
                end = self.probes.walk(path[:place]).end
                if end is not None and end.kind is Kind.SOCKET:
                    return path[:place]
        return None

    @cached_property
    def answer(self) -> Answer | None:
        """How the server takes what the asker says; ``None`` where nothing may be said."""
        speech, proxy = self.target.speech, self.target.proxy or SendProxy.NONE
        if speech not in (Speech.HTTP, Speech.TLS):
            return None
        return self._say(speech, proxy)

    @cached_property
    def understood(self) -> tuple[Speech, SendProxy] | None:
        """What the server understands, where it does not understand what the asker says."""
        if self.answer in (None, Answer.UNDERSTOOD):
            return None
        speech, proxy = self.target.speech, self.target.proxy or SendProxy.NONE
        if speech is None:
            return None
        other = Speech.HTTP if speech is Speech.TLS else Speech.TLS
        tries = [(other, proxy)]
        if self.answer is not Answer.SILENCE:  # whoever misses a header, or has one too many, ends
            headers = [one for one in SendProxy if one is not proxy]
            tries += [(speech, one) for one in headers]
            tries += [(other, one) for one in headers]
        for said, header in tries:
            if self._say(said, header) is Answer.UNDERSTOOD:
                return said, header
        return None

    def _say(self, speech: Speech, proxy: SendProxy) -> Answer | None:
        if not (self.reach and self.reach.error == 0):
            return None
        who, view = self.asker.credentials, self.asker.process
        if not self.connects:
            who, view = self.probes.own.credentials, None
        attempt = self.probes.connect(
            self.target.place, who, view, send=talk.words(speech, proxy), long_path=True
        )
        return None if attempt is None or attempt.error else talk.judge(speech, attempt)

    def is_roots(self, path: str) -> bool:
        """Whether nobody but root can change where ``path`` leads in the asker's view. Only
        then may a command of root's write there: a link in another's root directory leads
        whoever follows it from outside to our own files."""
        return all(
            step.uid == 0 and step.kind is not Kind.LINK and not step.mode & 0o022
            for step in self.probes.walk(path, self.asker.process).steps
        )

    def denied(self) -> bool:
        """Whether the asker was refused for lack of permission."""
        return self.attempt is not None and self.attempt.error in (errno.EACCES, errno.EPERM)
