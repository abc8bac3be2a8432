"""A real nginx on a port of loopback, before an upstream that is broken."""

import contextlib
import http.client
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.broken import Corner
from tests.support.packages import need
from tests.support.processes import children
from tests.support.waiting import wait_until

_MAIN = """\
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
user {user};
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    fastcgi_temp_path {folder}/fastcgi;
    proxy_temp_path {folder}/proxy;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/conf.d/*.conf;
}}
"""


class Nginx:
    """One master and one worker, with a folder and a configuration of their own."""

    def __init__(
        self,
        corner: Corner,
        site: str,
        *,
        name: str = "nginx",
        user: str = "www-data",
        before: Sequence[str] = (),
    ) -> None:
        """``site``: what stands in ``http``; may say ``{folder}``."""
        need("nginx")
        self.folder = corner.directory(name, uid=0)
        (self.folder / "conf.d").mkdir()
        self.site = self.folder / "conf.d" / "site.conf"
        self.site.write_text(site.replace("{folder}", str(self.folder)))
        self.config = self.folder / "nginx.conf"
        self.config.write_text(_MAIN.format(folder=self.folder, user=user))
        self._corner, self._before = corner, before
        self.master: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it; returns once it has a worker."""
        command = ["nginx", "-c", str(self.config), "-g", "daemon off;"]
        self.master = self._corner.run(*command, before=self._before)
        wait_until(self._listens, what="nginx")

    def worker(self) -> int:
        """The worker's process, once it has its user: it takes its title after that."""
        assert self.master is not None
        pid = self.master.pid
        return wait_until(lambda: max(filter(_works, children(pid)), default=0), what="a worker")

    def _listens(self) -> bool:
        assert self.master is not None
        assert self.master.poll() is None, (self.folder / "error.log").read_text()
        return (self.folder / "nginx.pid").exists()


def _works(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"nginx: worker process")
    return False


class Front(Nginx):
    """nginx with one server on a port, which passes everything to an upstream."""

    def __init__(
        self,
        corner: Corner,
        location: str,
        *,
        outside: str = "",
        user: str = "www-data",
        before: Sequence[str] = (),
        start: bool = True,
    ) -> None:
        """``location``: the lines of ``location /``; ``outside``: of ``http``."""
        self.port = free_port()
        server = (
            f"server {{\n    listen 127.0.0.1:{self.port};\n    location / {{\n"
            f"        {location}\n    }}\n}}\n"
        )
        super().__init__(corner, f"{outside}\n{server}", user=user, before=before)
        if start:
            self.start()

    def status(self) -> int:
        """Of a request for ``/``; 0 where nginx does not answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def complaint(self) -> str:
        """The last line of the error log that speaks of an upstream, after a request."""
        assert self.status() in (502, 504), "nginx reaches its upstream"
        lines = (self.folder / "error.log").read_text().splitlines()
        return next(line for line in reversed(lines) if "upstream" in line)

    def wait_until_served(self) -> None:
        wait_until(lambda: self.status() == 200, what="an answer through nginx")


def free_port() -> int:
    """A port of loopback that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
        assert isinstance(port, int)
        return port
