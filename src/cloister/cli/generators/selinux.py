"""``cloister generate selinux``."""

from pathlib import Path

import click

from cloister.cli import generated
from cloister.cli.generators import mandatory_access
from cloister.generate.mandatory_access import MandatoryAccessRequest
from cloister.generate.selinux import generate


@click.command()
@mandatory_access.options
@generated.options
def command(
    *,
    name: str,
    programs: tuple[str, ...],
    runtime_directories: tuple[str, ...],
    hosts_directories: tuple[str, ...],
    output: Path | None,
    force: bool,
) -> None:
    """A module in which the door runs in a domain of its own.

    Ports are not part of it: `semanage port` labels those that the door listens on or
    connects to. Three booleans, all off, widen it.

    \b
    Example:
      cloister generate selinux --output /
    """
    request = MandatoryAccessRequest.with_defaults(
        name=name,
        programs=programs,
        runtime_directories=runtime_directories,
        hosts_directories=hosts_directories,
    )
    generated.emit(generate(request), output, force=force)
