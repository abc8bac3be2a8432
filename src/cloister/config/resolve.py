"""From the syntactic model to a snapshot: defaults that depend, and paths made absolute.

No system calls: what the machine has to say comes in as :class:`Surroundings`. Paths are
taken as text; ``..`` removes the part before it even where that is a symbolic link.
"""

import os.path
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from cloister.config.lines import KeyPath
from cloister.config.problems import Code
from cloister.config.source import Source
from cloister.config.syntax import (
    AppTable,
    BindTable,
    CloisterTable,
    File,
    ListenerTable,
    RouteTable,
    TlsFiles,
)
from cloister.config.validation import Checked
from cloister.model.app import (
    App,
    CommandProgram,
    Credential,
    FileTls,
    Program,
    PythonProgram,
    Readiness,
    SelfSignedTls,
    Tls,
)
from cloister.model.errors import Problem
from cloister.model.isolation import Bind
from cloister.model.listener import Address, Listener, ListenerLimits, SocketOptions, UnixAddress
from cloister.model.route import (
    Route,
    SendProxy,
    ServerNameRoute,
    Target,
    TargetRoute,
    UnixPathTarget,
)
from cloister.model.snapshot import DoorOptions, Paths, Snapshot, default_paths


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a snapshot depends on beside the file's text."""

    folder: PurePosixPath
    """The configuration file's folder, absolute."""
    uid: int
    """The supervisor's effective user id."""
    environment: Mapping[str, str]
    find_program: Callable[[str], str | None]
    """The absolute path of a program of the system, by its name."""


TLS_CREDENTIALS = frozenset({"tls.crt", "tls.key"})
"""The names under which an application finds its certificate and key."""

_NO_PROGRAM = PythonProgram("", "")
"""Stands in where a problem was reported, so that the rest of the application is checked too;
no snapshot with a problem is ever returned from ``load``."""


class Report:
    """Collects problems, each with its place in the source."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.problems: list[Problem] = []

    def add(
        self,
        code: Code,
        what: str,
        path: KeyPath,
        *,
        why: str | None = None,
        hint: str | None = None,
    ) -> None:
        """Adds a problem with what stands, or should stand, at ``path``."""
        self.problems.append(Problem(code, what, self._source.locate(path), why, hint))

    def place(self, path: KeyPath) -> str:
        """For a sentence: where else something stands."""
        where = self._source.locate(path)
        return f"{where.key} in line {where.line}" if where.line is not None else where.key


def resolve(
    checked: Checked, source: Source, surroundings: Surroundings, report: Report
) -> Snapshot:
    """A snapshot of everything that ``checked`` still has; what is wrong goes to ``report``."""
    file = checked.file
    resolver = _Resolver(checked, surroundings, report)
    return Snapshot(
        source=str(surroundings.folder / PurePosixPath(source.file).name),
        paths=resolver.paths(file.cloister),
        ids=file.cloister.ids,
        door=DoorOptions(
            workers=file.door.workers,
            user=file.door.user,
            log_connections=file.door.log_connections,
        ),
        listeners=tuple(resolver.listener(name, table) for name, table in file.listeners.items()),
        apps=resolver.apps(file),
    )


class _Resolver:
    def __init__(self, checked: Checked, surroundings: Surroundings, report: Report) -> None:
        self._checked = checked
        self._surroundings = surroundings
        self._report = report

    def _absolute(self, path: str) -> str:
        return _normal(self._surroundings.folder / path)

    def paths(self, table: CloisterTable) -> Paths:
        default = default_paths(self._surroundings.uid, self._surroundings.environment)
        return Paths(
            runtime=self._absolute(table.runtime_directory or default.runtime),
            state=self._absolute(table.state_directory or default.state),
        )

    def listener(self, name: str, table: ListenerTable) -> Listener:
        socket = table.socket
        return Listener(
            name=name,
            addresses=tuple(self._address(a) for group in table.listen for a in group),
            route=self._route(("listeners", name, "route"), table.route or RouteTable()),
            socket=SocketOptions(
                owner=socket.owner,
                group=socket.group,
                mode=socket.mode,
                directory_mode=socket.directory_mode,
                backlog=socket.backlog,
            ),
            limits=ListenerLimits(
                connections=table.limits.connections,
                hello_timeout=table.limits.hello_timeout,
                connect_timeout=table.limits.connect_timeout,
            ),
        )

    def _address(self, address: Address) -> Address:
        if isinstance(address, UnixAddress) and not address.abstract:
            return replace(address, path=self._absolute(address.path))
        return address

    def _route(self, path: KeyPath, table: RouteTable) -> Route:
        if table.target is None:
            if table.send_proxy is not None and self._checked.complete(path):
                self._report.add(
                    Code.UNUSED_SETTING,
                    "`send-proxy` has no effect without `target`",
                    (*path, "send-proxy"),
                    why="with server names each application and each host says for itself",
                    hint="set it in [apps.NAME], or put an empty file `send-proxy-v1` or "
                    "`send-proxy-v2` into the host's folder",
                )
            return ServerNameRoute(None if table.hosts is None else self._absolute(table.hosts))
        if table.hosts is not None:
            self._report.add(
                Code.CONFLICTING_KEYS,
                "`hosts` and `target` exclude each other",
                (*path, "target"),
                why="a listener sends its connections to one target, or each by its server name",
                hint="remove one of them, or make two listeners",
            )
        return TargetRoute(self._target(table.target), SendProxy(table.send_proxy or "none"))

    def _target(self, target: Target) -> Target:
        if isinstance(target, UnixPathTarget):
            return UnixPathTarget(self._absolute(target.path))
        return target

    def apps(self, file: File) -> tuple[App, ...]:
        apps = []
        for name, table in file.apps.items():
            path: KeyPath = ("apps", name)
            directory = self._directory(table)
            program = self._program(path, table, directory)
            self._check_credentials(path, table)
            apps.append(self._app(name, table, directory, program or _NO_PROGRAM))
        return tuple(apps)

    def _check_credentials(self, path: KeyPath, table: AppTable) -> None:
        for name in sorted(TLS_CREDENTIALS & set(table.credentials)):
            if table.tls is not None:
                self._report.add(
                    Code.CONFLICTING_KEYS,
                    f"`tls` hands over a credential `{name}` already",
                    (*path, "credentials", name),
                    hint="remove `tls`, or give the credential another name",
                )

    def _directory(self, table: AppTable) -> str | None:
        if table.directory is not None:
            return self._absolute(table.directory)
        # A program of the system needs no folder, and what no cell sees nobody reads there.
        program = table.command[0] if table.command else "."
        relative = "/" in program and not program.startswith("/")
        return self._absolute(".") if table.python is not None or relative else None

    def _app(self, name: str, table: AppTable, directory: str | None, program: Program) -> App:
        default = Readiness.NOTIFY if isinstance(program, PythonProgram) else Readiness.ACCEPT
        return App(
            name=name,
            program=program,
            directory=directory,
            hosts=tuple(table.hosts),
            tls=self._tls(table),
            send_proxy=SendProxy(table.send_proxy),
            environment=tuple(table.environment.items()),
            credentials=tuple(
                Credential(credential, self._absolute(source))
                for credential, source in table.credentials.items()
            ),
            binds=tuple(self._bind(bind) for bind in table.binds),
            ready=default if table.ready is None else Readiness(table.ready),
            ready_timeout=table.ready_timeout,
            stop_timeout=table.stop_timeout,
            tmp_size=table.tmp_size,
        )

    def _program(self, path: KeyPath, table: AppTable, directory: str | None) -> Program | None:
        hint = 'for example python = "blog:app", or command = ["/srv/blog/server"]'
        if table.python is not None and table.command is not None:
            self._report.add(
                Code.CONFLICTING_KEYS,
                "`python` and `command` exclude each other",
                (*path, "command"),
                why="an application is one program",
                hint="remove one of them",
            )
        if table.python is not None and table.send_proxy != "none":
            self._report.add(
                Code.CONFLICTING_KEYS,
                "`send-proxy` does not go with `python`",
                (*path, "send-proxy"),
                why="the server that Cloister brings takes a PROXY header for a broken request",
                hint="remove it; a `command` that understands the header may have it",
            )
        if table.python is not None:
            module, _, attribute = table.python.partition(":")
            return PythonProgram(module, attribute)
        if table.command is not None:
            return self._command((*path, "command"), table.command, directory)
        if self._checked.complete(path):
            self._report.add(
                Code.MISSING_KEY, "neither `python` nor `command` is given", path, hint=hint
            )
        return None

    def _command(
        self, path: KeyPath, command: list[str], directory: str | None
    ) -> CommandProgram | None:
        program, *arguments = command
        if not program:
            self._report.add(
                Code.BAD_COMMAND,
                "the program's name is empty",
                (*path, 0),
                hint='for example command = ["/srv/blog/server"]',
            )
            return None
        if "/" in program:
            found: str | None = _normal(PurePosixPath(directory or "/") / program)
        else:
            found = self._surroundings.find_program(program)
        if found is None:
            self._report.add(
                Code.MISSING_FILE,
                f'there is no program "{program}" in the system\'s folders',
                path,
                hint=f'install it, or write "./{program}" for the one in `directory`',
            )
            return None
        return CommandProgram((found, *arguments))

    def _tls(self, table: AppTable) -> Tls | None:
        if isinstance(table.tls, TlsFiles):
            return FileTls(self._absolute(table.tls.certificate), self._absolute(table.tls.key))
        return None if table.tls is None else SelfSignedTls()

    def _bind(self, table: BindTable) -> Bind:
        source = self._absolute(table.source)
        destination = (
            source if table.destination is None else _normal(PurePosixPath(table.destination))
        )
        return Bind(source, destination, writable=table.writable)


def _normal(path: PurePosixPath) -> str:
    """``path``, which is absolute, without ``.``, ``..`` and doubled slashes."""
    # POSIX gives exactly two leading slashes a meaning of their own; Linux does not.
    return "/" + os.path.normpath(path).lstrip("/")
