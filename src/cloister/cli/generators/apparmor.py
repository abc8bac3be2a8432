"""``cloister generate apparmor``."""

from pathlib import Path

import click

from cloister.cli import generated
from cloister.cli.generators import mandatory_access
from cloister.generate.apparmor import generate
from cloister.generate.mandatory_access import MandatoryAccessRequest, Reach


@click.command()
@mandatory_access.options
@click.option(
    "--reach",
    "reaches",
    type=click.Choice([reach.value for reach in Reach]),
    multiple=True,
    help="What its targets are; repeatable.  [default: all of them]",
)
@click.option(
    "--changes-user",
    is_flag=True,
    help="It is started as root with --user, not by a unit with User=.",
)
@generated.options
def command(
    *,
    name: str,
    programs: tuple[str, ...],
    runtime_directories: tuple[str, ...],
    hosts_directories: tuple[str, ...],
    reaches: tuple[str, ...],
    changes_user: bool,
    output: Path | None,
    force: bool,
) -> None:
    """A profile that holds for the door wherever it is started.

    \b
    Example:
      cloister generate apparmor --output /
    """
    request = MandatoryAccessRequest.with_defaults(
        name=name,
        programs=programs,
        runtime_directories=runtime_directories,
        hosts_directories=hosts_directories,
        reaches=frozenset(map(Reach, reaches)),
        changes_user=changes_user,
    )
    generated.emit(generate(request), output, force=force)
