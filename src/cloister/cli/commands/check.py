"""``cloister check``: whether a configuration can be used, without running it."""

from dataclasses import asdict

import click

from cloister.cli import output
from cloister.model.errors import ConfigError


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
    from cloister.config import load

    source = load.STANDARD_INPUT if config == "-" else load.find(config)
    try:
        wanted = load.read_standard_input() if config == "-" else load.read(source)
        snapshot = load.check(wanted, check_files=not no_files, name=source)
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


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
