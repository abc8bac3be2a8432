"""From Unit's configuration to a snapshot, with Unit's defaults.

Each listener relays whole connections to the socket of its application: what Unit's router does
between them is not there, and neither is its shared memory. An application of type `external`
takes its listening socket by ``LISTEN_FDS`` (sd_listen_fds(3)).
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from cloister.config import places
from cloister.config.lines import KeyPath
from cloister.config.problems import Code
from cloister.config.surroundings import Account, Report, Surroundings
from cloister.config.unit_dialect import identity, names, refusals
from cloister.config.unit_dialect.isolation import isolation
from cloister.config.unit_dialect.syntax import (
    EXTERNAL_ONLY,
    PYTHON_ONLY,
    ApplicationObject,
    IdMappingObject,
    ListenerObject,
    TargetObject,
    UnitFile,
)
from cloister.config.unit_dialect.values import ListenerKey
from cloister.config.validation import CheckedAs
from cloister.model.app import App, CommandProgram, Interface, Program, PythonProgram, Readiness
from cloister.model.isolation import IdMap, IdMapping
from cloister.model.lifecycle import LogOptions, OutputFiles, Processes, RestartPolicy
from cloister.model.listener import Listener, ListenerLimits, SocketOptions
from cloister.model.route import TargetRoute, UnixPathTarget
from cloister.model.snapshot import Paths, Snapshot

SOCKET_MODE = 0o666
"""Of a listener's Unix socket: whoever reaches it may connect (src/nxt_listen_socket.c)."""
EVERYTHING = "/"
"""The root of an application that has a table of mounts of its own and no `rootfs`."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one process serves: an application, or one of its targets."""

    name: str
    """In Unit's configuration."""
    target: str | None
    application: ApplicationObject

    @property
    def path(self) -> KeyPath:
        """Where the application stands."""
        return ("applications", self.name)

    @property
    def text(self) -> str:
        """Both names."""
        return self.name if self.target is None else f"{self.name}/{self.target}"


def parts(file: UnitFile) -> Iterator[Part]:
    """Everything that is served."""
    for name, application in file.applications.items():
        if application.type.python and application.targets:
            for target in application.targets:
                yield Part(name, target, application)
        else:
            yield Part(name, None, application)


def resolve(
    checked: CheckedAs[UnitFile], source_file: str, surroundings: Surroundings, report: Report
) -> Snapshot:
    """A snapshot of everything that ``checked`` still has; what is wrong goes to ``report``."""
    file = checked.file
    resolver = _Resolver(checked, surroundings, report)
    paths = places.paths(
        file.cloister, surroundings.folder, surroundings.uid, surroundings.environment
    )
    door = places.door(file.door)
    return Snapshot(
        source=str(surroundings.folder / PurePosixPath(source_file).name),
        paths=paths,
        ids=file.cloister.ids,
        door=replace(door, workers=door.workers or file.settings.listen_threads),
        listeners=tuple(
            resolver.listener(key, listener, paths) for key, listener in file.listeners.items()
        ),
        apps=tuple(resolver.app(part) for part in parts(file)),
        control=places.control(file.cloister.control),
    )


class _Resolver:
    def __init__(
        self, checked: CheckedAs[UnitFile], surroundings: Surroundings, report: Report
    ) -> None:
        self._checked = checked
        self._file = checked.file
        self._surroundings = surroundings
        self._report = report
        self._names = names.app_names(part.text for part in parts(checked.file))

    def absolute(self, path: str, folder: str | None = None) -> str:
        return places.absolute(PurePosixPath(folder or self._surroundings.folder), path)

    def listener(self, key: ListenerKey, listener: ListenerObject, paths: Paths) -> Listener:
        where: KeyPath = ("listeners", key.text, "pass")
        application = self._file.applications.get(listener.pass_.application)
        wanted = listener.pass_.application
        if listener.pass_.target is not None:
            wanted += f"/{listener.pass_.target}"
        if wanted not in self._names and self._checked.complete(
            ("applications", listener.pass_.application)
        ):
            self._unknown(wanted, application, where)
        idle = application.limits.timeout if application is not None else None
        return Listener(
            name=names.listener_name(key.address),
            addresses=(key.address,),
            route=TargetRoute(UnixPathTarget(paths.app_socket(self._names.get(wanted, "unknown")))),
            socket=SocketOptions(
                mode=SOCKET_MODE, backlog=listener.backlog or SocketOptions().backlog
            ),
            limits=ListenerLimits(idle_timeout=float(idle or 0)),
        )

    def _unknown(self, wanted: str, application: ApplicationObject | None, where: KeyPath) -> None:
        known = ", ".join(f"applications/{name}" for name in self._names)
        several = application is not None and application.targets and "/" not in wanted
        self._report.add(
            Code.UNKNOWN_APPLICATION,
            f"{wanted} has several targets" if several else f"there is no application {wanted}",
            where,
            why="a listener leads to one of them" if several else None,
            hint=f"there is {known}" if known else "describe it in `applications`",
        )

    def app(self, part: Part) -> App:
        application = part.application
        self._foreign_members(part)
        rootfs = application.isolation.rootfs
        folder = application.working_directory
        # Inside a root everything is looked for in that root.
        directory = folder and self.absolute(folder, "/" if rootfs is not None else None)
        program = self._program(part, directory)
        who = self._identity(part)
        group = application.isolation.cgroup
        rootless = self._surroundings.uid != 0
        return App(
            name=self._names[part.text],
            program=program,
            directory=directory,
            environment=tuple(application.environment.items()),
            ready=Readiness.NOTIFY if isinstance(program, PythonProgram) else Readiness.ACCEPT,
            processes=self._processes(part),
            restart=self._restart(part),
            log=self._log(application, directory),
            control_group=None if group is None else group.path,
            user=None if rootless else str(who.host_uid),
            group=None if rootless else str(who.host_gid),
            groups=tuple(str(group) for group in who.groups if group != 0),
            isolation=isolation(part.path, application.isolation, who, self._report),
        )

    def _processes(self, part: Part) -> Processes:
        choice = part.application.processes
        if choice is None or isinstance(choice, int):
            return Processes() if choice is None else Processes(choice)
        if choice.spare > choice.max:
            self._report.add(
                Code.CONFLICTING_KEYS,
                f"{choice.spare} `spare` processes are more than the {choice.max} of `max`",
                (*part.path, "processes", "spare"),
                why="the spare ones count among all",
                hint="lower `spare` or raise `max`",
            )
        return Processes(choice.max, choice.spare, float(choice.idle_timeout))

    def _restart(self, part: Part) -> RestartPolicy:
        requests = part.application.limits.requests
        if requests and not part.application.type.python:
            refused = refusals.REQUESTS_OF_OTHERS
            where = (*part.path, "limits", "requests")
            self._report.add(
                Code.UNSUPPORTED, refused.what, where, why=refused.why, hint=refused.hint
            )
        return RestartPolicy(after_requests=requests or None)

    def _log(self, application: ApplicationObject, directory: str | None) -> LogOptions:
        """With Unit's files the lines are kept as well where they always are."""
        rootfs = application.isolation.rootfs
        folder = directory or ("/" if rootfs is not None else None)
        stdout, stderr = (
            path and self.absolute(path, folder)
            for path in (application.stdout, application.stderr)
        )
        if stdout is None and stderr is None:
            return LogOptions()
        root = None if rootfs is None else "/" + rootfs.strip("/")
        return LogOptions(output=OutputFiles(stdout, stderr, root))

    def _foreign_members(self, part: Part) -> None:
        python = part.application.type.python
        kind, foreign = ("python", EXTERNAL_ONLY) if python else ("external", PYTHON_ONLY)
        for member in sorted(part.application.model_fields_set & foreign):
            self._report.add(
                Code.UNUSED_SETTING,
                f'`{member}` is no member of an application of type "{kind}"',
                (*part.path, member),
                hint="remove it, or correct `type`",
            )

    def _program(self, part: Part, directory: str | None) -> Program:
        if part.application.type.python:
            return self._python(part, directory)
        executable = part.application.executable
        if executable is None:
            if self._checked.complete(part.path):
                self._report.add(
                    Code.MISSING_KEY,
                    "`executable` is missing",
                    part.path,
                    why='an application of type "external" is a program',
                    hint='for example "executable": "/srv/blog/server"',
                )
            return CommandProgram(("/",))
        path = self.absolute(executable, directory)
        return CommandProgram((path, *part.application.arguments))

    def _python(self, part: Part, directory: str | None) -> PythonProgram:
        application = part.application
        served: ApplicationObject | TargetObject = application
        if part.target is not None:
            served = application.targets[part.target]
            for member in sorted(application.model_fields_set & {"module", "callable", "factory"}):
                self._report.add(
                    Code.CONFLICTING_KEYS,
                    f"`{member}` does not go with `targets`",
                    (*part.path, member),
                    why="each target has its own",
                    hint="remove it, or make a target of it",
                )
        if served.module is None and self._checked.complete(part.path):
            self._report.add(
                Code.MISSING_KEY,
                "`module` is missing",
                part.path,
                hint='for example "module": "blog.wsgi"',
            )
        protocol = application.protocol
        return PythonProgram(
            served.module or "unknown",
            served.callable,
            factory=served.factory,
            interface=None if protocol is None else Interface(protocol),
            threads=application.threads,
            interpreter=self._interpreter(part),
            home=application.home and self.absolute(application.home, directory),
            path=tuple(self.absolute(one, directory) for one in application.path),
        )

    def _interpreter(self, part: Part) -> str | None:
        """Another interpreter than Cloister's own, where `type` asks for another version."""
        version = part.application.type.version
        own = ".".join(map(str, sys.version_info[:3]))
        if version is None or part.application.home or f"{own}.".startswith(f"{version}."):
            return None
        found = self._surroundings.find_program(f"python{version}")
        if found is None:
            self._report.add(
                Code.MISSING_FILE,
                f"there is no program python{version} in the system's folders",
                (*part.path, "type"),
                hint=f'install it, or write "python" for {own}',
            )
        return found

    def _identity(self, part: Part) -> identity.Identity:
        application, uid = part.application, self._surroundings.uid
        asked = identity.Asked(
            user=self._user(part),
            named=application.user is not None,
            group=self._group(part),
            credential=application.isolation.namespaces.credential,
            uid_map=id_map(application.isolation.uidmap),
            gid_map=id_map(application.isolation.gidmap),
        )
        own = None
        if uid != 0:
            account = self._surroundings.find_user(str(uid))
            own = (uid, uid if account is None else account.gid)
            self._refuse_others(part, asked, own)
        try:
            return identity.decide(asked, own)
        except identity.UnmappedError as error:
            kind = "user" if error.key == "uidmap" else "group"
            self._report.add(
                Code.BAD_ID_MAP,
                f"`{error.key}` has the {kind} {error.number} on neither side",
                (*part.path, "isolation", error.key),
                why="it is the application's own" + ("" if uid == 0 else " and the supervisor's"),
                hint="map it, on the `host`'s side or the `container`'s",
            )
            return identity.Identity(NOT_ROOT, NOT_ROOT, (), None, None, (), ())

    def _user(self, part: Part) -> Account:
        name = part.application.user
        if name is None:
            return self._surroundings.find_user("nobody") or identity.NOBODY
        found = self._surroundings.find_user(name)
        if found is None:
            self._report.add(
                Code.BAD_USER,
                f"there is no user {name}",
                (*part.path, "user"),
                hint="make it, or name another one",
            )
        return found or identity.NOBODY

    def _group(self, part: Part) -> int | None:
        name = part.application.group
        found = None if name is None else self._surroundings.find_group(name)
        if name is not None and found is None:
            self._report.add(
                Code.BAD_USER,
                f"there is no group {name}",
                (*part.path, "group"),
                hint="make it, or name another one",
            )
        return found

    def _refuse_others(self, part: Part, asked: identity.Asked, own: tuple[int, int]) -> None:
        """Without root there is one user; with a map its name inside may be another."""
        given = part.application
        if asked.credential:
            return
        gid = asked.group
        for key, wrong in (
            ("user", given.user is not None and asked.user.uid != own[0]),
            ("group", gid is not None and gid != own[1]),
        ):
            if wrong:
                self._report.add(
                    Code.BAD_USER,
                    f"the application {part.name} cannot run with another {key}",
                    (*part.path, key),
                    why=f"only root can change it; the supervisor's is {own[key == 'group']}",
                    hint=f"remove `{key}`, or run the supervisor as root",
                )


NOT_ROOT = 65534
"""Stands in where a problem was reported."""


def id_map(objects: list[IdMappingObject]) -> IdMap:
    """As the kernel knows it."""
    return tuple(IdMapping(one.container, one.host, one.size) for one in objects)
