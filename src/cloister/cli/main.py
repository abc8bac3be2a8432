"""The entry point: finds the verb, and turns whatever goes wrong into words and an exit code.

Nothing else in Cloister picks an exit code:

====  ==============================================
0     done
1     failed; silently where whoever read the output went away
2     the command line asks for something impossible
3     the configuration cannot be used
4     not permitted
69    no supervisor answers (``EX_UNAVAILABLE``)
130   interrupted from the keyboard, as a shell says
====  ==============================================

A command may return another code only where it passes on that of a program it ran.
"""

import difflib
import importlib
import os
import sys
from collections.abc import Callable, Sequence

import click

from cloister.cli import output
from cloister.model.errors import (
    CloisterError,
    ConfigError,
    DaemonUnreachableError,
    NotPermittedError,
    UsageError,
)

FAILED = 1
USAGE = 2
CONFIG = 3
NOT_PERMITTED = 4
UNREACHABLE = 69
INTERRUPTED = 128 + 2

EXIT_CODES: dict[type[CloisterError], int] = {
    UsageError: USAGE,
    ConfigError: CONFIG,
    NotPermittedError: NOT_PERMITTED,
    DaemonUnreachableError: UNREACHABLE,
}
"""For these errors and those derived from them; :data:`FAILED` for any other."""

VERBS = {
    "init": "Write a commented starter configuration and a small application.",
    "check": "Find every problem of a configuration, without running it.",
    "up": "Run everything that the configuration names, in the foreground.",
    "status": "Show what runs, and how it is doing.",
    "logs": "Show what an application has written.",
    "apply": "Run another configuration from now on, or refuse it as a whole.",
    "get": "Print the running configuration, or a part of it.",
    "set": "Change one value of the running configuration.",
    "edit": "Edit the running configuration with $EDITOR.",
    "restart": "Restart apps.",
    "stop": "Stop apps.",
    "start": "Start apps that were stopped or have failed.",
    "doctor": "Find out why a socket cannot be reached, and what cures it.",
    "top": "Show what the applications use, live.",
    "web": "Show what runs in a browser.",
    "door": "Replace the running door without losing a connection.",
    "run": "Run one command in a default cell, in the foreground.",
    "sign": "Have one upload to an S3 store signed, without having its keys.",
    "explain": "Print how an application's cell is made, step by step.",
    "audit": "Show what processes could do, read and use up if taken over.",
    "hosts": "Add, list and check the names of a hosts directory.",
    "hostname": "Print a hostname's canonical form, or why it has none.",
    "generate": "Print unit files and the like.",
}
"""Every verb with its line in ``cloister --help``. ``commands.VERB`` is imported when used."""


class _Verbs(click.Group):
    """Imports a verb's module when the verb is used: most need libraries that load slowly."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"cloister.cli.commands.{cmd_name}")
        command = module.command
        assert isinstance(command, click.Command)  # noqa: S101 (the verbs are our own)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], VERBS, 1)
            raise UsageError(
                f"there is no command `{args[0]}`",
                hint=f"did you mean `cloister {near[0]}`?" if near else "see `cloister --help`",
            )
        return super().resolve_command(ctx, args)


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        from cloister import __version__

        click.echo(f"cloister {__version__}")
        ctx.exit()


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def cloister() -> None:
    """Many services on one Linux host: each in a cell of its own, behind one front door.

    Begin with `cloister init`.

    \b
    Example:
      cloister init mysite && cloister up mysite/cloister.toml
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code.

    Args:
        arguments: without the program's name; ``None`` for those of this process.
    """
    return guard(
        lambda: cloister.main(
            None if arguments is None else list(arguments),
            prog_name="cloister",
            standalone_mode=False,
        )
    )


def guard(action: Callable[[], object]) -> int:
    """The exit code of ``action``: the number that it returns, 0 for anything else, and for what
    it raises the one of that error, which is printed."""
    try:
        result = action()
        # A reader that went away may show only when the last of the output is written.
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        return FAILED
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return USAGE
    except click.ClickException as error:
        return _report(_from_click(error))
    except OSError as error:
        return _report(_from_system(error))
    except CloisterError as error:
        return _report(error)
    except ExceptionGroup as group:
        ours, others = group.split(CloisterError)
        if ours is None or others is not None:
            raise
        return max(_report(error) for error in _leaves(ours))
    return result if isinstance(result, int) else 0


def _report(error: CloisterError) -> int:
    """Prints ``error`` and picks its exit code."""
    output.print_error(error)
    for kind, code in EXIT_CODES.items():
        if isinstance(error, kind):
            return code
    return FAILED


def _leaves(group: ExceptionGroup[CloisterError]) -> list[CloisterError]:
    found: list[CloisterError] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, ExceptionGroup) else [error]
    return found


def _from_click(error: click.ClickException) -> CloisterError:
    message = error.format_message().rstrip(".")
    what = message[:1].lower() + message[1:]
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx is not None else "cloister"
        return UsageError(what, hint=f"see `{path} --help`")
    return CloisterError(what)


def _from_system(error: OSError) -> CloisterError:
    reason = os.strerror(error.errno) if error.errno else str(error)
    place = f" ({error.filename})" if error.filename else ""
    if isinstance(error, PermissionError):
        return NotPermittedError(
            f"not permitted{place}", why=reason, hint="run as root, or as a user who may"
        )
    return CloisterError(f"the system refused{place}", why=reason)


def _discard_output() -> None:
    """Keeps Python from complaining about the broken pipe once more when it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
