"""``cloister check``: whether a configuration can be used, without running it."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cloister.cli import output
from cloister.model.errors import ConfigError

if TYPE_CHECKING:
    from cloister.model.snapshot import Snapshot

_STANDARD_INPUT = "standard input"


@click.command()
@click.argument("config", required=False, type=click.Path(allow_dash=True))
@click.option(
    "--no-files",
    is_flag=True,
    help="Leave out whether the files, folders and programs that it names are there, as where "
    "it is for another machine. Users and groups are looked up all the same.",
)
@output.json_option
def command(config: str | None, no_files: bool, as_json: bool) -> None:
    """Check CONFIG, and print every problem that keeps it from running. "-" reads it from
    standard input.

    TOML or JSON, Cloister's own or NGINX Unit's. CONFIG is ./cloister.toml, else
    /etc/cloister/cloister.toml. No supervisor is asked and nothing changes. The exit status is
    3 where there are problems. They are those that `cloister up` and `cloister apply` would
    name where the same user starts them.

    \b
    Examples:
      cloister check cloister.toml
      cloister check --no-files --json - < unit.json
    """
    from cloister.config.load import find

    source = _STANDARD_INPUT if config == "-" else find(config)
    try:
        snapshot = _snapshot(source, from_input=config == "-", check_files=not no_files)
    except ConfigError as error:
        if as_json:
            problems = [
                {"code": one.code, "what": one.what}
                | asdict(one.where)
                | {"why": one.why, "hint": one.hint}
                for one in error.problems
            ]
            output.print_json({"source": source, "problems": problems})
        raise
    listeners = [one.name for one in snapshot.listeners]
    apps = [one.name for one in snapshot.apps]
    if as_json:
        output.print_json({"source": source, "problems": [], "listeners": listeners, "apps": apps})
    else:
        counts = f"{_count(len(listeners), 'listener')}, {_count(len(apps), 'application')}"
        click.echo(f"{source}: no problem; {counts}")


def _snapshot(source: str, *, from_input: bool, check_files: bool) -> "Snapshot":
    from cloister.config import load
    from cloister.config.json_text import looks_like_json
    from cloister.config.source import decode_text
    from cloister.model.configuration import MAX_BYTES, Configuration, Dialect

    if not from_input:
        return load.load(source, check_files=check_files)
    text = decode_text(source, sys.stdin.buffer.read(MAX_BYTES + 1))
    dialect = Dialect.JSON if looks_like_json(text) else Dialect.TOML
    # What is relative in it begins here.
    configuration = Configuration(text, dialect, str(Path.cwd() / source))
    return load.check(configuration, check_files=check_files, name=source)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
