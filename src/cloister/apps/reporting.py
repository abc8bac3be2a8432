"""From the state of what a supervisor runs, and the door's counters, to what it tells of it."""

from collections.abc import Iterable

from cloister.apps.app import AppProcess
from cloister.apps.assembly import Version
from cloister.apps.brief import AppBrief
from cloister.apps.endpoints import ListenerEndpoint
from cloister.apps.front_door import FrontDoorProcess, FrontDoorProgram
from cloister.apps.keeping import Keeping
from cloister.apps.machine import State
from cloister.apps.resources import Resources
from cloister.apps.service import Service
from cloister.apps.status import (
    AppStatus,
    DoorStatus,
    ListenerStatus,
    ProcessStatus,
    ProtectionStatus,
    Traffic,
)
from cloister.door.messages import AppStatistics, Statistics
from cloister.model.app import App, CommandProgram
from cloister.model.listener import Listener
from cloister.model.route import ServerNameRoute, TargetRoute


def listener_statuses(
    listeners: Iterable[Listener],
    endpoints: Iterable[ListenerEndpoint],
    statistics: Statistics | None,
) -> tuple[ListenerStatus, ...]:
    """Of each address; without counters where the door tells nothing."""
    counters = {
        (one.name, one.address): one for one in (statistics.listeners if statistics else ())
    }
    configured = {listener.name: listener for listener in listeners}
    found = []
    for endpoint in endpoints:
        address = str(endpoint.bound.address)
        one = counters.get((endpoint.listener, address))
        listener = configured[endpoint.listener]
        route = listener.route
        names = route if isinstance(route, ServerNameRoute) else ServerNameRoute()
        found.append(
            ListenerStatus(
                name=endpoint.listener,
                address=address,
                route=describe_route(listener),
                accepted=one.accepted if one else None,
                active=one.active if one else None,
                outcomes=dict(one.outcomes) if one else {},
                hosts_directory=names.hosts_directory,
                hashed=names.hashed,
                bytes_to_target=one.bytes_to_target if one else None,
                bytes_to_client=one.bytes_to_client if one else None,
            )
        )
    return tuple(found)


def traffic_by_app(apps: Iterable[str], statistics: Statistics | None) -> dict[str, Traffic]:
    """Of each application; empty where the door tells nothing."""
    if statistics is None:
        return {}
    counted = {
        one.name: Traffic(one.accepted, one.active, one.bytes_to_target, one.bytes_to_client)
        for one in statistics.apps
    }
    nothing = Traffic(0, 0, 0, 0)
    return {name: counted.get(name, nothing) for name in apps}


async def app_status(version: Version, traffic: Traffic | None, resources: Resources) -> AppStatus:
    """Reads the application's control groups: some hundred system calls. Waits for the door of
    its ways out, at most a second."""
    egress = version.program.egress
    ways = () if egress is None else await egress.status()
    app, service = version.app, version.service
    return AppStatus(
        name=app.name,
        program=describe_program(app),
        state=service.state.value,
        since=service.since,
        pid=service.process.pid if service.process else None,
        restarts=service.restarts,
        host_uid=version.endpoint.identity.uid,
        hosts=app.hosts,
        socket=version.endpoint.path,
        message=version.program.message,
        failure=service.failure,
        traffic=traffic,
        processes=tuple(
            _process_status(one)
            for one in service.services
            if one.state not in (State.DORMANT, State.STOPPED)
        ),
        resources=resources.status(app.name),
        fences=tuple(
            ProtectionStatus(one.name, one.active, one.detail) for one in version.program.fences
        ),
        egress=ways,
    )


def _process_status(service: Service) -> ProcessStatus:
    process = service.process
    return ProcessStatus(
        state=service.state.value,
        since=service.since,
        pid=process.pid if process else None,
        restarts=service.restarts,
        requests=process.requests if isinstance(process, AppProcess) else None,
    )


def door_status(
    door: Service,
    process: FrontDoorProcess | None,
    program: FrontDoorProgram,
    host_uid: int,
    statistics: Statistics | None,
) -> DoorStatus:
    """``process`` is the one that serves now, ``program`` what starts and replaces it."""
    protections = () if process is None else process.protections
    return DoorStatus(
        state=door.state.value,
        since=door.since,
        pid=process.pid if process else None,
        restarts=door.restarts,
        host_uid=host_uid,
        generation=program.generation,
        replacements=program.replacements,
        draining=len(program.retired),
        protections=tuple(
            ProtectionStatus(one.name, one.active, one.detail) for one in protections
        ),
        workers=statistics.workers if statistics else None,
        accepted=statistics.accepted if statistics else None,
        active=statistics.active if statistics else None,
        log_lines_lost=statistics.log_lines_lost if statistics else None,
        accept_pauses=statistics.accept_pauses if statistics else None,
        bytes_to_target=statistics.bytes_to_target if statistics else None,
        bytes_to_client=statistics.bytes_to_client if statistics else None,
        hello=statistics.hello if statistics else None,
        connect=statistics.connect if statistics else None,
        answer=statistics.answer if statistics else None,
        outcomes=dict(statistics.outcomes) if statistics else {},
        failure=door.failure,
    )


def app_brief(
    name: str,
    service: Keeping,
    counted: AppStatistics | None,
    groups: tuple[tuple[str, int], ...],
) -> AppBrief:
    """What changes all the time. ``groups`` are the application's control groups."""
    return AppBrief(
        name=name,
        state=service.state.value,
        pids=tuple(one.process.pid for one in service.services if one.process),
        restarts=service.restarts,
        accepted=counted.accepted if counted else 0,
        active=counted.active if counted else 0,
        bytes_to_target=counted.bytes_to_target if counted else 0,
        bytes_to_client=counted.bytes_to_client if counted else 0,
        groups=groups,
    )


def describe_route(listener: Listener) -> str:
    """A listener's route for people."""
    route = listener.route
    if isinstance(route, TargetRoute):
        return f"to {route.target}"
    if route.hosts_directory is None:
        return "by server name"
    return f"by server name, then {route.hosts_directory}"


def describe_program(app: App) -> str:
    """An application's program for people."""
    if isinstance(app.program, CommandProgram):
        return " ".join(app.program.command)
    return f"python {app.program}"
