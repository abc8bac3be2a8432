"""``cloister explain``: how a cell is made, step by step."""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from cloister.cli import cell_options, one_command, output
from cloister.model.app import App, CommandProgram, Credential, FileTls, Readiness, SelfSignedTls
from cloister.model.errors import UsageError

if TYPE_CHECKING:
    from cloister.cells.cgroups.app_group import LimitStatus
    from cloister.cells.cgroups.planned import PlannedGroup
    from cloister.cells.plan import CellPlan
    from cloister.cells.quotas.projects import ProjectStore
    from cloister.cells.spec import Identity, Operation, Spec
    from cloister.model.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is printed."""

    name: str
    command: tuple[str, ...]
    identity: "Identity"
    hosts: tuple[str, ...]
    socket: str | None
    """The path of its listening socket on the host."""
    ready: str | None
    limits: tuple["LimitStatus", ...]
    operations: tuple["Operation", ...]
    spec: "Spec"


class _Explain(click.Command):
    """Keeps what follows ``--`` apart: ``explain blog`` and ``explain -- blog`` differ."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            ctx.meta[__name__] = tuple(args[at + 1 :])
            args = args[:at]
        return super().parse_args(ctx, args)


@click.command(cls=_Explain)
@click.argument("app", required=False)
@click.option("--config", type=click.Path(), metavar="FILE", help="The configuration to read.")
@cell_options.options
@output.json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    app: str | None,
    config: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Print how the cell of APP is made, who it is, and where it is reached.

    Nothing is started or changed. Without APP all apps of the configuration are listed.
    After `--` comes a command, and its plan is printed as `cloister run` would follow it;
    its options are as there.

    \b
    Examples:
      cloister explain blog
      cloister explain -- sh
    """
    command_line: tuple[str, ...] | None = ctx.meta.get(__name__)
    if command_line is not None:
        if app is not None or config is not None:
            raise UsageError("either an app or a command can be explained, not both")
        if not command_line:
            raise UsageError("there is no command after `--`")
        wanted = one_command.OneCommand(command_line, cell_options.parse(given))
        _print(_explain_command(wanted), as_json)
        return
    if cell_options.given_options(given):
        raise UsageError(
            "--bind and the other options of a cell belong to a command",
            why="an app has them in its configuration",
            hint="put the command after `--`, for example `cloister explain -- sh`",
        )
    from cloister.config.load import find, load

    snapshot = load(find(config), check_files=app is not None)
    if app is None:
        _list(snapshot, as_json)
    else:
        _print(_explain_app(snapshot, _choose(snapshot, app)), as_json)


def _choose(snapshot: "Snapshot", name: str) -> App:
    for app in snapshot.apps:
        if app.name == name:
            return app
    names = ", ".join(app.name for app in snapshot.apps) or "none"
    raise UsageError(
        f"there is no app {name!r} in {snapshot.source}",
        why=f"it has {names}",
        hint="name one of these; for a command write `cloister explain -- COMMAND`",
    )


def _list(snapshot: "Snapshot", as_json: bool) -> None:
    rows = [
        {
            "name": app.name,
            "program": _program(app),
            "hosts": list(app.hosts),
            "socket": snapshot.paths.app_socket(app.name),
        }
        for app in snapshot.apps
    ]
    if as_json:
        output.print_json(rows)
        return
    output.print_table(
        ("APP", "PROGRAM", "HOSTS", "SOCKET"),
        [
            (row["name"], row["program"], ", ".join(row["hosts"]) or None, row["socket"])
            for row in rows
        ],
    )


def _program(app: App) -> str:
    if isinstance(app.program, CommandProgram):
        return " ".join(app.program.command)
    return str(app.program)


def _explain_command(wanted: one_command.OneCommand) -> Explanation:
    from cloister.cells.cgroups.hierarchies import discover
    from cloister.cells.cgroups.planned import PlannedGroup

    identity = one_command.store().peek(cell_options.NAME + ".0")
    groups = PlannedGroup(discover(), wanted.cell.limits)
    disks = _disks(wanted.app, one_command.projects)
    with socket.socket(socket.AF_UNIX) as receiver:
        egress = receiver if wanted.cell.egress else None
        plan = one_command.build(wanted, identity, groups=groups, egress=egress)
        with contextlib.closing(plan):
            return _explanation(plan, groups, disks, hosts=(), path=None, ready=None)


def _explain_app(snapshot: "Snapshot", app: App) -> Explanation:
    from cloister.cells.cgroups.hierarchies import discover
    from cloister.cells.cgroups.planned import PlannedGroup
    from cloister.cells.identity import IdentityStore
    from cloister.cells.plan import build_cell
    from cloister.cells.quotas.projects import ProjectStore
    from cloister.cells.users import app_identity

    groups = PlannedGroup(discover(), app.limits)
    store = IdentityStore(snapshot.paths.identities, snapshot.ids)
    path = snapshot.paths.app_socket(app.name)
    notify = f"{os.path.dirname(path)}/notify"  # noqa: PTH120 - a text
    with (
        _certificate(app) as credentials,
        socket.socket(socket.AF_UNIX) as stand_in,
        socket.socket(socket.AF_UNIX) as receiver,
    ):
        plan = build_cell(
            app,
            app_identity(app, store.peek),
            stand_in,
            credentials=credentials,
            notify_socket=notify if app.ready is Readiness.NOTIFY else None,
            groups=groups,
            egress=receiver if app.egress else None,
            signer_socket=snapshot.paths.signer_app_socket(app.name) if app.sign else None,
        )
        with contextlib.closing(plan):
            return _explanation(
                plan,
                groups,
                _disks(app, lambda: ProjectStore(snapshot.paths.projects, snapshot.ids)),
                hosts=app.hosts,
                path=path,
                ready=str(app.ready),
            )


def _disks(app: App, projects: Callable[[], "ProjectStore"]) -> tuple["LimitStatus", ...]:
    """What would become of its bounds on disks."""
    from cloister.model.disk import is_bounded

    if not is_bounded(app):
        return ()
    from cloister.cells.quotas.bounds import DiskBounds

    return asyncio.run(DiskBounds(projects()).plan(app))


@contextlib.contextmanager
def _certificate(app: App) -> Iterator[tuple[Credential, ...]]:
    """The credentials that the supervisor adds; empty where it would make them."""
    from cloister.processes import memory_file

    match app.tls:
        case FileTls(certificate, key):
            yield Credential("tls.crt", certificate), Credential("tls.key", key)
        case SelfSignedTls():
            empty = memory_file("credential", b"")
            try:
                source = f"/proc/self/fd/{empty}"
                yield Credential("tls.crt", source), Credential("tls.key", source)
            finally:
                os.close(empty)
        case None:
            yield ()


def _explanation(
    plan: "CellPlan",
    groups: "PlannedGroup | None" = None,
    disks: "tuple[LimitStatus, ...]" = (),
    *,
    hosts: tuple[str, ...],
    path: str | None,
    ready: str | None,
) -> Explanation:
    from cloister.cells.explain import operations

    return Explanation(
        name=plan.spec.name,
        command=plan.spec.command,
        identity=plan.spec.identity,
        hosts=hosts,
        socket=path,
        ready=ready,
        limits=(*(() if groups is None else groups.limits), *disks),
        operations=tuple(operations(plan)),
        spec=plan.spec,
    )


def _print(explanation: Explanation, as_json: bool) -> None:
    if as_json:
        from cloister.cells import spec

        # The specification as cloister-cell gets it, with the tags of its variants.
        output.print_json(
            {
                "name": explanation.name,
                "hosts": explanation.hosts,
                "socket": explanation.socket,
                "ready": explanation.ready,
                "limits": explanation.limits,
                "operations": explanation.operations,
                "spec": json.loads(spec.encode(explanation.spec)),
            }
        )
        return
    identity = explanation.identity
    facts: list[tuple[str, Any]] = [
        ("app", explanation.name),
        ("command", " ".join(explanation.command)),
        ("inside", f"user {identity.uid}, group {identity.gid}"),
        ("on the host", f"user {identity.host_uid}, group {identity.host_gid}"),
        ("socket", explanation.socket and f"{explanation.socket}, descriptor 3 inside"),
        ("hosts", ", ".join(explanation.hosts)),
        ("ready", explanation.ready),
    ]
    for label, fact in facts:
        if fact:
            click.echo(f"{label:<12} {fact}")
    for limit in explanation.limits:
        default = " (default)" if limit.default else ""
        detail = limit.detail if limit.in_force else f"not in force: {limit.detail}"
        click.echo(f"{'limit':<12} {limit.name} {limit.value}{default}, {detail}")
    click.echo()
    output.print_table(
        ("STEP", "OPERATION", "WHAT IT DOES"),
        [
            (number, operation.step, operation.description)
            for number, operation in enumerate(explanation.operations, 1)
        ],
    )
    calls = explanation.spec.fences.system_calls
    if calls is not None:
        from cloister.cells.system_calls import describe

        click.echo(f"\nsystem calls, profile {calls.profile}")
        for line in describe(calls):
            click.echo(f"  {line}")
