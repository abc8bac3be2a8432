"""From an application to the cell that it runs in."""

import os
import socket
import stat
import sys
from collections.abc import Sequence

from cloister.cells import view
from cloister.cells.spec import (
    Bind,
    Descriptor,
    File,
    Filesystem,
    FromDescriptor,
    Identity,
    Namespaces,
    Protections,
    Spec,
    Stdin,
    Temporary,
    Variable,
)
from cloister.model.app import App, CommandProgram, Credential
from cloister.model.errors import CloisterError
from cloister.model.isolation import HostIdentity

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CREDENTIALS = "/run/credentials"
NOTIFY_SOCKET = "/run/notify"
CREDENTIAL_LIMIT = 1024 * 1024
"""Bytes of one credential that ``cloister-cell`` reads."""


class CellPlan:
    """A cell's specification and the descriptors that it names."""

    def __init__(self, spec: Spec, inherited: Sequence[int], opened: Sequence[int]) -> None:
        """``opened`` belongs to the plan from now on, ``inherited`` stays the caller's."""
        self.spec = spec
        self.descriptors = (*inherited, *opened)
        """What ``cloister-cell`` must inherit, under these very numbers."""
        self._opened = list(opened)

    def close(self) -> None:
        """Closes what the plan opened for itself (credentials). Idempotent."""
        while self._opened:
            os.close(self._opened.pop())


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
) -> CellPlan:
    """The default cell of ``app``; DESIGN section 4 says what it keeps apart.

    ``command`` replaces the application's own program; without it a Python program is
    served by ``python -m cloister.apps.servers``. ``credentials`` and ``environment`` add
    to the application's own; its certificate and key come as the credentials ``tls.crt``
    and ``tls.key``. ``notify_socket`` is the host path of a bound datagram socket, seen in
    the cell as ``$NOTIFY_SOCKET``. ``working_directory``, a path inside the cell, replaces
    the application's folder, which is then not seen at all. ``stdin`` is what the
    application reads. ``listening`` stays the caller's and becomes descriptor 3 inside.

    Opens the credentials and looks at the host's folders. Raises :class:`CloisterError`
    when something that the application names cannot be used.
    """
    python = not isinstance(app.program, CommandProgram)
    binds, links = view.system_view()
    if python:
        binds += view.python_view()
    if working_directory is None and app.directory is not None:
        binds.append(view.application_folder(app.name, app.directory))
    binds += [
        Bind(bind.source, bind.destination, bind.writable, bind.executable, bind.optional)
        for bind in app.binds
    ]
    if notify_socket is not None:
        # Connecting to a socket writes nothing to its file system: read-only will do.
        binds.append(Bind(notify_socket, NOTIFY_SOCKET, False, False, False))
    binds = view.arrange(binds)
    files = [file for file in view.made_files(app.name) if not view.covered(file.path, binds)]
    opened, secrets = _open_credentials(app.name, (*app.credentials, *credentials))
    try:
        listeners = [] if listening is None else [listening.fileno()]
        spec = Spec(
            name=app.name,
            command=tuple(command) if command is not None else _command(app),
            environment=_environment(
                python=python,
                chosen=(*app.environment, *environment),
                credentials=bool(secrets),
                notify=notify_socket is not None,
            ),
            working_directory=working_directory or os.path.normpath(app.directory or "/"),
            hostname=app.name,
            identity=Identity(view.USER_ID, view.USER_ID, identity.uid, identity.gid),
            namespaces=Namespaces(
                user=True, mount=True, pid=True, ipc=True, uts=True, cgroup=True, network=True
            ),
            filesystem=Filesystem(
                binds=tuple(binds),
                temporary=(Temporary("/tmp", app.tmp_size, 0o1777),),  # noqa: S108
                files=(*files, *secrets),
                links=tuple(links),
                proc=True,
                dev=True,
            ),
            descriptors=tuple(Descriptor(app.name, number) for number in listeners),
            stdin=stdin,
            protections=Protections(
                drop_capabilities=True,
                no_new_privileges=True,
                new_session=True,
                new_keyring=True,
                no_core_dumps=True,
                close_descriptors=True,
            ),
        )
    except BaseException:
        for descriptor in opened:
            os.close(descriptor)
        raise
    return CellPlan(spec, listeners, opened)


def _command(app: App) -> tuple[str, ...]:
    if isinstance(app.program, CommandProgram):
        return app.program.command
    # Requests under way are cut before the supervisor loses its patience, not by it.
    patience = f"{app.stop_timeout * 0.8:g}"
    server = (sys.executable, "-m", "cloister.apps.servers", str(app.program))
    tls = () if app.tls is None else ("--tls",)
    return (*server, *tls, "--stop-timeout", patience)


def _environment(
    *, python: bool, chosen: Sequence[tuple[str, str]], credentials: bool, notify: bool
) -> tuple[Variable, ...]:
    """Sorted by name. What Cloister itself promises cannot be overridden."""
    variables = {
        "HOME": view.HOME,
        "LANG": "C.UTF-8",
        "LOGNAME": view.USER,
        "PATH": PATH,
        "USER": view.USER,
    }
    if python:
        # What an application prints is a log line now, not at its end; and what it could
        # not write anyway is not tried.
        variables |= {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    variables.update(chosen)
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        variables.pop(name, None)
    if credentials:
        variables["CREDENTIALS_DIRECTORY"] = CREDENTIALS
    if notify:
        variables["NOTIFY_SOCKET"] = NOTIFY_SOCKET
    return tuple(Variable(name, value) for name, value in sorted(variables.items()))


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
