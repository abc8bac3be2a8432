"""``cloister generate grafana``."""

from pathlib import Path

import click

from cloister.cli import generated
from cloister.generate.grafana import GrafanaRequest, generate


@click.command()
@click.option("--title", default="Cloister", show_default=True, help="Of the dashboard.")
@click.option("--job", default="cloister", show_default=True, help="The job's name in Prometheus.")
@generated.options
def command(*, title: str, job: str, output: Path | None, force: bool) -> None:
    """A dashboard for Grafana: connections, bytes, refusals, waiting times, applications.

    \b
    Examples:
      cloister generate grafana --output /
      cloister generate grafana --title "Web hosts" --job cloister
    """
    generated.emit(generate(GrafanaRequest(title, job)), output, force=force)
