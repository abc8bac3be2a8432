"""``cloister generate haproxy``."""

from pathlib import Path
from typing import Any

import click

from cloister.cli import generated
from cloister.cli.generators import options
from cloister.generate.haproxy import CHROOT, GROUP, HaproxyRequest, Mode, generate
from cloister.generate.upstream import Upstream


@click.command()
@options.upstream
@click.option("--tcp", is_flag=True, help="Pass bytes on as they are, instead of HTTP.")
@click.option("--send-proxy", is_flag=True, help="Tell the client's address in a PROXY header.")
@click.option(
    "--chroot",
    default=CHROOT,
    show_default=True,
    metavar="DIR",
    help="HAProxy's `chroot`; `none` where it has none.",
)
@click.option("--group", help=f"The socket's group.  [default: the listener's, else {GROUP}]")
@generated.options
def command(
    *,
    tcp: bool,
    send_proxy: bool,
    chroot: str,
    group: str | None,
    output: Path | None,
    force: bool,
    **given: Any,
) -> None:
    """A backend of HAProxy's before the Unix socket of NAME.

    \b
    Examples:
      cloister generate haproxy web --socket /run/web/web.sock
      cloister generate haproxy door --listener https --tcp --send-proxy
    """
    name, plan = options.upstream_plan(given, group, GROUP)
    request = HaproxyRequest(
        Upstream(name, plan),
        mode=Mode.TCP if tcp else Mode.HTTP,
        send_proxy=send_proxy,
        chroot=None if chroot == "none" else chroot,
    )
    generated.emit(generate(request), output, force=force)
