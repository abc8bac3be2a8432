"""Real proxies in front of the door: haproxy and nginx, each passing TCP on as it is."""

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support import packages
from tests.support.waiting import wait_until


@contextlib.contextmanager
def haproxy(folder: Path, server: str, options: str) -> Iterator[tuple[str, int]]:
    """haproxy before ``server``, an address of its configuration, with a server's options;
    yields where it listens. Its configuration is written into ``folder``."""
    packages.need("haproxy")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        configuration = folder / "haproxy.cfg"
        configuration.write_text(
            "defaults\n mode tcp\n"
            " timeout connect 5s\n timeout client 30s\n timeout server 30s\n timeout check 2s\n"
            f"frontend in\n bind fd@{listening.fileno()}\n default_backend door\n"
            f"backend door\n server door {server} {options}\n"
        )
        with subprocess.Popen(
            ["haproxy", "-db", "-q", "-f", configuration], pass_fds=(listening.fileno(),)
        ) as process:
            try:
                yield listening.getsockname()
            finally:
                process.kill()


@contextlib.contextmanager
def nginx(folder: Path, server: tuple[str, int]) -> Iterator[tuple[str, int]]:
    """nginx before ``server``, with ``proxy_protocol on``; yields where it listens."""
    packages.need("nginx", "libnginx-mod-stream")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address: tuple[str, int] = free.getsockname()
    configuration = folder / "nginx.conf"
    configuration.write_text(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n"
        f"daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;\n"
        "events {}\n"
        "stream { server {\n"
        f"  listen {address[0]}:{address[1]}; proxy_pass {server[0]}:{server[1]};\n"
        "  proxy_protocol on;\n"
        "} }\n"
    )
    command = ["nginx", "-p", folder, "-e", "stderr", "-c", configuration]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: _answers(address), what="nginx listens")
            yield address
        finally:
            process.kill()


def _answers(address: tuple[str, int]) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(address, timeout=1):
        return True
    return False


def connect_from(source: str, address: tuple[str, int]) -> socket.socket:
    """A connection from an address of the loopback network, so that two clients differ."""
    return socket.create_connection(address, timeout=10, source_address=(source, 0))
