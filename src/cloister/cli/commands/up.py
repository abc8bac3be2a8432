"""``cloister up``: runs everything that a configuration names."""

import os
import pickle
import sys

import click


@click.command()
@click.argument("config", required=False, type=click.Path())
@click.option(
    "--log-format",
    type=click.Choice(["auto", "plain", "json"]),
    default="auto",
    show_default=True,
    help="auto: plain on a terminal, JSON otherwise.",
)
@click.option(
    "--from-file",
    is_flag=True,
    help="Take CONFIG as it is, also where a configuration that was accepted later is kept.",
)
def command(config: str | None, log_format: str, from_file: bool) -> None:
    """Run the door and all apps of CONFIG in the foreground.

    CONFIG is ./cloister.toml, else /etc/cloister/cloister.toml. Where the last supervisor
    was killed, or CONFIG was not edited since it was last read, the configuration that was
    accepted last runs on. SIGHUP takes an edited CONFIG, and replaces the door. Ends on
    SIGTERM or Ctrl-C once open requests are answered; a second Ctrl-C waits for nobody.

    \b
    Example:
      cloister up /etc/cloister/cloister.toml
    """
    # Becomes a fresh process that runs it: what reads command lines and validates text takes
    # 20 MiB, which a supervisor that lives for months would keep. The process id stays, as
    # whoever started it expects.
    from cloister.config.load import find
    from cloister.config.start import choose
    from cloister.processes import memory_file

    start = choose(find(config), file_only=from_file)
    descriptor = memory_file("start", pickle.dumps(start))
    os.set_inheritable(descriptor, True)
    sys.stdout.flush()
    # -P: the current folder may belong to somebody whose code must not run here.
    command_line = [sys.executable, "-P", "-m", "cloister.cli.foreground", str(descriptor)]
    os.execv(sys.executable, [*command_line, log_format])  # noqa: S606
