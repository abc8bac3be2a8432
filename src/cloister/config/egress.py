"""`egress` of `[apps.NAME]`: how ways out of a cell are written, and what they come to."""

from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Discriminator, Tag

from cloister.config import forms, targets
from cloister.config.forms import TABLE_FORM, WORD_FORM, Form, Table, setting
from cloister.config.lines import KeyPath
from cloister.config.problems import Code, refusal
from cloister.hosts.hostname import canonical_hostname
from cloister.model.app import App, Endpoint
from cloister.model.egress import Egress
from cloister.model.errors import HostnameError
from cloister.model.fences import FilterProfile
from cloister.model.listener import UNIX_NAME_MAX, TcpAddress
from cloister.model.route import Target, TcpTarget

if TYPE_CHECKING:
    from cloister.config.surroundings import Report

MOST = 32
"""Each process of the application has a listening socket for each of them, which its supervisor
keeps."""
_TAKEN = (
    *("/dev", "/proc", "/sys", "/run/credentials", "/run/notify", "/run/signer.sock"),
    "/tmp/cloister.socket",  # noqa: S108
)
"""What the cell has of Cloister's."""
_LOCAL = frozenset({"localhost", "ip6-localhost", "ip6-loopback"})


def _parse_way(text: str) -> TcpTarget:
    target = targets.parse_target(text)
    if not isinstance(target, TcpTarget) or text.startswith("tcp:"):
        raise refusal(
            Code.BAD_TARGET,
            f'"{text}" is no way out by its name',
            why="it is the name and the port that the application dials",
            hint='for example "db.internal:5432"; { name, port, to } sends them elsewhere, '
            "{ socket, to } is a Unix socket instead",
        )
    if target.is_literal:
        raise refusal(
            Code.BAD_TARGET,
            f'"{text}" has no name',
            why="in the cell a way out is found by its name, in /etc/hosts",
            hint=f'give it one: {{ name = "db.internal", port = {target.port}, to = "{text}" }}',
        )
    _own(target.host)
    return target


def _own(name: str) -> str:
    if name.removesuffix(".") in _LOCAL:
        raise refusal(
            Code.BAD_TARGET,
            f'"{name}" is the cell itself',
            why="every network namespace has a loopback interface of its own",
            hint='give the host\'s another name: { name = "db.internal", port = 5432, '
            'to = "127.0.0.1:5432" }',
        )
    return name


def _parse_name(text: str) -> str:
    try:
        return _own(canonical_hostname(text))
    except HostnameError as error:
        hint = error.hint or 'for example "db.internal"'
        raise refusal(Code.BAD_HOST, error.what, why=error.why, hint=hint) from None


class EgressTable(Table):
    """`[[apps.NAME.egress]]`: a name and a port, or a Unix socket, that lead to another place."""

    name: Annotated[str, Form("hostname"), forms.text(_parse_name)] | None = setting(
        "The name that the application dials; with `port`.",
        example='"db.internal"',
        default=None,
        default_text="none",
    )
    port: Annotated[int, Form("number")] | None = setting(
        "The port that it dials; with `name`.",
        example="5432",
        default=None,
        default_text="none",
        at_least=1,
        at_most=65535,
    )
    socket: forms.CellPath | None = setting(
        "The path of a Unix socket in the cell, for a program that connects to one; instead of "
        "`name` and `port`, or beside them. It is made before the program starts, in a folder of "
        "the cell's own, and nobody but the application can connect to it.",
        example='"/run/postgresql/.s.PGSQL.5432"',
        default=None,
        default_text="none",
    )
    to: forms.TargetText = setting(
        "Where that leads, as `target` of a route: an address, a name, a service record, or a "
        "Unix socket of the host.",
        example='"unix:/run/postgresql/.s.PGSQL.5432"',
    )


def _whole(table: EgressTable) -> EgressTable:
    if (table.name is None) != (table.port is None):
        missing = "name" if table.name is None else "port"
        raise refusal(
            Code.MISSING_KEY,
            f"a way out has no `{missing}`",
            why="a program dials a name together with a port",
            hint=f"add `{missing}`",
        )
    if table.name is None and table.socket is None:
        raise refusal(
            Code.MISSING_KEY,
            f"nothing in the cell leads to {table.to}",
            why="it has neither `name` and `port` nor `socket`",
            hint='for example socket = "/run/db.sock"',
        )
    return table


def _form(value: object) -> str:
    return TABLE_FORM if isinstance(value, dict | EgressTable) else WORD_FORM


EgressChoice = Annotated[
    Annotated[TcpTarget, Form("name:port"), forms.text(_parse_way), Tag(WORD_FORM)]
    | Annotated[EgressTable, AfterValidator(_whole), Tag(TABLE_FORM)],
    Discriminator(_form),
    Form("name:port, or table"),
]


def resolve(
    tables: Sequence[TcpTarget | EgressTable], complete: Callable[[Target], Target]
) -> tuple[Egress, ...]:
    """The ways out as the model has them; each name gets an address of its own. ``complete``
    makes a target's path absolute."""
    addresses: dict[str, str] = {}
    found = []
    for table in tables:
        name: str | None
        port: int | None
        if isinstance(table, EgressTable):
            name, port, target = table.name, table.port, complete(table.to)
            socket = table.socket
        else:
            name, port, target = table.host.removesuffix("."), table.port, table
            socket = None
        address = None
        if name is not None:
            address = addresses.setdefault(name, f"127.0.1.{len(addresses) + 1}")
        found.append(Egress(name, port, address, target, socket))
    return tuple(found)


def check(app: App, report: "Report") -> None:
    """Reports whatever keeps the ways out of ``app`` from being used."""
    if not app.egress:
        return
    path: KeyPath = ("apps", app.name, "egress")
    if len(app.egress) > MOST:
        report.add(
            Code.OUT_OF_RANGE,
            f"`egress` has {len(app.egress)} ways out",
            path,
            why=f"at most {MOST} can be kept open for each process",
            hint="let one program of yours dial the others, in an application of its own",
        )
    _check_cell(app, path, report)
    seen: set[object] = set()
    for number, one in enumerate(app.egress):
        if one.socket is not None:
            _check_socket(app, one.socket, (*path, number, "socket"), report)
        for place in one.places:
            if place in seen:
                report.add(
                    Code.CONFLICTING_KEYS,
                    f"{one if isinstance(place, TcpAddress) else one.socket} stands twice",
                    (*path, number),
                    why="what is reached there is one place",
                    hint="remove one of them",
                )
            seen.add(place)
        if app.endpoint is Endpoint.PORT and one.port == app.port:
            report.add(
                Code.CONFLICTING_KEYS,
                f"{one} has the port that the application itself listens on",
                (*path, number),
                why="a program that listens on all addresses of its cell would find it taken",
                hint=f"give the application another `port` than {app.port}",
            )


def _check_socket(app: App, socket: str, path: KeyPath, report: "Report") -> None:
    if len(socket.encode()) > UNIX_NAME_MAX:
        report.add(
            Code.BAD_PATH,
            f"`socket` has {len(socket.encode())} bytes",
            path,
            why=f"a program can name at most {UNIX_NAME_MAX} of a Unix socket's path (unix(7))",
            hint="take a shorter one, such as /run/db.sock",
        )
    place = PurePosixPath(socket)
    shown = [bind.destination for bind in app.binds]
    if app.directory is not None and app.isolation.rootfs is None:
        shown.append(app.directory)
    own = [one.path for one in app.isolation.temporary]
    above = [one for one in (*_TAKEN, *shown, *own) if place.is_relative_to(one)]
    innermost = max(above, key=len, default=None)
    if innermost in own and str(place) != innermost:
        return
    if innermost is not None:
        report.add(
            Code.PROTECTED_DESTINATION,
            f"no socket can be made at {socket}",
            path,
            why="the cell's own devices, processes or credentials are there"
            if innermost in _TAKEN
            else f"{innermost} of the cell is another thing already",
            hint="take a folder that is the cell's own, such as /run",
        )


def _check_cell(app: App, path: KeyPath, report: "Report") -> None:
    own = app.isolation.namespaces
    for missing, why, hint in (
        (
            not own.network,
            "without a network namespace of its own it reaches whatever the host reaches",
            "remove it, or give the cell its network namespace back",
        ),
        (
            not own.mount,
            "it sees the host's files, so neither names nor sockets of its own can be put there",
            "give the cell its mount namespace back",
        ),
        (
            app.fences.profile is FilterProfile.STRICT
            and any(one.name is not None for one in app.egress),
            "the profile `strict` has no sockets but Unix ones",
            "give each way a `socket` and no name, or take the profile `default`",
        ),
    ):
        if missing:
            report.add(
                Code.CONFLICTING_KEYS, "`egress` has no effect here", path, why=why, hint=hint
            )
