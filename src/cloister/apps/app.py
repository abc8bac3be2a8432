"""One application as programs of ``cloister.apps.service``: makes its cells, hears them out."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing

from cloister.apps.certificates import Certificates
from cloister.apps.egress import Egress, Ways, received
from cloister.apps.endpoints import AppEndpoint
from cloister.apps.kept import Kept, LeftProcess, ProcessRecord, cell_digest
from cloister.apps.logs import Sink
from cloister.apps.output import AppLines, Output
from cloister.apps.probes import Listening, Request, wait_accepting, wait_answering
from cloister.apps.readiness import Notification, NotifySocket
from cloister.apps.resources import Resources
from cloister.cells.launch import CellProcess
from cloister.cells.plan import build_cell
from cloister.cells.spec import Fence, Stdin
from cloister.model.app import (
    App,
    CommandProgram,
    Credential,
    Endpoint,
    FileTls,
    Readiness,
    SelfSignedTls,
)
from cloister.model.errors import CloisterError
from cloister.model.lifecycle import HttpProbe
from cloister.proc import descendants, sockets
from cloister.processes import memory_file


class AppProcess:
    """One running cell with its output."""

    def __init__(
        self,
        program: "AppProgram",
        cell: CellProcess,
        output: Output,
        ear: "_Ear",
        keep: "_Keep",
    ) -> None:
        self._program = program
        self._keep = keep
        self._cell = cell
        self._output = output
        self._ear = ear

    @property
    def pid(self) -> int:
        """Of ``cloister-cell`` outside the cell."""
        return self._cell.pid

    @property
    def requests(self) -> int | None:
        """How many requests it answers now; ``None`` where it does not tell."""
        return self._ear.requests

    @property
    def connections(self) -> int | None:
        """How many connections it holds now; ``None`` where it does not tell."""
        return self._ear.connections

    def sockets(self) -> Iterator[int]:
        """The inodes of the sockets that are open anywhere in its cell."""
        return (inode for pid in descendants(self.pid) for inode in sockets(pid))

    async def wait_ready(self) -> None:
        """Returns when it serves, as the application's ``ready`` says."""
        if not self._keep.was_ready:
            await self._become_ready()
            self._keep.ready()

    async def _become_ready(self) -> None:
        ready = self._program.app.ready
        if self._program.app.endpoint is Endpoint.STDIO:
            return  # its connection was there before it
        if ready is Readiness.NOTIFY:
            await self._ear.ready.wait()
            return
        endpoint = self._program.endpoint
        listening = Listening(
            endpoint.listening.socket,
            endpoint.path,
            lambda inode: inode in self.sockets(),
            lambda: self._program.live == {self},
        )
        if isinstance(ready, HttpProbe):
            await wait_answering(listening, _request(self._program.app, ready))
        else:
            await wait_accepting(listening)

    def terminate(self) -> None:
        """SIGTERM, which ``cloister-cell`` passes on to the application."""
        self._cell.signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: the cell's first process dies, and with it all others in the cell."""
        self._cell.signal(signal.SIGKILL)

    async def wait(self) -> int:
        """The application's exit status, after its last line was read."""
        status = await self._cell.wait()
        self._keep.end()
        self._program.live.discard(self)
        self._ear.close()
        await self._output.end()
        if self._program.egress is not None:
            self._program.egress.remove(self)
        return status

    def last_output(self) -> tuple[str, ...]:
        """Its newest lines, standard output and error together."""
        return self._output.last.all()


class AppProgram:
    """Makes the processes of one application, each in a cell of its own."""

    def __init__(
        self,
        app: App,
        endpoint: AppEndpoint,
        certificates: Certificates,
        resources: Resources,
        sink: Sink,
        *,
        kept: Kept | None = None,
        egress: Egress | None = None,
        signer_socket: str | None = None,
    ) -> None:
        """``kept`` is where processes are kept for a next supervisor; without it they end
        with this one. ``egress`` serves the application's ways out, where it has any.
        ``signer_socket`` is where it asks the signer, where it may."""
        self._signer_socket = signer_socket
        self.egress = egress
        self._kept = kept
        self.left: list[LeftProcess] = []
        """Processes of the last supervisor, which are taken before any is made."""
        self.app = app
        self._resources = resources
        self.endpoint = endpoint
        self._certificates = certificates
        self._lines = AppLines(app, sink)
        self.live: set[AppProcess] = set()
        """Those that have not ended."""
        self.message: str | None = None
        """What one of them last said of itself."""
        self.fences: tuple[Fence, ...] = ()
        """What is in force around the newest of them."""
        self.on_load: Callable[[], None] = lambda: None
        """Called when one of them tells how much it has to do."""
        self.on_relief: Callable[[AppProcess], None] = lambda _: None
        """Called when one of them says, as often as it likes, that it has done its share."""

    async def launch(self, number: int = 0) -> AppProcess:
        """A process in a new cell. Of those that live at once each has another number.

        Raises :class:`CellError`, or :class:`CloisterError`.
        """
        return await self._launch(number, None)

    async def launch_for(self, connection: socket.socket, number: int) -> AppProcess:
        """As :meth:`launch`, with a connection as standard input and output, which stays the
        caller's."""
        return await self._launch(number, connection)

    async def _launch(self, number: int, connection: socket.socket | None) -> AppProcess:
        self.message = None
        while self.left:
            left = self.left.pop(0)
            if left.process.returncode is None:
                # Its bound is the kernel's, and holds whoever looks after it.
                with contextlib.suppress(CloisterError):
                    await self._resources.bound_disks(self.app)
                return self._adopt(left, number)
        await self._resources.bound_disks(self.app)
        with self._credentials() as credentials, contextlib.ExitStack() as stack:
            # Before the process is made: a quick one speaks before its launch is over.
            ear = _Ear(self, self._notify_socket(number))
            unheard = stack.enter_context(contextlib.ExitStack())
            unheard.callback(ear.close)
            ways = None if self.egress is None else stack.enter_context(closing(Ways(self.app)))
            plan = build_cell(
                self.app,
                self.endpoint.identity,
                self.endpoint.listening.socket if connection is None else None,
                credentials=credentials,
                notify_socket=ear.path,
                stdin=Stdin.NULL if connection is None else Stdin.INHERIT,
                groups=self._resources.application(self.app),
                egress=None if ways is None else ways.theirs,
                signer_socket=self._signer_socket,
            )
            stack.callback(plan.close)
            who = plan.spec.identity
            owner = (who.host_uid, who.host_gid) if os.geteuid() == 0 else None
            output = Output(self._lines, number, owner=owner)
            stack.callback(output.close_writers)
            try:
                given = asyncio.subprocess.DEVNULL if connection is None else connection.fileno()
                lifeline = None if self._kept is None else _pipe(stack)
                cell = await CellProcess.start(
                    plan,
                    stdin=given,
                    stdout=output.writers[0] if connection is None else given,
                    stderr=output.writers[1],
                    lifeline=lifeline and lifeline[0],
                )
                sockets = await received(ways, cell)
                keep = self._keep(cell, output, ear, lifeline, sockets)
            except BaseException:
                output.close()
                raise
            unheard.pop_all()
        return self._begun(cell, output, ear, keep, sockets)

    def _begun(
        self,
        cell: CellProcess,
        output: Output,
        ear: "_Ear",
        keep: "_Keep",
        sockets: tuple[socket.socket, ...],
    ) -> AppProcess:
        self.fences = cell.fences
        process = AppProcess(self, cell, output, ear, keep)
        ear.process = process
        self.live.add(process)
        if self.egress is not None:
            self.egress.add(process, sockets)
        return process

    def _keep(
        self,
        cell: CellProcess,
        output: Output,
        ear: "_Ear",
        lifeline: tuple[int, int] | None,
        sockets: tuple[socket.socket, ...],
    ) -> "_Keep":
        """Has a new process kept. Before that it ends with this supervisor."""
        if self._kept is None or lifeline is None or cell.returncode is not None:
            return _Keep(None, "", None)
        endpoint = self.endpoint
        record = ProcessRecord(
            app=self.app.name,
            cell=cell_digest(self.app),
            listening=os.fstat(endpoint.listening.socket.fileno()).st_ino,
            uid=endpoint.identity.uid,
            gid=endpoint.identity.gid,
            ready=False,
            notify=ear.path,
            fences=cell.fences,
            group=cell.group,
            since=int(time.time()),
        )
        # Nobody has reaped it: the number is still its own.
        pidfd = os.pidfd_open(cell.pid)
        try:
            descriptors = [pidfd, *output.descriptors, lifeline[1], *ear.descriptors]
            descriptors += [one.fileno() for one in sockets]
            name = self._kept.store_process(record, cell.pid, descriptors)
        finally:
            os.close(pidfd)
        return _Keep(self._kept, name, record)

    async def end(self) -> None:
        """Give up what served its processes. None of them may be left."""
        if self.egress is not None:
            await self.egress.end()

    def _adopt(self, left: LeftProcess, number: int) -> AppProcess:
        """A process of the last supervisor goes on as one of this one's."""
        notify = None
        if left.notify is not None and left.record.notify is not None:
            notify = NotifySocket.adopt(left.notify, left.record.notify, self.endpoint.identity)
        ear = _Ear(self, notify)
        output = Output(self._lines, number, left.output)
        group = self._resources.application(self.app).known(left.record.group)
        cell = CellProcess(left.process, self.app.name, left.record.fences, group)
        keep = _Keep(self._kept, left.name, left.record)
        return self._begun(cell, output, ear, keep, left.egress)

    def _notify_socket(self, number: int) -> NotifySocket | None:
        # The server for Python programs tells its load, too, whatever shows that it is ready.
        if self.app.ready is not Readiness.NOTIFY and isinstance(self.app.program, CommandProgram):
            return None
        path = self.endpoint.notify_path(number)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108 - a text; left by a supervisor that was killed
        made = NotifySocket(path, self.endpoint.identity)
        if not self.app.isolation.namespaces.mount:
            # Nothing can be bound into such a cell: it has to pass the host's folders.
            try:
                made.move(self.endpoint.open_notify_path(number))
            except BaseException:
                made.close()
                raise
        return made

    @contextlib.contextmanager
    def _credentials(self) -> Iterator[tuple[Credential, ...]]:
        """The certificate and its key, for as long as the cell is made."""
        match self.app.tls:
            case None:
                yield ()
            case FileTls(certificate, key):
                yield Credential("tls.crt", certificate), Credential("tls.key", key)
            case SelfSignedTls():
                leaf = self._certificates.leaf(self.app.name)
                # In memory only: the key never has a name on a disk.
                with contextlib.ExitStack() as stack:
                    sources = []
                    for content in (leaf.certificate, leaf.key):
                        descriptor = memory_file("credential", content.encode())
                        stack.callback(os.close, descriptor)
                        sources.append(f"/proc/self/fd/{descriptor}")
                    yield Credential("tls.crt", sources[0]), Credential("tls.key", sources[1])


class _Keep:
    """What the next supervisor would know of one process."""

    def __init__(self, kept: Kept | None, name: str, record: ProcessRecord | None) -> None:
        self._kept = kept
        self._name = name
        self._record = record
        self.was_ready = record is not None and record.ready
        """Whether it serves already."""

    def ready(self) -> None:
        """It serves."""
        if self._kept is not None and self._record is not None:
            self._kept.process_ready(self._name, self._record)

    def end(self) -> None:
        """It has ended."""
        if self._kept is not None:
            self._kept.forget(self._name)


def _pipe(stack: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe that is closed with the stack: reading end, writing end."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    stack.callback(os.close, reading)
    stack.callback(os.close, writing)
    return reading, writing


class _Ear:
    """What one process has said of itself so far."""

    def __init__(self, program: AppProgram, notify: NotifySocket | None) -> None:
        self._program = program
        self._notify = notify
        self.ready = asyncio.Event()
        self.process: AppProcess | None = None
        """Whose it is, once that has begun."""
        self.requests: int | None = None
        self.connections: int | None = None
        if notify is not None:
            notify.watch(self._notified)

    @property
    def path(self) -> str | None:
        """Where it listens to the process."""
        return None if self._notify is None else self._notify.path

    @property
    def descriptors(self) -> tuple[int, ...]:
        """That of its socket."""
        return () if self._notify is None else (self._notify.fileno(),)

    def close(self) -> None:
        """Listen no more."""
        if self._notify is not None:
            self._notify.close()

    def _notified(self, notification: Notification) -> None:
        if notification.status is not None:
            self._program.message = notification.status
        if notification.connections is not None:
            self.connections = notification.connections
        if notification.requests is not None:
            self.requests = notification.requests
            self._program.on_load()
        if notification.ready:
            self.ready.set()
        if notification.relief and self.process is not None:
            self._program.on_relief(self.process)


def _request(app: App, probe: HttpProbe) -> Request:
    """What shows that ``app`` serves. Whatever is reached by a name speaks TLS: the door has
    the name from there."""
    names = [host for host in app.hosts if not host.startswith("*")]
    host = names[0] if names else f"{app.name}.localhost"
    return Request(probe.path, host, app.tls is not None or bool(app.hosts), app.send_proxy)
