"""``cloister logs``: what an application has written, and what was said of it."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from cloister.apps.logs import harmless
from cloister.cli import output
from cloister.model.errors import CloisterError, NotPermittedError, UsageError
from cloister.model.lifecycle import LogTarget

if TYPE_CHECKING:
    from cloister.model.app import App
    from cloister.model.snapshot import Snapshot


@click.command()
@click.argument("app")
@click.argument("config", required=False, type=click.Path())
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@click.option(
    "-n",
    "--lines",
    "count",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    metavar="N",
    help="How many of the newest lines to begin with.",
)
@output.json_option
def command(app: str, config: str | None, follow: bool, count: int, as_json: bool) -> None:
    """Show the output of APP, an application of CONFIG, and what became of its processes.

    It is read from where the configuration has it kept: the journal, by journalctl, or files
    in the state directory. The supervisor need not run.

    \b
    Example:
      cloister logs blog -f
    """
    from cloister.apps.log_keeping import target
    from cloister.config.load import find, load

    snapshot = load(find(config), check_files=False)
    found = _app(snapshot, app)
    match target(found):
        case LogTarget.JOURNAL:
            _journal(app, follow, count, as_json)
        case LogTarget.FILES:
            try:
                _files(snapshot.paths.app_log(app), follow, count, as_json)
            except PermissionError as error:
                raise NotPermittedError(
                    f"the log of {app} may not be read",
                    why=str(error),
                    hint="ask as root or as the supervisor's own user, for example with sudo",
                ) from error
        case _:
            raise CloisterError(
                f"the output of {app} is not kept",
                why=f'[apps.{app}.log] has to = "none"',
                hint="it is in the output of `cloister up` only",
            )


def _app(snapshot: "Snapshot", name: str) -> "App":
    for app in snapshot.apps:
        if app.name == name:
            return app
    known = ", ".join(app.name for app in snapshot.apps)
    raise UsageError(
        f"there is no application {name!r}",
        hint=f"the applications are: {known}" if known else None,
    )


def _journal(app: str, follow: bool, count: int, as_json: bool) -> None:
    program = shutil.which("journalctl")
    if program is None:
        raise CloisterError(
            "the journal cannot be read", why="there is no journalctl", hint="install systemd"
        )
    arguments = ["journalctl", f"CLOISTER_APP={app}", "-n", str(count), "--no-pager"]
    arguments += ["-f"] if follow else []
    arguments += ["-o", "json"] if as_json else ["-o", "short-iso"]
    os.execv(program, arguments)  # noqa: S606 - replaces this process, no shell


def _files(path: str, follow: bool, count: int, as_json: bool) -> None:
    from cloister.apps.log_files import LogReader

    with contextlib.closing(LogReader(path)) as reader:
        try:
            _print(reader.newest(count) if count else [], as_json)
        except FileNotFoundError as error:
            if not follow:
                raise CloisterError(
                    "nothing was kept yet",
                    why=f"there is no {path}",
                    hint="the first line makes it; -f waits for that",
                ) from error
        if follow:
            _print(reader.follow(), as_json)


def _print(lines: Iterable[str], as_json: bool) -> None:
    for line in lines:
        click.echo(line if as_json else _plain(line))


def _plain(line: str) -> str:
    """A line of a log file for a person."""
    try:
        event = json.loads(line)
        clock = event["time"][:19].replace("T", " ")
        mark = {"warning": "warning: ", "error": "error: "}.get(event["level"], "")
        texts = [f"{mark}{event['message']}", *(f"    {text}" for text in event.get("details", ()))]
        place = event.get("stream", "cloister")
    except (ValueError, KeyError, TypeError, AttributeError):
        return harmless(line)  # somebody else has written here
    return "\n".join(f"{clock} {place:<8} | {harmless(text)}" for text in texts)
