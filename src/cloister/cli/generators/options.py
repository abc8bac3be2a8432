"""Options that several generators take."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cloister.generate.door import DoorOptions
from cloister.generate.systemd.sockets import SocketAccess
from cloister.model.errors import UsageError

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
            default="0711",
            show_default=True,
            help="Of the folders made for the socket.",
        ),
        click.option(
            "--socket-mode", type=OctalMode(), default="0660", show_default=True, help="Its mode."
        ),
        click.option("--socket-group", default="root", show_default=True, help="Its group."),
        click.option(
            "--socket-user", default="root", show_default=True, help="The Unix socket's owner."
        ),
    ):
        function = option(function)
    return function


def socket_access(given: dict[str, Any]) -> SocketAccess:
    """Takes the options of :func:`access` out of ``given``."""
    return SocketAccess(
        user=given.pop("socket_user"),
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
    """NAME and where its socket is; :func:`upstream_socket` takes them."""
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
            help="Take path and group of the socket from this listener of the configuration.",
        ),
        click.option(
            "--socket",
            metavar="PATH",
            help="Where the upstream listens.  [default: /run/cloister-relay/NAME.sock]",
        ),
    ):
        function = option(function)
    return click.argument("name")(function)


def upstream_socket(given: dict[str, Any]) -> tuple[str, str, str | None]:
    """The name, the socket's path and, where a configuration says it, its group. Takes the
    options of :func:`upstream` out of ``given``."""
    name, path = given.pop("name"), given.pop("socket")
    listener, config = given.pop("listener"), given.pop("config")
    if listener is None:
        if config is not None:
            raise UsageError("--config alone says nothing", hint="name a listener: --listener NAME")
        return name, path or f"/run/cloister-relay/{name}.sock", None
    if path is not None:
        raise UsageError("--socket and --listener both say where the socket is", hint="leave one")
    return (name, *_listener_socket(listener, config))


def _listener_socket(name: str, config: str | None) -> tuple[str, str | None]:
    from cloister.config import load
    from cloister.model.listener import UnixAddress

    source = load.find(config)
    snapshot = load.load(source, check_files=False)
    listener = next((one for one in snapshot.listeners if one.name == name), None)
    if listener is None:
        known = ", ".join(one.name for one in snapshot.listeners)
        raise UsageError(
            f"{source} has no listener {name!r}",
            hint=f"the listeners are: {known}" if known else "it has none",
        )
    for address in listener.addresses:
        if isinstance(address, UnixAddress) and not address.abstract:
            return address.path, listener.socket.group
    raise UsageError(
        f"the listener {name!r} has no Unix socket",
        why=f"it listens on {', '.join(map(str, listener.addresses))}",
        hint='give it one: listen = "unix:/run/cloister/NAME.sock"',
    )
