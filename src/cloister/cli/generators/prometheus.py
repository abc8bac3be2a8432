"""``cloister generate prometheus``."""

from pathlib import Path

import click

from cloister.cli import generated
from cloister.generate.prometheus import PrometheusRequest, generate


@click.command()
@click.argument("url")
@click.option("--token-file", metavar="PATH", help="Where Prometheus finds the gateway's token.")
@click.option("--job", default="cloister", show_default=True, metavar="NAME", help="Its name.")
@click.option("--interval", metavar="TIME", help="How often to ask.  [default: Prometheus' own]")
@generated.options
def command(
    *,
    url: str,
    token_file: str | None,
    job: str,
    interval: str | None,
    output: Path | None,
    force: bool,
) -> None:
    """A job for Prometheus that asks the gateway at URL what there is, and asks for all of it.

    The gateway listens where [metrics] in the configuration says.

    \b
    Examples:
      cloister generate prometheus http://127.0.0.1:9464
      cloister generate prometheus http://10.0.0.5:9464 --token-file /etc/prometheus/cloister
    """
    request = PrometheusRequest(url, token_file, job, interval)
    generated.emit(generate(request), output, force=force)
