"""``cloister web``: a status page for a browser."""

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from cloister.cli.commands.top import look_at
from cloister.model.errors import UsageError

if TYPE_CHECKING:
    from cloister.model.finding import Diagnosis
    from cloister.model.listener import Address

DOCTOR_TIMEOUT = 60.0
"""Seconds for one round of doctor."""


@click.command()
@click.argument("config", required=False, type=click.Path())
@click.option(
    "--listen",
    default="127.0.0.1:0",
    metavar="ADDRESS",
    help="A loopback address and port, or unix:PATH.  [default: 127.0.0.1, any free port]",
)
@click.option("--group", help="The group of a Unix socket.")
def command(*, config: str | None, listen: str, group: str | None) -> None:
    """Serve a page that shows what the supervisor of CONFIG runs, and runs until Ctrl-C.

    On loopback the printed address is good for one visit: whoever opens it first gets the
    page. A Unix socket is for its group; ssh brings it to another machine.

    \b
    Examples:
      cloister web
      cloister web --listen 127.0.0.1:8080
      cloister web --listen unix:/run/cloister/web.sock --group adm
    """
    from cloister.config.load import find
    from cloister.config.values import parse_address

    addresses = parse_address(listen)
    if len(addresses) != 1:
        raise UsageError(f"{listen} is more than one address", hint="for example 127.0.0.1:8080")
    asyncio.run(_serve(find(config), addresses[0], group))


async def _serve(config: str, address: "Address", group: str | None) -> None:
    from cloister.config.load import load
    from cloister.control.client import ControlClient
    from cloister.model.listener import SocketOptions, TcpAddress
    from cloister.observe.usage import UsageReader
    from cloister.observe.web.server import StatusSite, Watcher, server
    from cloister.sockets.bind import bind_listener

    path = load(config, check_files=False).paths.control_socket
    _check(address)
    reader = UsageReader()
    with ControlClient(path) as client:
        client.brief()  # whoever may not ask learns it now
        watcher = Watcher(
            client.status,
            lambda observation: look_at(client, reader, observation),
            lambda: _examine(config),
        )
        bound = bind_listener(address, SocketOptions(group=group, mode=0o660))
        try:
            tcp = bound.address if isinstance(bound.address, TcpAddress) else None
            names = None if tcp is None else _names(tcp)
            site = StatusSite(watcher, hosts=names)
            serving = server(site)
            await serving.listen(bound.socket)
            where = f"http://{tcp}" if tcp is not None else f"{bound.address}"
            click.echo(f"{where}{site.entrance if tcp is not None else ''}")
            await asyncio.Event().wait()
        finally:
            bound.close()
            reader.close()


def _check(address: "Address") -> None:
    """Only this machine: the page is for whoever may ask the supervisor."""
    import ipaddress

    from cloister.model.listener import TcpAddress, UnixAddress

    if isinstance(address, UnixAddress) and not address.abstract:
        return
    if isinstance(address, TcpAddress) and ipaddress.ip_address(address.host).is_loopback:
        return
    raise UsageError(
        f"{address} can be reached by others",
        why="the page shows everything that the supervisor knows",
        hint="take 127.0.0.1:PORT and `ssh -L`, or unix:PATH",
    )


def _names(address: "Address") -> frozenset[str]:
    from cloister.model.listener import TcpAddress

    assert isinstance(address, TcpAddress)  # noqa: S101 - the caller's condition
    return frozenset({str(address), f"localhost:{address.port}"})


async def _examine(config: str) -> "tuple[Diagnosis, ...]":
    """A round of ``cloister doctor``, in a process of its own: it becomes other users."""
    from pydantic import TypeAdapter, ValidationError

    from cloister.model.finding import Diagnosis

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "cloister", "doctor", "--config", config, "--json"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(DOCTOR_TIMEOUT):
            output, _ = await process.communicate()
        return TypeAdapter(tuple[Diagnosis, ...]).validate_json(output)
    except (TimeoutError, ValidationError):
        return ()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
