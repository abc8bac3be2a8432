"""`egress` of `[apps.NAME]`: how ways out of a cell are written, and what they come to."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Discriminator, Tag

from cloister.config import forms, targets
from cloister.config.forms import TABLE_FORM, WORD_FORM, Form, Table, setting
from cloister.config.lines import KeyPath
from cloister.config.problems import Code, refusal
from cloister.hosts.hostname import canonical_hostname
from cloister.model.app import App, Endpoint
from cloister.model.egress import Egress
from cloister.model.errors import HostnameError
from cloister.model.fences import FilterProfile
from cloister.model.route import Target, TcpTarget

if TYPE_CHECKING:
    from cloister.config.surroundings import Report

MOST = 32
"""Each process of the application has a listening socket for each of them, which its supervisor
keeps."""
_LOCAL = frozenset({"localhost", "ip6-localhost", "ip6-loopback"})


def _parse_way(text: str) -> TcpTarget:
    target = targets.parse_target(text)
    if not isinstance(target, TcpTarget) or text.startswith("tcp:"):
        raise refusal(
            Code.BAD_TARGET,
            f'"{text}" is no way out by its name',
            why="it is the name and the port that the application dials",
            hint='for example "db.internal:5432"; { name, port, to } sends them elsewhere',
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
    """`[[apps.NAME.egress]]`: a name and a port that lead to another place."""

    name: Annotated[str, Form("hostname"), forms.text(_parse_name)] = setting(
        "The name that the application dials.", example='"db.internal"'
    )
    port: Annotated[int, Form("number")] = setting(
        "The port that it dials.", example="5432", at_least=1, at_most=65535
    )
    to: forms.TargetText = setting(
        "Where that leads, as `target` of a route: an address, a name, a service record, or a "
        "Unix socket of the host.",
        example='"unix:/run/postgresql/.s.PGSQL.5432"',
    )


def _form(value: object) -> str:
    return TABLE_FORM if isinstance(value, dict | EgressTable) else WORD_FORM


EgressChoice = Annotated[
    Annotated[TcpTarget, Form("name:port"), forms.text(_parse_way), Tag(WORD_FORM)]
    | Annotated[EgressTable, Tag(TABLE_FORM)],
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
        if isinstance(table, EgressTable):
            name, port, target = table.name, table.port, complete(table.to)
        else:
            name, port, target = table.host.removesuffix("."), table.port, table
        address = addresses.setdefault(name, f"127.0.1.{len(addresses) + 1}")
        found.append(Egress(name, port, address, target))
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
    seen: set[tuple[str, int]] = set()
    for number, one in enumerate(app.egress):
        if (one.name, one.port) in seen:
            report.add(
                Code.CONFLICTING_KEYS,
                f"{one} stands twice",
                (*path, number),
                why="one name and port lead to one place",
                hint="remove one of them",
            )
        seen.add((one.name, one.port))
        if app.endpoint is Endpoint.PORT and one.port == app.port:
            report.add(
                Code.CONFLICTING_KEYS,
                f"{one} has the port that the application itself listens on",
                (*path, number),
                why="a program that listens on all addresses of its cell would find it taken",
                hint=f"give the application another `port` than {app.port}",
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
            not own.mount or app.isolation.rootfs is not None,
            "its /etc/hosts is not the cell's own, so the names would not be found there",
            "let it have the default root, without `rootfs`",
        ),
        (
            app.fences.profile is FilterProfile.STRICT,
            "the profile `strict` has no sockets but Unix ones",
            "take the profile `default`",
        ),
    ):
        if missing:
            report.add(
                Code.CONFLICTING_KEYS, "`egress` has no effect here", path, why=why, hint=hint
            )
