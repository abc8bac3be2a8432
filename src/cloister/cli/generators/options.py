"""Options that several generators take."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from cloister.generate.door import DoorOptions
from cloister.model.errors import UsageError
from cloister.model.listener import SocketOptions
from cloister.sockets.plan import RELAY_SOCKET, SocketPlan, plan_relay, plan_socket

Command = Callable[..., None]


class OctalMode(click.ParamType[int]):
    """Permission bits as chmod(1) takes them."""

    name = "mode"

    def convert(
        self,
        value: str | int,
        param: click.Parameter | None,  # noqa: ARG002 (click's signature)
        ctx: click.Context | None,  # noqa: ARG002
    ) -> int:
        """Three or four octal digits."""
        if isinstance(value, int):
            return value
        if not 3 <= len(value) <= 4 or set(value) - set("01234567"):
            raise UsageError(f"{value!r} is no mode", hint="write octal digits, such as 0660")
        return int(value, 8)


def program(name: str) -> Callable[[Command], Command]:
    """``--program``, by default where this installation has ``name``."""
    return click.option(
        "--program", metavar="PATH", help=f"Where {name} is.  [default: this installation's]"
    )


def find_program(given: str | None, name: str) -> str:
    """The absolute path of the program that the files are to start."""
    if given is not None:
        return given
    from cloister.cells.programs import find

    return str(Path(find(name)).resolve())


def access(function: Command) -> Command:
    """``--socket-user`` and the like; :func:`socket_access` takes them."""
    for option in (
        click.option(
            "--directory-mode",
            type=OctalMode(),
            default=f"{RELAY_SOCKET.directory_mode:04o}",
            show_default=True,
            help="Of the folders made for the socket.",
        ),
        click.option(
            "--socket-mode",
            type=OctalMode(),
            default=f"{RELAY_SOCKET.mode:04o}",
            show_default=True,
            help="Its mode.",
        ),
        click.option(
            "--socket-group", default=RELAY_SOCKET.group, show_default=True, help="Its group."
        ),
        click.option(
            "--socket-user",
            default=RELAY_SOCKET.owner,
            show_default=True,
            help="The Unix socket's owner.",
        ),
    ):
        function = option(function)
    return function


def socket_access(given: dict[str, Any]) -> SocketOptions:
    """Takes the options of :func:`access` out of ``given``."""
    return SocketOptions(
        owner=given.pop("socket_user"),
        group=given.pop("socket_group"),
        mode=given.pop("socket_mode"),
        directory_mode=given.pop("directory_mode"),
    )


def door(function: Command) -> Command:
    """How the door runs; :func:`door_options` takes them."""
    for option in (
        click.option(
            "--drain", type=float, metavar="SECONDS", help="For open connections when stopped."
        ),
        click.option(
            "--connections-max", type=int, metavar="N", help="Connections at once; 0: no bound."
        ),
        click.option(
            "--exit-idle",
            type=float,
            metavar="SECONDS",
            help="End after so long without a connection; the next one starts it again.",
        ),
        click.option(
            "--group",
            "groups",
            multiple=True,
            help="A supplementary group, for targets that a group may reach.",
        ),
        click.option("--user", help="Run as this user of the host."),
    ):
        function = option(function)
    return function


def door_options(given: dict[str, Any], oom_score_adjust: int | None) -> DoorOptions:
    """Takes the options of :func:`door` out of ``given``."""
    return DoorOptions(
        user=given.pop("user"),
        groups=given.pop("groups"),
        exit_idle=given.pop("exit_idle"),
        connections=given.pop("connections_max"),
        drain=given.pop("drain"),
        oom_score_adjust=oom_score_adjust,
    )


oom_score_adjust: Callable[[Command], Command] = click.option(
    "--oom-score-adjust",
    type=int,
    metavar="N",
    help="-1000: never killed for memory; 1000: killed first.",
)

listen: Callable[[Command], Command] = click.option(
    "--listen",
    multiple=True,
    metavar="ADDRESS",
    help="Listen here; as often as wanted.",
)


def upstream(function: Command) -> Command:
    """NAME and where its socket is; :func:`upstream_plan` takes them."""
    for option in (
        click.option(
            "--config",
            type=click.Path(),
            metavar="FILE",
            help="The configuration that --listener is in.",
        ),
        click.option(
            "--listener",
            metavar="NAME",
            help="Take path, owner, group and modes of the socket from this listener of the "
            "configuration.",
        ),
        click.option(
            "--socket",
            metavar="PATH",
            help="Where the upstream listens.  [default: /run/cloister-relay/NAME.sock]",
        ),
    ):
        function = option(function)
    return click.argument("name")(function)


def upstream_plan(
    given: dict[str, Any], group: str | None, default: str, directory_mode: int | None = None
) -> tuple[str, SocketPlan]:
    """The name, and how the socket is made: as the configuration says where it has a listener
    for it, else with ``group`` or the ``default`` one. Takes the options of :func:`upstream`
    out of ``given``; what is given beside a listener has to be what its configuration says.
    """
    name, path = given.pop("name"), given.pop("socket")
    listener, config = given.pop("listener"), given.pop("config")
    if listener is None:
        if config is not None:
            raise UsageError("--config alone says nothing", hint="name a listener: --listener NAME")
        options = SocketOptions(group=group or default)
        if directory_mode is not None:
            options = replace(options, directory_mode=directory_mode)
        plan = plan_relay(name, options) if path is None else plan_socket(path, options)
        return name, plan
    if path is not None:
        raise UsageError("--socket and --listener both say where the socket is", hint="leave one")
    plan = listener_plan(listener, config)
    if group is not None and group != plan.options.group:
        raise UsageError(
            f"the socket of {listener!r} does not have the group {group}",
            why=f"its configuration gives it {plan.options.group or 'none'}",
            hint="leave out --group, or change `group` of the listener's socket",
        )
    return name, plan


def listener_plan(name: str, config: str | None) -> SocketPlan:
    """How a configuration has the socket of one of its listeners made. Raises
    :class:`UsageError` where there is none."""
    from cloister.config import load
    from cloister.sockets.plan import plan_listener

    source = load.find(config)
    snapshot = load.load(source, check_files=False)
    listener = next((one for one in snapshot.listeners if one.name == name), None)
    if listener is None:
        known = ", ".join(one.name for one in snapshot.listeners)
        raise UsageError(
            f"{source} has no listener {name!r}",
            hint=f"the listeners are: {known}" if known else "it has none",
        )
    plans = plan_listener(snapshot.paths, listener)
    if not plans:
        raise UsageError(
            f"the listener {name!r} has no Unix socket",
            why=f"it listens on {', '.join(map(str, listener.addresses))}",
            hint='give it one: listen = "unix:/run/cloister/NAME.sock"',
        )
    return plans[0]
