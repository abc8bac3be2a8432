"""``cloister up``: programs that open their standard streams by name."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import packages
from tests.support.up import Up, open_folder
from tests.support.waiting import wait_until

NGINX = """
daemon off;
error_log /dev/stderr notice;
pid /tmp/nginx.pid;
events {}
http {
    access_log /dev/stdout;
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    server { listen unix:/tmp/cloister.socket; location / { return 200 served; } }
}
"""
PHP = """
[global]
error_log = /proc/self/fd/2
daemonize = no
[www]
listen = /tmp/cloister.socket
pm = static
pm.max_children = 1
access.log = /dev/stderr
catch_workers_output = yes
"""


@pytest.fixture
def up() -> Iterator[Up]:
    with open_folder() as folder:
        running = Up(folder)
        try:
            yield running
        finally:
            running.close()


def serve(up: Up, command: list[str], name: str, text: str) -> None:
    folder = up.folder / "apps" / "program"
    folder.mkdir(parents=True)
    (folder / name).write_text(text)
    up.write(
        {},
        f'[apps.program]\ncommand = {json.dumps(command)}\ndirectory = "{folder}"\n'
        'endpoint = "bind"\nhosts = ["program.example"]\n',
    )
    up.start("--log-format", "json")
    up.wait_ready()


def test_nginx_logs_to_dev_stderr_and_dev_stdout(up: Up) -> None:
    packages.need("nginx")
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    assert program is not None
    conf = str(up.folder / "apps" / "program" / "nginx.conf")
    serve(up, [program, "-e", "/dev/stderr", "-c", conf], "nginx.conf", NGINX)
    wait_until(
        lambda: any("start worker process" in line for line in up.said("program")),
        what="its error log",
        seconds=30,
    )


def test_php_fpm_logs_to_its_standard_error_by_name(up: Up) -> None:
    packages.need("php-fpm")
    program = next(Path("/usr/sbin").glob("php-fpm*"))
    conf = str(up.folder / "apps" / "program" / "fpm.conf")
    serve(up, [str(program), "-F", "-y", conf], "fpm.conf", PHP)
    wait_until(
        lambda: any("ready to handle connections" in line for line in up.said("program")),
        what="its error log",
        seconds=30,
    )
