"""From the syntactic model to a snapshot: defaults that depend, and paths made absolute.

No system calls: what the machine has to say comes in as :class:`Surroundings`. Paths are
taken as text; ``..`` removes the part before it even where that is a symbolic link.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from cloister.config import egress, fences, isolation, lifecycle, limits, places
from cloister.config.lines import KeyPath
from cloister.config.metrics import AppMetricsTable, MetricsTable
from cloister.config.problems import Code
from cloister.config.source import Source
from cloister.config.syntax import (
    AppTable,
    BindTable,
    File,
    KeepaliveTable,
    ListenerTable,
    PythonTable,
    RouteTable,
    TlsFiles,
)
from cloister.config.validation import Checked
from cloister.model.app import (
    App,
    CommandProgram,
    Credential,
    Endpoint,
    FileTls,
    Interface,
    Program,
    PythonProgram,
    Readiness,
    SelfSignedTls,
    Tls,
)
from cloister.model.errors import Problem
from cloister.model.isolation import Bind
from cloister.model.lifecycle import Processes
from cloister.model.listener import (
    Address,
    Keepalive,
    Listener,
    ListenerLimits,
    SocketOptions,
    UnixAddress,
)
from cloister.model.metrics import AppMetrics, MetricsOptions
from cloister.model.route import (
    Balance,
    Route,
    SendProxy,
    ServerNameRoute,
    Target,
    TargetRoute,
    UnixPathTarget,
)
from cloister.model.snapshot import Paths, Snapshot


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the host as passwd(5) and group(5) have it."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    """Supplementary ones."""


def _nobody_knows(_name: str) -> None:
    return None


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
    find_user: Callable[[str], Account | None] = _nobody_knows
    """A user of the host, by name or number."""
    find_group: Callable[[str], int | None] = _nobody_knows
    """The number of a group of the host, by name or number."""


TLS_CREDENTIALS = frozenset({"tls.crt", "tls.key"})
"""The names under which an application finds its certificate and key."""

_PORT = 8080
_STDIO_PROCESSES = 64
"""How many connections are served at once where each takes a process."""
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
    paths = places.paths(
        file.cloister, surroundings.folder, surroundings.uid, surroundings.environment
    )
    return Snapshot(
        source=str(surroundings.folder / PurePosixPath(source.file).name),
        paths=paths,
        ids=file.cloister.ids,
        door=places.door(file.door),
        listeners=(
            *(resolver.listener(name, table) for name, table in file.listeners.items()),
            *resolver.app_listeners(file, paths),
        ),
        apps=resolver.apps(file),
        metrics=resolver.metrics(file.metrics),
        control=places.control(file.cloister.control),
    )


class _Resolver:
    def __init__(self, checked: Checked, surroundings: Surroundings, report: Report) -> None:
        self._checked = checked
        self._surroundings = surroundings
        self._report = report

    def _absolute(self, path: str) -> str:
        return places.absolute(self._surroundings.folder, path)

    def listener(self, name: str, table: ListenerTable) -> Listener:
        socket = table.socket
        return Listener(
            name=name,
            addresses=self._addresses(table.listen),
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
                connections_per_client=table.limits.connections_per_client,
                connections_per_host=table.limits.connections_per_host,
                hello_timeout=table.limits.hello_timeout,
                connect_timeout=table.limits.connect_timeout,
                idle_timeout=table.limits.idle_timeout,
            ),
            accept_proxy=tuple(table.accept_proxy),
            keepalive=self._keepalive(table.keepalive),
        )

    def app_listeners(self, file: File, paths: Paths) -> Iterator[Listener]:
        """Those that applications have of their own, by their names."""
        for name, table in file.apps.items():
            if not table.listen:
                continue
            path: KeyPath = ("apps", name, "listen")
            if name in file.listeners:
                self._report.add(
                    Code.CONFLICTING_KEYS,
                    f"there is a listener called {name} already",
                    path,
                    why="`listen` of an application makes a listener of the application's name",
                    hint="give that listener another name",
                )
            if table.endpoint == "handoff":
                self._report.add(
                    Code.CONFLICTING_KEYS,
                    '`listen` does not go with `endpoint = "handoff"`',
                    path,
                    why="a connection is handed off by its TLS server name",
                    hint="give it `hosts`, or another `endpoint`",
                )
            yield Listener(
                name=name,
                addresses=self._addresses(table.listen),
                route=TargetRoute(
                    UnixPathTarget(paths.app_socket(name)), SendProxy(table.send_proxy)
                ),
            )

    def _keepalive(self, table: KeepaliveTable | None) -> Keepalive | None:
        if table is None:
            return None
        # The kernel counts whole seconds; a fraction waits for the next one.
        return Keepalive(math.ceil(table.idle), math.ceil(table.interval), table.probes)

    def _addresses(self, groups: list[tuple[Address, ...]]) -> tuple[Address, ...]:
        return tuple(self._address(address) for group in groups for address in group)

    def _address(self, address: Address) -> Address:
        if isinstance(address, UnixAddress) and not address.abstract:
            return replace(address, path=self._absolute(address.path))
        return address

    def _route(self, path: KeyPath, table: RouteTable) -> Route:
        if table.target is None:
            if table.balance is not None and self._checked.complete(path):
                self._report.add(
                    Code.UNUSED_SETTING,
                    "`balance` has no effect without `target`",
                    (*path, "balance"),
                    why="an application and a host have one socket each",
                    hint="remove it",
                )
            if table.send_proxy is not None and self._checked.complete(path):
                self._report.add(
                    Code.UNUSED_SETTING,
                    "`send-proxy` has no effect without `target`",
                    (*path, "send-proxy"),
                    why="with server names each application and each host says for itself",
                    hint="set it in [apps.NAME], or put an empty file `send-proxy-v1` or "
                    "`send-proxy-v2` into the host's folder",
                )
            if table.hosts is None:
                self._hashed_for_nothing(path, table)
                return ServerNameRoute()
            return ServerNameRoute(self._absolute(table.hosts), hashed=bool(table.hashed))
        if table.hosts is not None:
            self._report.add(
                Code.CONFLICTING_KEYS,
                "`hosts` and `target` exclude each other",
                (*path, "target"),
                why="a listener sends its connections to one target, or each by its server name",
                hint="remove one of them, or make two listeners",
            )
        self._hashed_for_nothing(path, table)
        return TargetRoute(
            self._target(table.target),
            SendProxy(table.send_proxy or "none"),
            Balance(table.balance or "round-robin"),
        )

    def _hashed_for_nothing(self, path: KeyPath, table: RouteTable) -> None:
        if table.hashed is not None and table.hosts is None and self._checked.complete(path):
            self._report.add(
                Code.UNUSED_SETTING,
                "`hashed` has no effect without `hosts`",
                (*path, "hashed"),
                why="it says how the folders of a hosts directory are called",
                hint='name the directory: hosts = "/srv/hosts"',
            )

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
            self._check_group(path, table)
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

    def _check_group(self, path: KeyPath, table: AppTable) -> None:
        if table.group is not None and table.user is None and self._checked.complete(path):
            self._report.add(
                Code.UNUSED_SETTING,
                "`group` has no effect without `user`",
                (*path, "group"),
                why="an application with ids of its own has a group of its own",
                hint="add `user`, or name the group in `groups`",
            )

    def _base(self, table: AppTable) -> PurePosixPath:
        """Where relative paths begin of what the application itself sees."""
        rooted = table.isolation.rootfs is not None
        return PurePosixPath("/") if rooted else self._surroundings.folder

    def _directory(self, table: AppTable) -> str | None:
        if table.directory is not None:
            return places.absolute(self._base(table), table.directory)
        if table.isolation.rootfs is not None:
            return None  # the root itself
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
            endpoint=Endpoint(table.endpoint),
            environment=tuple(table.environment.items()),
            credentials=tuple(
                Credential(credential, self._absolute(source))
                for credential, source in table.credentials.items()
            ),
            binds=tuple(self._bind(bind) for bind in table.binds),
            port=_PORT if table.port is None else table.port,
            processes=self._processes(table),
            idle_stop=table.idle_stop,
            restart=lifecycle.restart(table.restart),
            log=lifecycle.log(table.log),
            ready=default if table.ready is None else table.ready,
            ready_timeout=table.ready_timeout,
            stop_timeout=table.stop_timeout,
            user=table.user,
            group=table.group,
            groups=tuple(table.groups),
            egress=egress.resolve(table.egress, self._target),
            limits=limits.resolve(table.limits, self._absolute),
            tmp_size=table.tmp_size,
            fences=fences.resolve(("apps", name, "fences"), table.fences, self._report),
            metrics=self._app_metrics(table),
            isolation=isolation.resolve(name, table.isolation, self._absolute),
        )

    def _processes(self, table: AppTable) -> Processes:
        if table.processes is None:
            return Processes(_STDIO_PROCESSES if table.endpoint == "stdio" else 1)
        return lifecycle.processes(table.processes)

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
        if table.endpoint == "handoff" and table.send_proxy != "none":
            self._report.add(
                Code.CONFLICTING_KEYS,
                '`send-proxy` does not go with `endpoint = "handoff"`',
                (*path, "send-proxy"),
                why="nothing can precede a client's bytes in its own connection",
                hint="remove it: what it would say comes beside the connection",
            )
        if table.python is not None:
            return self._python((*path, "python"), table.python, self._base(table))
        if table.command is not None:
            return self._command((*path, "command"), table.command, directory)
        if self._checked.complete(path):
            self._report.add(
                Code.MISSING_KEY, "neither `python` nor `command` is given", path, hint=hint
            )
        return None

    def _python(
        self, path: KeyPath, python: str | PythonTable, base: PurePosixPath
    ) -> PythonProgram:
        table = PythonTable(app=python) if isinstance(python, str) else python
        module, _, attribute = table.app.partition(":")
        if table.interface == "asgi" and table.threads is not None:
            self._report.add(
                Code.UNUSED_SETTING,
                '`threads` has no effect with `interface = "asgi"`',
                (*path, "threads"),
                why="one event loop answers all requests of a process",
                hint="remove it",
            )
        return PythonProgram(
            module,
            attribute,
            factory=table.factory,
            interface=None if table.interface is None else Interface(table.interface),
            threads=table.threads,
            home=None if table.home is None else places.absolute(base, table.home),
            path=tuple(places.absolute(base, one) for one in table.path),
        )

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
            found: str | None = places.absolute(PurePosixPath(directory or "/"), program)
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

    def metrics(self, table: MetricsTable | None) -> MetricsOptions:
        if table is None:
            return MetricsOptions()
        return MetricsOptions(
            listen=self._addresses(table.listen),
            socket=SocketOptions(group=table.group, mode=table.mode),
            token=None if table.token is None else self._absolute(table.token),
        )

    def _app_metrics(self, table: AppTable) -> AppMetrics | None:
        metrics = table.metrics
        if metrics is None:
            return None
        tls = table.tls is not None
        if not isinstance(metrics, AppMetricsTable):
            return AppMetrics(path=metrics, tls=tls)
        return AppMetrics(
            path=metrics.path,
            tls=tls if metrics.tls is None else metrics.tls,
            timeout=metrics.timeout,
            max_size=metrics.max_size,
            listen=self._addresses(metrics.listen or []),
        )

    def _bind(self, table: BindTable) -> Bind:
        source = self._absolute(table.source)
        destination = (
            source
            if table.destination is None
            else places.absolute(PurePosixPath("/"), table.destination)
        )
        return Bind(
            source,
            destination,
            writable=table.writable,
            executable=table.executable,
            owner=table.owner,
            group=table.group,
        )
