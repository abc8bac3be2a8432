"""What Unit's ``/status`` tells, as far as the door and the supervisor know it. Pure.

Unit counts HTTP requests; here connections are known, and of a Python application what it
answers at the moment.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from cloister.apps.status import AppStatus, DaemonStatus

_STARTING = ("spawning", "starting")


def unit_status(
    status: DaemonStatus, served: Mapping[str, tuple[str, ...]]
) -> dict[str, dict[str, Any]]:
    """``connections`` and ``applications``. ``served`` has Cloister's names of the applications
    by those of the configuration."""
    apps = {app.name: app for app in status.apps}
    accepted, active = status.door.accepted or 0, status.door.active or 0
    return {
        "connections": {
            "accepted": accepted,
            "active": active,
            # Whoever keeps a connection open without a request is not told from the others.
            "idle": 0,
            "closed": accepted - active,
        },
        "applications": {
            name: _application([apps[part] for part in parts if part in apps])
            for name, parts in served.items()
        },
    }


def _application(apps: Sequence[AppStatus]) -> dict[str, dict[str, int]]:
    processes = [process for app in apps for process in app.processes]
    running = [process for process in processes if process.state == "ready"]
    connections = sum(app.traffic.active for app in apps if app.traffic is not None)
    told = [process.requests for process in running if process.requests is not None]
    idle = told.count(0) if told else len(running) if connections == 0 else 0
    return {
        "processes": {
            "running": len(running),
            "starting": sum(process.state in _STARTING for process in processes),
            "idle": idle,
        },
        "requests": {"active": sum(told) if told else connections},
    }
