"""From the syntactic model to a snapshot: defaults that depend, and paths made absolute.

No system calls: what the machine has to say comes in as :class:`Surroundings`. Paths are
taken as text; ``..`` removes the part before it even where that is a symbolic link.
"""

from pathlib import PurePosixPath

from cloister.config import egress, fences, isolation, lifecycle, limits, places, signing
from cloister.config.app_tables import AppTable, BindTable, PythonTable, TlsFiles
from cloister.config.lines import KeyPath
from cloister.config.metrics import AppMetricsTable, MetricsTable
from cloister.config.problems import Code
from cloister.config.resolve_listeners import ListenerResolver
from cloister.config.source import Source
from cloister.config.surroundings import Report, Surroundings
from cloister.config.syntax import File
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
from cloister.model.isolation import Bind
from cloister.model.lifecycle import Processes
from cloister.model.listener import (
    SocketOptions,
)
from cloister.model.metrics import AppMetrics, MetricsOptions
from cloister.model.route import (
    SendProxy,
)
from cloister.model.snapshot import Snapshot

TLS_CREDENTIALS = frozenset({"tls.crt", "tls.key"})
"""The names under which an application finds its certificate and key."""

_PORT = 8080
_STDIO_PROCESSES = 64
"""How many connections are served at once where each takes a process."""
_NO_PROGRAM = PythonProgram("", "")
"""Stands in where a problem was reported, so that the rest of the application is checked too;
no snapshot with a problem is ever returned from ``load``."""


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
            *(resolver.listeners.listener(name, table) for name, table in file.listeners.items()),
            *resolver.listeners.app_listeners(file, paths),
        ),
        apps=resolver.apps(file),
        metrics=resolver.metrics(file.metrics),
        control=places.control(file.cloister.control),
        stores=signing.stores(file.signer, resolver.absolute),
    )


class _Resolver:
    def __init__(self, checked: Checked, surroundings: Surroundings, report: Report) -> None:
        self._checked = checked
        self._surroundings = surroundings
        self._report = report
        self.listeners = ListenerResolver(checked, self.absolute, report)

    def absolute(self, path: str) -> str:
        """A path of the host, which may begin in the configuration's folder."""
        return places.absolute(self._surroundings.folder, path)

    def apps(self, file: File) -> tuple[App, ...]:
        apps = []
        for name, table in file.apps.items():
            path: KeyPath = ("apps", name)
            directory = self._directory(table)
            program = self._program(path, table, directory)
            self._check_credentials(path, table)
            self._check_group(path, table)
            self._check_weight(path, table)
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

    def _check_weight(self, path: KeyPath, table: AppTable) -> None:
        if table.limits.cpu_background == "always" and table.limits.cpu_weight is not None:
            self._report.add(
                Code.UNUSED_SETTING,
                '`cpu-weight` has no effect with `cpu-background = "always"`',
                (*path, "limits", "cpu-weight"),
                why="in the background an application gets what the others leave",
                hint="remove one of the two",
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
        return self.absolute(".") if table.python is not None or relative else None

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
                Credential(credential, self.absolute(source))
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
            egress=egress.resolve(table.egress, self.listeners.target),
            limits=limits.resolve(table.limits, self.absolute),
            tmp_size=table.tmp_size,
            fences=fences.resolve(("apps", name, "fences"), table.fences, self._report),
            metrics=self._app_metrics(table),
            sign=signing.grants(table.sign),
            isolation=isolation.resolve(name, table.isolation, self.absolute),
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
            return FileTls(self.absolute(table.tls.certificate), self.absolute(table.tls.key))
        return None if table.tls is None else SelfSignedTls()

    def metrics(self, table: MetricsTable | None) -> MetricsOptions:
        if table is None:
            return MetricsOptions()
        return MetricsOptions(
            listen=self.listeners.addresses(table.listen),
            socket=SocketOptions(group=table.group, mode=table.mode),
            token=None if table.token is None else self.absolute(table.token),
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
            listen=self.listeners.addresses(metrics.listen or []),
        )

    def _bind(self, table: BindTable) -> Bind:
        source = self.absolute(table.source)
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
