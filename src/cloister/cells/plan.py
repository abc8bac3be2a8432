"""From an application to the cell that it runs in."""

import os
import pwd
import socket
import stat
from collections.abc import Sequence
from pathlib import PurePosixPath

from cloister.cells import idmap, python, view
from cloister.cells.cgroups.app_group import AppGroup, CellGroup
from cloister.cells.fences import build_fences
from cloister.cells.spec import (
    Bind,
    Clocks,
    ControlGroups,
    Descriptor,
    Egress,
    File,
    Filesystem,
    FromDescriptor,
    Identity,
    Link,
    Loopback,
    Namespaces,
    Protections,
    RootFolder,
    SocketFile,
    Spec,
    Stdin,
    Temporary,
    Variable,
)
from cloister.model import isolation as model
from cloister.model.app import App, CommandProgram, Credential, Endpoint
from cloister.model.disk import keeps_projects
from cloister.model.errors import CloisterError
from cloister.model.isolation import HostIdentity
from cloister.model.listener import TcpAddress

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CREDENTIALS = "/run/credentials"
NOTIFY_SOCKET = "/run/notify"
SIGNER_SOCKET = "/run/signer.sock"
TMP = "/tmp"  # noqa: S108 - the cell's own
RUN = "/run"
FIRST_DESCRIPTOR = "3"
"""Of what is passed (sd_listen_fds(3))."""
SOCKET = f"{TMP}/cloister.socket"
"""Where a program makes a socket of its own; in its cell's private folder."""
SHIMMED = frozenset({Endpoint.BIND, Endpoint.PORT})
"""A second program in the cell takes the connections, and relays them."""
RUN_SIZE = 16 * 1024 * 1024
"""Bytes; credentials have at most 1 MiB each."""
NANOSECONDS = 1_000_000_000
"""In a second."""
CREDENTIAL_LIMIT = 1024 * 1024
"""Bytes of one credential that ``cloister-cell`` reads."""


class CellPlan:
    """A cell's specification and the descriptors that it names."""

    def __init__(
        self,
        spec: Spec,
        inherited: Sequence[int],
        opened: Sequence[int],
        group: CellGroup | None = None,
    ) -> None:
        """``opened`` and ``group`` belong to the plan from now on, ``inherited`` stays the
        caller's."""
        self.spec = spec
        self._group = group
        self.descriptors = (*inherited, *opened)
        """What ``cloister-cell`` must inherit, under these very numbers."""
        self._opened = list(opened)

    def close(self) -> None:
        """Gives up what the plan opened and made for itself. Idempotent."""
        while self._opened:
            os.close(self._opened.pop())
        group = self.take_group()
        if group is not None:
            group.remove()

    def take_group(self) -> CellGroup | None:
        """The cell's own control groups, which are the caller's from now on."""
        group, self._group = self._group, None
        return group


def build_cell(
    app: App,
    identity: HostIdentity,
    listening: socket.socket | None,
    *,
    command: Sequence[str] | None = None,
    credentials: Sequence[Credential] = (),
    environment: Sequence[tuple[str, str]] = (),
    notify_socket: str | None = None,
    working_directory: str | None = None,
    stdin: Stdin = Stdin.NULL,
    groups: AppGroup | None = None,
    egress: socket.socket | None = None,
    signer_socket: str | None = None,
) -> CellPlan:
    """The default cell of ``app``; DESIGN section 4 says what it keeps apart.

    ``command`` replaces the application's own program; without it a Python program is
    served by ``python -m cloister.apps.servers``. ``credentials`` and ``environment`` add
    to the application's own; its certificate and key come as the credentials ``tls.crt``
    and ``tls.key``. ``notify_socket`` is the host path of a bound datagram socket, seen in
    the cell as ``$NOTIFY_SOCKET``. ``working_directory``, a path inside the cell, replaces
    the application's folder, which is then not seen at all. ``stdin`` is what the
    application reads. ``groups`` bound what it uses. ``listening`` stays the caller's and
    becomes descriptor 3 inside. ``egress``, the caller's too, is the sending end of a
    ``SOCK_SEQPACKET`` pair for the listening sockets of the application's ways out; without
    it there are none. ``signer_socket`` is the host path of the socket at which the application
    asks the signer, seen in the cell as ``$SIGNER_SOCKET``.

    Opens the credentials and looks at the host's folders. Raises :class:`CloisterError`
    when something that the application names cannot be used.
    """
    isolation = app.isolation
    _refuse_endpoint(app)
    who = idmap.identity(app.name, isolation, identity)
    hostname = isolation.hostname or app.name
    opened, secrets = _open_credentials(app.name, (*app.credentials, *credentials))
    group = None
    try:
        filesystem = _filesystem(
            app,
            who,
            hostname,
            secrets=secrets,
            notify_socket=notify_socket,
            signer_socket=signer_socket,
            folder=app.directory if working_directory is None else None,
        )
        listeners = [] if listening is None else [listening.fileno()]
        group = None if groups is None else groups.cell()
        unified, members = (None, []) if group is None else group.open()
        opened += [*members, *([] if unified is None else [unified])]
        seen = isolation.namespaces.mount
        spec = Spec(
            name=app.name,
            command=tuple(command) if command is not None else _command(app),
            environment=_environment(
                app,
                who,
                chosen=(*app.environment, *environment),
                credentials=bool(secrets),
                notify_socket=NOTIFY_SOCKET if notify_socket and seen else notify_socket,
                signer_socket=SIGNER_SOCKET if signer_socket and seen else signer_socket,
            ),
            working_directory=working_directory or os.path.normpath(app.directory or "/"),
            hostname=hostname,
            identity=who,
            host_groups=identity.groups,
            control_groups=ControlGroups(unified, tuple(members)),
            init=isolation.init,
            namespaces=_namespaces(isolation.namespaces),
            clocks=Clocks(
                isolation.monotonic_offset * NANOSECONDS, isolation.boottime_offset * NANOSECONDS
            ),
            filesystem=filesystem,
            descriptors=tuple(Descriptor(app.name, number) for number in listeners),
            egress=None if egress is None else _egress(app, egress.fileno()),
            stdin=stdin,
            protections=Protections(
                drop_capabilities=True,
                no_new_privileges=True,
                new_session=True,
                new_keyring=True,
                no_core_dumps=not app.fences.core_dumps,
                close_descriptors=True,
            ),
            fences=build_fences(
                app.fences,
                (one.port for one in app.egress if one.port),
                keeps_projects=keeps_projects(app),
            ),
        )
    except BaseException:
        for descriptor in opened:
            os.close(descriptor)
        if group is not None:
            group.remove()
        raise
    passed = [*listeners, *([] if egress is None else [egress.fileno()])]
    return CellPlan(spec, passed, opened, group)


def _egress(app: App, descriptor: int) -> Egress:
    ways = [
        Loopback(place.host, place.port)
        if isinstance(place, TcpAddress)
        else SocketFile(place.path)
        for one in app.egress
        for place in one.places
    ]
    return Egress(descriptor, tuple(ways))


def _namespaces(own: model.Namespaces) -> Namespaces:
    return Namespaces(
        user=own.user,
        mount=own.mount,
        pid=own.pid,
        ipc=own.ipc,
        uts=own.uts,
        cgroup=own.cgroup,
        network=own.network,
        time=own.time,
    )


def _filesystem(
    app: App,
    who: Identity,
    hostname: str,
    *,
    secrets: Sequence[File],
    notify_socket: str | None,
    signer_socket: str | None,
    folder: str | None,
) -> Filesystem:
    """What the cell sees; ``folder`` is the application's own, seen in any case."""
    isolation, automount = app.isolation, app.isolation.automount
    if not isolation.namespaces.mount:
        _refuse_without_mounts(app, bool(secrets))
        return Filesystem(None, (), (), None, (), (), proc=False, dev=False)
    rootfs = isolation.rootfs
    links: list[Link] = []
    binds: list[Bind] = []
    if rootfs is None:
        binds, links = view.system_view()
    if app.endpoint in SHIMMED:
        binds += python.shim_binds()
        if rootfs is not None:
            binds += view.library_view(rootfs.path)
    if not isinstance(app.program, CommandProgram) and automount.language_dependencies:
        binds += python.binds(app.program, None if rootfs is None else rootfs.path)
    if folder is not None and rootfs is None:
        binds.append(view.application_folder(app.name, folder))
    binds += [
        Bind(
            bind.source,
            bind.destination,
            bind.writable,
            bind.executable,
            bind.optional,
            idmap.owners(app.name, bind, who),
        )
        for bind in app.binds
    ]
    # Connecting to a socket writes nothing to its file system: read-only will do.
    binds += [
        Bind(source, place, False, False, False, None)
        for source, place in ((notify_socket, NOTIFY_SOCKET), (signer_socket, SIGNER_SOCKET))
        if source is not None
    ]
    binds = view.arrange(binds)
    temporary = [
        Temporary(one.path, one.size, one.mode, one.executable) for one in isolation.temporary
    ]
    own_places = {one.path for one in temporary}
    if automount.tmp and TMP not in own_places:
        temporary.append(Temporary(TMP, app.tmp_size, 0o1777, executable=True))
    files: list[File] = []
    root, hosts = None, None
    if rootfs is None:
        made = view.made_files(hostname, who, app.egress)
        files = [file for file in made if not view.covered(file.path, binds)]
    else:
        mapped = idmap.image_owners(app.name, rootfs.writable, who) if rootfs.mapped else None
        root = RootFolder(rootfs.path, rootfs.writable, mapped)
        sockets = [one.socket for one in app.egress if one.socket is not None]
        runs = any(PurePosixPath(path).is_relative_to(RUN) for path in sockets)
        if (secrets or notify_socket or signer_socket or runs) and RUN not in own_places:
            # A place of the cell's own for what is put there.
            temporary.append(Temporary(RUN, RUN_SIZE, 0o755, executable=False))
    if rootfs is not None or view.covered(view.HOSTS, binds):
        hosts = view.added_hosts(hostname, app.egress)
    return Filesystem(
        root=root,
        binds=tuple(binds),
        temporary=tuple(temporary),
        hosts=hosts,
        files=(*files, *secrets),
        links=tuple(links),
        proc=automount.proc,
        dev=automount.dev,
    )


def _refuse_without_mounts(app: App, secrets: bool) -> None:
    given = [
        name
        for name, used in (
            ("binds", app.binds),
            ("credentials", secrets),
            ("rootfs", app.isolation.rootfs),
            ("tmpfs", app.isolation.temporary),
        )
        if used
    ]
    if given:
        raise CloisterError(
            f"{app.name} has no mount namespace for its {' and '.join(given)}",
            why="it sees the host's file system as it is, and nothing can be put there for it",
            hint="give it a mount namespace, or take the others away",
        )


def _command(app: App) -> tuple[str, ...]:
    if not isinstance(app.program, CommandProgram):
        return python.command(app, app.program)
    place, value = {
        Endpoint.INHERIT: ("{fd}", FIRST_DESCRIPTOR),
        Endpoint.HANDOFF: ("{fd}", FIRST_DESCRIPTOR),
        Endpoint.BIND: ("{socket}", SOCKET),
        Endpoint.PORT: ("{port}", str(app.port)),
        Endpoint.STDIO: ("", ""),
    }[app.endpoint]
    program, *arguments = app.program.command
    if place:
        arguments = [argument.replace(place, value) for argument in arguments]
    if app.endpoint in SHIMMED:
        target = value if app.endpoint is Endpoint.BIND else f"127.0.0.1:{value}"
        return (*python.shim(target, app.stop_timeout), program, *arguments)
    return (program, *arguments)


def _refuse_endpoint(app: App) -> None:
    own = app.isolation.namespaces
    needed = {
        Endpoint.BIND: (own.mount, "mount", "its socket would lie among the host's files"),
        Endpoint.PORT: (own.network, "network", "its port would be open on the host"),
    }.get(app.endpoint)
    if needed is not None and not needed[0]:
        raise CloisterError(
            f"the endpoint `{app.endpoint.value}` of {app.name} needs a {needed[1]} namespace",
            why=needed[2],
            hint="give it one, or take another endpoint",
        )


def _environment(
    app: App,
    who: Identity,
    *,
    chosen: Sequence[tuple[str, str]],
    credentials: bool,
    notify_socket: str | None,
    signer_socket: str | None,
) -> tuple[Variable, ...]:
    """Sorted by name. What Cloister itself promises cannot be overridden."""
    variables = {"LANG": "C.UTF-8", "PATH": PATH, **_user_variables(app, who)}
    if not isinstance(app.program, CommandProgram):
        # What an application prints is a log line now, not at its end; and what it could
        # not write anyway is not tried.
        variables |= {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    variables.update(chosen)
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        variables.pop(name, None)
    if app.endpoint is Endpoint.BIND:
        variables["SOCKPATH"] = SOCKET
    elif app.endpoint is Endpoint.PORT:
        variables["PORT"] = str(app.port)
    if credentials:
        variables["CREDENTIALS_DIRECTORY"] = CREDENTIALS
    if notify_socket is not None:
        variables["NOTIFY_SOCKET"] = notify_socket
    if signer_socket is not None:
        variables["SIGNER_SOCKET"] = signer_socket
    return tuple(Variable(name, value) for name, value in sorted(variables.items()))


def _user_variables(app: App, who: Identity) -> dict[str, str]:
    """environ(7): as the cell's own /etc/passwd has the user, or the host's where it sees that."""
    name, home = view.user_name(who), view.HOME
    if not app.isolation.namespaces.mount:
        try:
            found = pwd.getpwuid(who.uid)
        except KeyError:
            return {"HOME": "/"}
        name, home = found.pw_name, found.pw_dir
    return {"HOME": home, "LOGNAME": name, "USER": name}


def _open_credentials(app: str, credentials: Sequence[Credential]) -> tuple[list[int], list[File]]:
    """The descriptors and the files in the cell that are filled from them."""
    opened: list[int] = []
    files: list[File] = []
    try:
        for credential in credentials:
            opened.append(_open_credential(app, credential))
            path = f"{CREDENTIALS}/{credential.name}"
            files.append(File(path, 0o400, FromDescriptor(opened[-1])))
    except BaseException:
        for descriptor in opened:
            os.close(descriptor)
        raise
    return opened, files


def _open_credential(app: str, credential: Credential) -> int:
    try:
        # Not blocking: a FIFO in its place must not hold up the supervisor.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        descriptor = os.open(credential.source, flags)
    except OSError as error:
        raise CloisterError(
            f"the credential {credential.name} of {app} cannot be read",
            why=f"{credential.source}: {os.strerror(error.errno or 0)}",
            hint="check the path and the file's permissions",
        ) from error
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_size <= CREDENTIAL_LIMIT:
        return descriptor
    os.close(descriptor)
    raise CloisterError(
        f"the credential {credential.name} of {app} cannot be used",
        why=f"{credential.source} is "
        + ("larger than 1 MiB" if stat.S_ISREG(found.st_mode) else "no regular file"),
        hint="name a file of at most 1 MiB",
    )
