"""``cloister up``: runs everything that a configuration names."""

import asyncio

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
def command(config: str | None, log_format: str) -> None:
    """Run the door and all apps of CONFIG in the foreground.

    CONFIG is ./cloister.toml, else /etc/cloister/cloister.toml. Ends on SIGTERM or Ctrl-C
    once open requests are answered; a second Ctrl-C waits for nobody.
    """
    from cloister import wiring
    from cloister.apps.logs import LogFormat, Sink
    from cloister.config.load import find, load

    snapshot = load(find(config))
    names = ("cloister", "door", *(app.name for app in snapshot.apps))
    sink = Sink(log_format=LogFormat(log_format), width=max(len(name) for name in names))
    try:
        asyncio.run(wiring.run(snapshot, sink))
    finally:
        sink.close()
