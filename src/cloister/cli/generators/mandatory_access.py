"""Options that both kinds of policy take."""

from collections.abc import Callable

import click

from cloister.generate.mandatory_access import MandatoryAccessRequest

_DEFAULT = MandatoryAccessRequest()


def options(function: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the parameters ``name``, ``programs``, ``runtime_directories`` and
    ``hosts_directories``; where one is not on the command line it is empty.
    """
    for option in (
        _repeatable(
            "--runtime-directory",
            "runtime_directories",
            "DIR",
            "Folder of its Unix sockets",
            _DEFAULT.runtime_directories,
        ),
        _repeatable(
            "--hosts", "hosts_directories", "DIR", "Hosts directory", _DEFAULT.hosts_directories
        ),
        _repeatable("--program", "programs", "PATH", "The door", _DEFAULT.programs),
        click.option(
            "--name", default=_DEFAULT.name, show_default=True, help="What all names begin with."
        ),
    ):
        function = option(function)
    return function


def _repeatable(
    flag: str, parameter: str, metavar: str, what: str, default: tuple[str, ...]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    help_ = f"{what}; repeatable.  [default: {', '.join(default)}]"
    return click.option(flag, parameter, multiple=True, metavar=metavar, help=help_)
