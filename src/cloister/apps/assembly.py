"""Puts together what one version of an application needs to be kept alive."""

from dataclasses import dataclass, field
from functools import partial

from cloister.apps.app import AppProgram
from cloister.apps.certificates import Certificates
from cloister.apps.connections import ConnectionPlan, ConnectionPool
from cloister.apps.egress import Egress
from cloister.apps.endpoints import AppEndpoint
from cloister.apps.keeping import Keeping, PoolPlan
from cloister.apps.kept import Kept
from cloister.apps.load import Census, ListenerLoad
from cloister.apps.log_keeping import keeper
from cloister.apps.logs import Level, LogEvent, Sink
from cloister.apps.pool import Pool
from cloister.apps.resources import Resources
from cloister.model.app import App, Endpoint
from cloister.model.isolation import HostIdentity
from cloister.model.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an application, and what keeps it alive."""

    app: App
    endpoint: AppEndpoint
    program: AppProgram
    service: Keeping
    former: list["Version"] = field(default_factory=list)
    """Earlier versions, which serve until this one does."""


class Assembly:
    """Makes versions; starts none of them."""

    def __init__(
        self,
        door_identity: HostIdentity | None,
        certificates: Certificates,
        resources: Resources,
        sink: Sink,
        kept: Kept | None = None,
    ) -> None:
        """``door_identity`` is whom the doors of ways out become; ``None`` leaves them the
        supervisor's own user. ``kept`` is where what runs is kept for a next supervisor."""
        self._door_identity = door_identity
        self._certificates = certificates
        self._resources = resources
        self._sink = sink
        self._kept = kept
        self._census = Census()

    def version(self, app: App, endpoint: AppEndpoint, snapshot: Snapshot) -> Version:
        """One that does not run yet. The application's lines are kept as it says from now on."""
        self._sink.keep(app.name, keeper(app, snapshot.paths, partial(self._say, app.name)))
        # A process for one connection ends with its supervisor: nobody could await it.
        kept = None if app.endpoint is Endpoint.STDIO else self._kept
        program = AppProgram(
            app,
            endpoint,
            self._certificates,
            self._resources,
            self._sink,
            kept=kept,
            egress=(
                Egress(app, snapshot, self._door_identity, self._sink, kept) if app.egress else None
            ),
            signer_socket=snapshot.paths.signer_app_socket(app.name) if app.sign else None,
        )
        return Version(app, endpoint, program, self._keeping(program))

    def _keeping(self, program: AppProgram) -> Keeping:
        if program.app.endpoint is Endpoint.STDIO:
            return ConnectionPool(_connection_plan(program), self._sink)
        plan = _pool_plan(program, self._resources)
        pool = Pool(plan, ListenerLoad(program.endpoint.listening, self._census), self._sink)
        program.on_load = pool.stirred
        if program.app.restart.after_requests is not None:
            program.on_relief = pool.relieve
        return pool

    def _say(self, name: str, message: str, level: Level) -> None:
        self._sink.emit(LogEvent(name, message, level, fields={"event": "log"}))


def _connection_plan(program: AppProgram) -> ConnectionPlan:
    app = program.app
    return ConnectionPlan(
        app.name,
        program.launch_for,
        program.endpoint.listening.socket,
        app.processes.most,
        app.stop_timeout,
        app.restart,
    )


def _pool_plan(program: AppProgram, resources: Resources) -> PoolPlan:
    app = program.app
    return PoolPlan(
        app.name,
        program.launch,
        app.ready_timeout,
        app.stop_timeout,
        app.processes,
        app.idle_stop,
        app.restart,
        partial(resources.has_room, app.name),
    )
