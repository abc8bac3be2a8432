"""``cloister up``: runs everything that a configuration names."""

import asyncio
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
@click.option("--snapshot-fd", type=int, hidden=True)
def command(config: str | None, log_format: str, snapshot_fd: int | None) -> None:
    """Run the door and all apps of CONFIG in the foreground.

    CONFIG is ./cloister.toml, else /etc/cloister/cloister.toml. Ends on SIGTERM or Ctrl-C
    once open requests are answered; a second Ctrl-C waits for nobody.
    """
    if snapshot_fd is None:
        _begin(config, log_format)
    else:
        _run(snapshot_fd, log_format)


def _begin(config: str | None, log_format: str) -> None:
    """Read the configuration, then become a fresh process that runs it.

    What validates text takes 20 MiB, which a supervisor that lives for months would
    keep. The process id stays, as whoever started it expects.
    """
    from cloister.config.load import find, load
    from cloister.processes import memory_file

    snapshot = load(find(config))
    descriptor = memory_file("snapshot", pickle.dumps(snapshot))
    os.set_inheritable(descriptor, True)
    sys.stdout.flush()
    arguments = ["up", "--log-format", log_format, "--snapshot-fd", str(descriptor)]
    # -P: the current folder may belong to somebody whose code must not run here.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "cloister", *arguments])  # noqa: S606


def _run(descriptor: int, log_format: str) -> None:
    from cloister import wiring
    from cloister.apps.logs import LogFormat, Sink

    with os.fdopen(descriptor, "rb") as file:
        # Written by _begin in this very process, into memory that nobody else can write.
        snapshot = pickle.load(file)  # noqa: S301
    names = ("cloister", "door", *(app.name for app in snapshot.apps))
    sink = Sink(log_format=LogFormat(log_format), width=max(len(name) for name in names))
    try:
        asyncio.run(wiring.run(snapshot, sink))
    finally:
        sink.close()
