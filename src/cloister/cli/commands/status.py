"""``cloister status``: what runs, and how it is doing."""

import time
from typing import TYPE_CHECKING

import click

from cloister.apps.logs import harmless
from cloister.cli import output
from cloister.model.errors import CloisterError, DaemonUnreachableError

if TYPE_CHECKING:
    from cloister.apps.status import AppStatus, DaemonStatus, ProtectionStatus, ResourceStatus
    from cloister.cells.cgroups.counters import Counters
    from cloister.cells.quotas.bounds import DiskUsage


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
    path = control_socket(config)
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
            # Of one that rests until somebody comes there is nothing to wait for.
            waiting = [app.name for app in status.apps if app.state not in ("ready", "dormant")]
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


def control_socket(config: str | None) -> str:
    """Where the supervisor of a configuration is asked."""
    from cloister.config.load import find, load

    return load(find(config), check_files=False).paths.control_socket


def _print(status: "DaemonStatus", now: float) -> None:
    click.echo(f"cloister {status.version}, process {status.pid}, {status.config}")
    if status.rootless:
        click.echo("rootless: the cells and the door share the user's own id")
    click.echo()
    output.print_table(
        ("LISTENER", "ADDRESS", "ROUTE", "ACCEPTED", "OPEN", "IN", "OUT"),
        [
            (
                one.name,
                one.address,
                one.route,
                one.accepted,
                one.active,
                None if one.bytes_to_target is None else size(one.bytes_to_target),
                None if one.bytes_to_client is None else size(one.bytes_to_client),
            )
            for one in status.listeners
        ],
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
    _print_processes(status.apps, now)
    _print_egress(status.apps)
    _print_resources(status.apps)
    _print_fences(status.apps)
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


def _print_processes(apps: "tuple[AppStatus, ...]", now: float) -> None:
    """Of each application that has several."""
    rows = [
        (app.name, one.state, ago(one.since, now), one.pid, one.restarts, one.requests)
        for app in apps
        if len(app.processes) > 1
        for one in app.processes
    ]
    if rows:
        columns = ("PROCESSES OF", "STATE", "SINCE", "PID", "RESTARTS", "REQUESTS")
        output.print_table(columns, rows)
        click.echo()


def _print_egress(apps: "tuple[AppStatus, ...]") -> None:
    """What each way out of an application's cells was used for; seen from the application, so
    what goes to the target goes out."""
    rows = [
        (
            app.name,
            one.name,
            one.target,
            one.accepted,
            one.active,
            one.failed,
            size(one.bytes_to_client),
            size(one.bytes_to_target),
        )
        for app in apps
        for one in app.egress
    ]
    if rows:
        columns = ("WAYS OUT OF", "WAY", "TO", "CONNECTIONS", "OPEN", "FAILED", "IN", "OUT")
        output.print_table(columns, rows)
        click.echo()


def _print_resources(apps: "tuple[AppStatus, ...]") -> None:
    """What each application uses and may use; nothing where no group of any was made."""
    if all(app.resources is None for app in apps):
        return
    output.print_table(
        ("APP", "CPU", "MEMORY", "TASKS", "READ", "WRITTEN", "LIMITS"),
        [_resources_row(app) for app in apps],
    )
    click.echo()
    for app in apps:
        if app.resources is None:
            continue
        facts = _resources_facts(app.resources)
        for fact in facts:
            click.echo(f"{app.name}: {fact}")
        if facts:
            click.echo()


def _resources_facts(resources: "ResourceStatus") -> list[str]:
    """What is out of the ordinary, and what is on disks."""
    facts = [
        f"{one.name} {one.value} is not in force: {one.detail}"
        for one in resources.limits
        if not one.in_force
    ]
    met = _limits_met(resources.counters)
    if met:
        facts.append(met)
    if resources.gives_way:
        facts.append("gives way: it uses more than its share of busy processors")
    if resources.slowed:
        facts.append("slowed down: its processes are killed for lack of memory again and again")
    return [*facts, *map(_on_disk, resources.disks)]


def _on_disk(disk: "DiskUsage") -> str:
    bound = f" of {size(disk.bytes_limit)}" if disk.bytes_limit else ""
    files = f" of {disk.files_limit}" if disk.files_limit else ""
    return f"{size(disk.bytes)}{bound} and {disk.files}{files} files on the disk of {disk.place}"


def _resources_row(app: "AppStatus") -> tuple[object, ...]:
    resources = app.resources
    if resources is None:
        return (app.name, *(None,) * 6)
    usage = resources.usage
    limits = [f"{one.name} {one.value}" for one in resources.limits if one.in_force]
    return (
        app.name,
        None if usage.cpu_seconds is None else f"{usage.cpu_seconds:.2f} s",
        None if usage.memory_bytes is None else size(usage.memory_bytes),
        usage.tasks,
        None if usage.io_read_bytes is None else size(usage.io_read_bytes),
        None if usage.io_write_bytes is None else size(usage.io_write_bytes),
        ", ".join(limits) or None,
    )


def _limits_met(counters: "Counters") -> str:
    facts = (
        (counters.oom_kills, "processes killed for lack of memory"),
        (counters.memory_high, "times slowed down at memory-high"),
        (counters.pids_refused, "processes refused at pids"),
        (counters.throttled_periods, "periods throttled at cpu-max"),
    )
    return ", ".join(f"{count} {what}" for count, what in facts if count)


def _print_fences(apps: "tuple[AppStatus, ...]") -> None:
    """What is in force around the applications; those with the same fences together."""
    alike: dict[tuple[ProtectionStatus, ...], list[str]] = {}
    for app in apps:
        if app.fences:
            alike.setdefault(app.fences, []).append(app.name)
    for fences, names in alike.items():
        active = [one.name for one in fences if one.active]
        missing = [f"{one.name} ({one.detail})" for one in fences if not one.active]
        click.echo(f"fences of {', '.join(names)}: {', '.join(active) or 'none'}")
        if missing:
            click.echo(f"not in force: {', '.join(missing)}")
    if alike:
        click.echo()


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
