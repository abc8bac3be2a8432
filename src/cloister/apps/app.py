"""One application as a program of ``cloister.apps.service``: makes its cell, hears it out."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator

from cloister.apps.certificates import Certificates
from cloister.apps.endpoints import AppEndpoint
from cloister.apps.lines import LastLines, Line, PipeReader
from cloister.apps.logs import LogEvent, Sink
from cloister.apps.readiness import Notification, wait_accepting
from cloister.cells.launch import CellProcess
from cloister.cells.plan import build_cell
from cloister.model.app import App, Credential, FileTls, Readiness, SelfSignedTls
from cloister.processes import memory_file

_END_OF_OUTPUT = 2.0
"""Seconds that a pipe may stay open after the cell has ended. Nothing of the cell is left
to hold it; this bounds the wait where something else does."""


class AppProcess:
    """One running cell with its output."""

    def __init__(
        self,
        app: App,
        endpoint: AppEndpoint,
        cell: CellProcess,
        output: "_Output",
        notified: asyncio.Event,
    ) -> None:
        """``notified`` is set once it has said ``READY=1``."""
        self._app = app
        self._endpoint = endpoint
        self._cell = cell
        self._output = output
        self._notified = notified

    @property
    def pid(self) -> int:
        """Of ``cloister-cell`` outside the cell."""
        return self._cell.pid

    async def wait_ready(self) -> None:
        """Returns when it serves, as the application's ``ready`` says."""
        if self._app.ready is Readiness.NOTIFY:
            await self._notified.wait()
        else:
            listening = self._endpoint.listening
            await wait_accepting(listening.socket, self._endpoint.path)

    def terminate(self) -> None:
        """SIGTERM, which ``cloister-cell`` passes on to the application."""
        self._cell.signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: the cell's first process dies, and with it all others in the cell."""
        self._cell.signal(signal.SIGKILL)

    async def wait(self) -> int:
        """The application's exit status, after its last line was read."""
        status = await self._cell.wait()
        await self._output.end()
        return status

    def last_output(self) -> tuple[str, ...]:
        """Its newest lines, standard output and error together."""
        return self._output.last.all()


class AppProgram:
    """Makes the processes of one application, one after the other."""

    def __init__(
        self, app: App, endpoint: AppEndpoint, certificates: Certificates, sink: Sink
    ) -> None:
        self.app = app
        self._endpoint = endpoint
        self._certificates = certificates
        self._sink = sink
        self._said_ready = asyncio.Event()
        self.message: str | None = None
        """What it last said of itself."""
        if endpoint.notify is not None:
            endpoint.notify.watch(self._notified)

    async def launch(self) -> AppProcess:
        """A process in a new cell. Raises :class:`CellError`, or :class:`CloisterError`."""
        self.message = None
        # Before the process is made: a quick one speaks before its launch is known to be over.
        notified = self._said_ready = asyncio.Event()
        notify = self._endpoint.notify
        if notify is not None:
            notify.forget()
        with self._credentials() as credentials, contextlib.ExitStack() as stack:
            plan = build_cell(
                self.app,
                self._endpoint.identity,
                self._endpoint.listening.socket,
                credentials=credentials,
                notify_socket=None if notify is None else notify.path,
            )
            stack.callback(plan.close)
            output = _Output(self.app.name, self._sink)
            stack.callback(output.close_writers)
            try:
                cell = await CellProcess.start(
                    plan,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output.writers[0],
                    stderr=output.writers[1],
                )
            except BaseException:
                output.close()
                raise
        return AppProcess(self.app, self._endpoint, cell, output, notified)

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

    def _notified(self, notification: Notification) -> None:
        if notification.status is not None:
            self.message = notification.status
        if notification.ready:
            self._said_ready.set()


class _Output:
    """The two pipes of one process. Must be made on a running event loop."""

    def __init__(self, name: str, sink: Sink) -> None:
        self.last = LastLines()
        self.writers: list[int] = []
        self._readers: list[PipeReader] = []
        for stream in ("stdout", "stderr"):
            reading, writing = os.pipe2(os.O_CLOEXEC)
            self.writers.append(writing)
            self._readers.append(PipeReader(reading, self._teller(name, stream, sink)))

    def _teller(self, name: str, stream: str, sink: Sink) -> Callable[[Line], None]:
        def tell(line: Line) -> None:
            self.last.add(line)
            text = line.text
            if line.dropped:
                text += f" [{line.dropped} bytes more]"
            sink.emit(LogEvent(name, text, fields={"event": "output", "stream": stream}))

        return tell

    def close_writers(self) -> None:
        """Called once the process has its own copies; may be called twice."""
        while self.writers:
            os.close(self.writers.pop())

    async def end(self) -> None:
        """Returns when all was read, or the wait for it is over."""
        try:
            async with asyncio.timeout(_END_OF_OUTPUT):
                for reader in self._readers:
                    await reader.wait_end()
        except TimeoutError:
            pass
        self.close()

    def close(self) -> None:
        """Reads no more."""
        for reader in self._readers:
            reader.close()
