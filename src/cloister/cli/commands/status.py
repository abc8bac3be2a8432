"""``cloister status``: what runs, and how it is doing."""

import time
from typing import TYPE_CHECKING

import click

from cloister.apps.logs import harmless
from cloister.cli import output
from cloister.model.errors import CloisterError, DaemonUnreachableError

if TYPE_CHECKING:
    from cloister.apps.status import AppStatus, DaemonStatus


@click.command()
@click.argument("config", required=False, type=click.Path())
@click.option(
    "--wait",
    "patience",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="First wait until the door and every app serve; fail if they do not in time.",
)
@output.json_option
def command(config: str | None, patience: float | None, as_json: bool) -> None:
    """Show the listeners, the apps and the door of the supervisor that runs CONFIG.

    Without any configuration the default runtime directory is asked.

    \b
    Example:
      cloister status --wait 30 && echo "everything serves"
    """
    path = _control_socket(config)
    status = _now(path) if patience is None else _when_ready(path, patience)
    if as_json:
        output.print_json(status)
    else:
        _print(status, time.time())


def _now(path: str) -> "DaemonStatus":
    from cloister.control.client import ControlClient

    with ControlClient(path) as client:
        return client.status()


def _when_ready(path: str, patience: float) -> "DaemonStatus":
    deadline = time.monotonic() + patience
    while True:
        try:
            status = _now(path)
        except DaemonUnreachableError:
            # It may be starting: its socket appears once the listeners are bound.
            if time.monotonic() >= deadline:
                raise
        else:
            waiting = [app.name for app in status.apps if app.state != "ready"]
            waiting += ["the door"] if status.door.state != "ready" else []
            if not waiting:
                return status
            gave_up = any(app.state == "failed" for app in status.apps)
            if gave_up or time.monotonic() >= deadline:
                raise CloisterError(
                    f"not ready: {', '.join(waiting)}",
                    why="an app failed too often" if gave_up else f"{patience:g} s are over",
                    hint="`cloister status` shows each one's newest failure",
                )
        time.sleep(0.05)


def _control_socket(config: str | None) -> str:
    from cloister.config.load import find, load

    return load(find(config), check_files=False).paths.control_socket


def _print(status: "DaemonStatus", now: float) -> None:
    click.echo(f"cloister {status.version}, process {status.pid}, {status.config}")
    if status.rootless:
        click.echo("rootless: the cells and the door share the user's own id")
    click.echo()
    output.print_table(
        ("LISTENER", "ADDRESS", "ROUTE", "ACCEPTED", "OPEN"),
        [(one.name, one.address, one.route, one.accepted, one.active) for one in status.listeners],
    )
    click.echo()
    output.print_table(
        (
            "APP",
            "STATE",
            "SINCE",
            "PID",
            "HOST UID",
            "RESTARTS",
            "CONNECTIONS",
            "OPEN",
            "IN",
            "OUT",
            "HOSTS",
        ),
        [_app_row(app, now) for app in status.apps],
    )
    click.echo()
    _print_door(status, now)
    for app in status.apps:
        if app.failure is not None:
            click.echo()
            click.echo(f"{app.name}: {app.failure.message}, {ago(app.failure.time, now)} ago")
            for line in app.failure.last_output:
                click.echo(f"    {harmless(line)}")


def _app_row(app: "AppStatus", now: float) -> tuple[object, ...]:
    traffic = app.traffic
    return (
        app.name,
        app.state,
        ago(app.since, now),
        app.pid,
        app.host_uid,
        app.restarts,
        traffic and traffic.accepted,
        traffic and traffic.active,
        traffic and size(traffic.bytes_to_target),
        traffic and size(traffic.bytes_to_client),
        ", ".join(app.hosts) or None,
    )


def _print_door(status: "DaemonStatus", now: float) -> None:
    door = status.door
    output.print_table(
        ("DOOR", "SINCE", "PID", "HOST UID", "RESTARTS", "GENERATION", "CONNECTIONS", "OPEN"),
        [
            (
                door.state,
                ago(door.since, now),
                door.pid,
                door.host_uid,
                door.restarts,
                door.generation,
                door.accepted,
                door.active,
            )
        ],
    )
    active = [one.name for one in door.protections if one.active]
    missing = [f"{one.name} ({one.detail})" for one in door.protections if not one.active]
    if active:
        click.echo(f"protections of the door: {', '.join(active)}")
    if missing:
        click.echo(f"not in force: {', '.join(missing)}")
    if door.outcomes:
        counts = ", ".join(f"{name} {count}" for name, count in sorted(door.outcomes.items()))
        click.echo(f"connections ended: {counts}")


def ago(then: float, now: float) -> str:
    """The time since ``then`` in its largest fitting unit."""
    seconds = max(0.0, now - then)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def size(count: int) -> str:
    """A number of bytes in binary units."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
