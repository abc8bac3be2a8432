"""What a command line says of a cell: each option of ``run`` and ``explain`` beside the command.

The form of each is read here; what does not go together is for the configuration's own checks
and for ``cloister.cells`` to say.
"""

import os
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import click

from cloister.model.app import App, CommandProgram
from cloister.model.egress import Egress
from cloister.model.errors import ConfigError, Problem, UsageError
from cloister.model.fences import Fences
from cloister.model.id_map import host_root_sentence
from cloister.model.isolation import (
    Automount,
    Bind,
    IdMapping,
    Isolation,
    Namespaces,
    RootFilesystem,
    Temporary,
)
from cloister.model.limits import NO_LIMITS, Limits
from cloister.model.route import Target, UnixPathTarget

if TYPE_CHECKING:
    from cloister.config.app_tables import AppTable
    from cloister.config.surroundings import Report

NAME = "run"
"""The cell's name and its host name inside."""
NAMESPACES = tuple(one.name for one in fields(Namespaces))
AUTOMOUNTS = {"tmpfs": "tmp", "procfs": "proc", "devfs": "dev"}
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True, slots=True)
class CellOptions:
    """What the options ask for."""

    binds: tuple[Bind, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    directory: str | None = None
    """An absolute path, seen read-only and worked in; ``None`` for an empty /tmp, or for the
    root of a root filesystem."""
    user: str | None = None
    """A user of the host; ``None`` for an id that nobody else has."""
    group: str | None = None
    isolation: Isolation = field(default_factory=Isolation)
    limits: Limits = NO_LIMITS
    fences: Fences = field(default_factory=Fences)
    egress: tuple[Egress, ...] = ()

    def app(self, command: tuple[str, ...]) -> App:
        """The application that ``command`` would be in a configuration."""
        return App(
            NAME,
            CommandProgram(command),
            self.directory,
            environment=self.environment,
            binds=self.binds,
            user=self.user,
            group=self.group,
            egress=self.egress,
            isolation=self.isolation,
            limits=self.limits,
            fences=self.fences,
        )


def _many(name: str, parameter: str, metavar: str, text: str) -> Callable[..., Any]:
    return click.option(name, parameter, multiple=True, metavar=metavar, help=text)


_OPTIONS = (
    click.option(
        "--directory",
        type=click.Path(),
        metavar="DIR",
        help="Show DIR read-only at its own path and work in it; with --rootfs a folder in "
        "that. Default: an empty /tmp.",
    ),
    _many(
        "--env", "environment", "KEY=VALUE", "Set an environment variable; nothing is inherited."
    ),
    _many(
        "--bind",
        "binds",
        "SRC[:DEST[:OPTION,...]]",
        "Show SRC of the host at DEST (default: the same path), read-only. Options: rw, noexec, "
        "owner=USER and group=GROUP (whose files there are the command's own).",
    ),
    _many(
        "--tmpfs",
        "tmpfs",
        "PATH[:OPTION,...]",
        "Private memory at PATH. Options: size=16M, mode=0755, exec.",
    ),
    click.option(
        "--rootfs",
        metavar="DIR[:OPTION,...]",
        help="Make DIR the root. Options: rw, mapped (its files' owners are ids of the cell).",
    ),
    click.option(
        "--without",
        multiple=True,
        type=click.Choice(tuple(AUTOMOUNTS)),
        help="Leave out the private /tmp, /proc or /dev.",
    ),
    click.option(
        "--share",
        multiple=True,
        type=click.Choice(NAMESPACES),
        help="Stay in the host's namespace of that kind.",
    ),
    click.option("--no-init", is_flag=True, help="Have COMMAND be process 1 of the cell itself."),
    click.option("--user", metavar="USER", help="Run as that user of the host (as root only)."),
    click.option("--group", metavar="GROUP", help="Run as that group of the host."),
    click.option("--uid", type=click.IntRange(0, 2**32 - 2), help="The user id inside."),
    click.option("--gid", type=click.IntRange(0, 2**32 - 2), help="The group id inside."),
    _many("--uid-map", "uid_map", "INSIDE:OUTSIDE[:SIZE]", "Map a run of user ids; repeatable."),
    _many("--gid-map", "gid_map", "INSIDE:OUTSIDE[:SIZE]", "Map a run of group ids; repeatable."),
    click.option(
        "--allow-host-root",
        metavar="SENTENCE",
        help=f"`{host_root_sentence(NAME)}`: let the command be the host's root.",
    ),
    click.option("--hostname", metavar="NAME", help="The host name inside. Default: run."),
    click.option(
        "--monotonic-offset", type=int, default=0, help="Seconds ahead of the host's clock."
    ),
    click.option(
        "--boottime-offset", type=int, default=0, help="Seconds ahead of the time since boot."
    ),
    _many(
        "--limit", "limits", "KEY=VALUE", "A setting of [apps.NAME.limits], such as memory=256M."
    ),
    _many(
        "--fence",
        "fences",
        "KEY=VALUE",
        'A setting of [apps.NAME.fences], such as profile=strict or allow=["ptrace"].',
    ),
    _many(
        "--egress",
        "egress",
        "WAY",
        "Let it dial NAME:PORT, and nothing else; or a table as of `egress` in [apps.NAME], such "
        'as \'{ socket = "/run/db.sock", to = "db.internal:5432" }\'. Repeatable.',
    ),
)


def options(command: Callable[..., object]) -> Callable[..., object]:
    """Gives a command these options; :func:`parse` reads what comes of them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def parse(given: dict[str, Any]) -> CellOptions:
    """What the parameters of a command with :func:`options` ask for.

    Raises :class:`UsageError` for an option that has another form.
    """
    directory, rootfs = given["directory"], _rootfs(given["rootfs"])
    if directory is not None and rootfs is None:
        directory = os.path.abspath(directory)  # noqa: PTH100 - keep links
    sentence = given["allow_host_root"]
    if sentence not in (None, host_root_sentence(NAME)):
        raise UsageError(
            "--allow-host-root does not say what it has to say",
            why="a command that is root on the host has the machine",
            hint=f"only if that is meant: --allow-host-root {host_root_sentence(NAME)}",
        )
    options = CellOptions(
        binds=tuple(_bind(text) for text in given["binds"]),
        environment=tuple(_variable(text) for text in given["environment"]),
        directory=directory,
        user=given["user"],
        group=given["group"],
        isolation=Isolation(
            namespaces=Namespaces(**{name: name not in given["share"] for name in NAMESPACES}),
            init=not given["no_init"],
            uid=given["uid"],
            gid=given["gid"],
            uid_map=tuple(_mapping("--uid-map", text) for text in given["uid_map"]),
            gid_map=tuple(_mapping("--gid-map", text) for text in given["gid_map"]),
            host_root=sentence is not None,
            rootfs=rootfs,
            automount=Automount(
                **{part: name not in given["without"] for name, part in AUTOMOUNTS.items()}
            ),
            temporary=tuple(_temporary(text) for text in given["tmpfs"]),
            hostname=given["hostname"],
            monotonic_offset=given["monotonic_offset"],
            boottime_offset=given["boottime_offset"],
        ),
        limits=_limits(given["limits"]),
        fences=_fences(given["fences"]),
    )
    return replace(options, egress=_egress(given["egress"], options))


def given_options(given: dict[str, Any]) -> bool:
    """Whether any of these options is on the command line."""
    return any(value not in (None, (), 0, False) for value in given.values())


def _words(option: str, text: str, known: tuple[str, ...]) -> dict[str, str]:
    """``a,b=c`` by its names."""
    words = dict(word.partition("=")[::2] for word in text.split(",") if word)
    for name in words:
        if name not in known:
            raise UsageError(f"{option} has no option {name!r}", hint=f"it has {', '.join(known)}")
    return words


def _bind(text: str) -> Bind:
    source, _, rest = text.partition(":")
    destination, _, chosen = rest.partition(":")
    if not source:
        raise UsageError(
            f"--bind {text} cannot be understood",
            why="its form is SRC[:DEST[:OPTION,...]]",
            hint="for example --bind ./data:/data:rw",
        )
    words = _words("--bind", chosen, ("rw", "ro", "noexec", "owner", "group"))
    source = os.path.abspath(source)  # noqa: PTH100 - a link is bound, not resolved
    if not os.path.lexists(source):
        raise UsageError(f"--bind {text}: {source} does not exist")
    if destination and not destination.startswith("/"):
        raise UsageError(f"--bind {text}: {destination} is not absolute")
    return Bind(
        source,
        destination or source,
        writable="rw" in words,
        executable="noexec" not in words,
        owner=words.get("owner"),
        group=words.get("group"),
    )


def _rootfs(text: str | None) -> RootFilesystem | None:
    if text is None:
        return None
    folder, _, chosen = text.partition(":")
    words = _words("--rootfs", chosen, ("rw", "ro", "mapped"))
    return RootFilesystem(
        os.path.abspath(folder),  # noqa: PTH100 - keep links
        writable="rw" in words,
        mapped="mapped" in words,
    )


def _temporary(text: str) -> Temporary:
    path, _, chosen = text.partition(":")
    words = _words("--tmpfs", chosen, ("size", "mode", "exec"))
    if not path.startswith("/"):
        raise UsageError(f"--tmpfs {text}: {path!r} is not absolute")
    default = Temporary(path)
    try:
        size = default.size
        if "size" in words:
            unit = words["size"][-1:].upper()
            size = int(words["size"].removesuffix(unit).removesuffix(unit.lower()) or "x")
            size *= _UNITS[unit]
        mode = int(words["mode"], 8) if "mode" in words else default.mode
    except (KeyError, ValueError):
        raise UsageError(
            f"--tmpfs {text} cannot be understood", hint="for example --tmpfs /x:size=64M,mode=0700"
        ) from None
    return Temporary(path, size, mode, executable="exec" in words)


def _mapping(option: str, text: str) -> IdMapping:
    parts = text.split(":")
    if len(parts) not in (2, 3) or not all(part.isdecimal() for part in parts):
        raise UsageError(
            f"{option} {text} cannot be understood",
            why="its form is INSIDE:OUTSIDE[:SIZE]",
            hint=f"for example {option} 0:1000:1000",
        )
    mapping = IdMapping(*(int(part) for part in parts))
    if mapping.size == 0:
        raise UsageError(f"{option} {text} maps nothing", hint="take a size of at least 1")
    return mapping


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals or "\0" in text:
        raise UsageError(f"--env {text} cannot be understood", why="its form is KEY=VALUE")
    return name, value


def _limits(texts: tuple[str, ...]) -> Limits:
    if not texts:
        # Most commands have none, and the configuration takes a while to load.
        return NO_LIMITS
    from cloister.config.limits import read

    return read(texts)


def _fences(texts: tuple[str, ...]) -> Fences:
    """Settings of the configuration, read as it reads them."""
    if not texts:
        return Fences()
    from cloister.config import fences

    path = ("apps", NAME, "fences")
    settings = [_setting("--fence", text) for text in texts]
    table, report = _read("--fence", [f"[{'.'.join(path)}]", *settings])
    found = fences.resolve(path, table.fences, report)
    _refuse("--fence", report.problems)
    return found


def _egress(texts: tuple[str, ...], options: CellOptions) -> tuple[Egress, ...]:
    """Elements of `egress` of the configuration, read and checked as there."""
    if not texts:
        return ()
    from cloister.config import egress

    ways = [text if text.lstrip().startswith("{") else _quoted(text) for text in texts]
    table, report = _read("--egress", [f"egress = [{', '.join(ways)}]"])
    found = egress.resolve(table.egress, _whole)
    egress.check(replace(options, egress=found).app(("/",)), report)
    _refuse("--egress", report.problems)
    return found


def _read(option: str, lines: list[str]) -> "tuple[AppTable, Report]":
    """The table of an application with these lines, and where its problems go. Raises
    :class:`UsageError`."""
    from cloister.config import source, validation
    from cloister.config.surroundings import Report

    try:
        document = source.parse(
            "command line", "\n".join((f"[apps.{NAME}]", 'command = ["/"]', *lines)) + "\n"
        )
    except ConfigError as error:
        raise _usage(option, error.problems[0]) from error
    checked = validation.check(document)
    _refuse(option, checked.problems)
    return checked.file.apps[NAME], Report(document)


def _refuse(option: str, problems: "Sequence[Problem]") -> None:
    if problems:
        raise _usage(option, problems[0])


def _usage(option: str, problem: Problem) -> UsageError:
    return UsageError(f"{option}: {problem.what}", why=problem.why, hint=problem.hint)


def _whole(target: Target) -> Target:
    if isinstance(target, UnixPathTarget):
        return UnixPathTarget(os.path.abspath(target.path))  # noqa: PTH100 - keep links
    return target


def _setting(option: str, text: str) -> str:
    """``KEY=VALUE`` as a line of the configuration; a value that is none of it is a text."""
    key, equals, value = text.partition("=")
    if not equals or not key.replace("-", "").isalnum() or "\n" in value:
        raise UsageError(f"{option} {text} cannot be understood", why="its form is KEY=VALUE")
    try:
        tomllib.loads(f"x = {value}")
    except tomllib.TOMLDecodeError:
        return f"{key} = {_quoted(value)}"
    return f"{key} = {value}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
