"""Applications of a native configuration whose root is a folder of the host, asked by HTTP."""

import json
import shutil
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.packages import need
from tests.support.unit_up import free_port, get
from tests.support.up import Up, open_folder
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("as_root")

WEB = """
import json, os
def app(environ, start_response):
    try:
        with open("/data/visits", "a") as file:
            file.write("visit\\n")
        written = True
    except OSError as error:
        written = error.strerror
    told = {"inside": sorted(os.listdir("/")), "folder": os.getcwd(), "written": written}
    start_response("200 OK", [("content-type", "application/json")])
    return [json.dumps(told).encode()]
"""


@pytest.fixture
def image() -> Iterator[Path]:
    """A root with a static program, a page, and a module of Python."""
    need("busybox-static")
    with open_folder() as folder:
        root = folder / "image"
        for name in ("bin", "www", "app", "data"):
            (root / name).mkdir(parents=True)
        shutil.copy("/bin/busybox", root / "bin" / "busybox")
        (root / "bin" / "httpd").symlink_to("/bin/busybox")
        (root / "www" / "page").write_text("from the image")
        (root / "app" / "web.py").write_text(WEB)
        (root / "data").chmod(0o777)
        yield root


def serve(image: Path, *blocks: str) -> Up:
    up = Up(image.parent)
    places = f'runtime-directory = "{up.runtime}"\nstate-directory = "{up.state}"'
    up.config.write_text("\n".join(["[cloister]", places, *blocks]))
    return up


def test_a_program_of_the_root_serves(image: Path) -> None:
    port = free_port()
    up = serve(
        image,
        f"""
[apps.pages]
command = ["/bin/httpd", "-i", "-h", "/www"]
endpoint = "stdio"
directory = "/www"
listen = "127.0.0.1:{port}"
isolation = {{ rootfs = "image" }}
""",
    )
    before = sorted(image.rglob("*"))
    up.start()
    try:
        up.wait_ready()
        assert get(port, "/page") == "from the image"
        (image / "www" / "page").write_text("changed")
        assert get(port, "/page") == "changed"
        missing = subprocess.run(
            ["curl", "--silent", "--path-as-is", f"http://127.0.0.1:{port}/../../etc/passwd"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert "root:" not in missing
        assert sorted(image.rglob("*")) == before
    finally:
        up.close()


DIALS = """
import json, socket
def dial(*place):
    try:
        if len(place) == 1:
            line = socket.socket(socket.AF_UNIX)
            line.connect(place[0])
        else:
            line = socket.create_connection(place, timeout=5)
        with line:
            return line.recv(100).decode()
    except OSError as error:
        return type(error).__name__
def app(environ, start_response):
    with open("/etc/hosts") as file:
        hosts = file.read()
    told = [dial("db.internal", 5432), dial("/run/db.sock"), dial("other.internal", 5432), hosts]
    start_response("200 OK", [("content-type", "application/json")])
    return [json.dumps(told).encode()]
"""


@pytest.mark.parametrize("with_hosts", [True, False], ids=["a list of names", "none"])
def test_ways_out_of_the_root(image: Path, with_hosts: bool) -> None:
    (image / "app" / "web.py").write_text(DIALS)
    if with_hosts:
        (image / "etc").mkdir()
        (image / "etc" / "hosts").write_text("10.0.0.1 db.internal theirs\n")
    before = sorted(image.rglob("*"))

    class Greets(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"hello")

    port = free_port()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Greets) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        way = 'name = "db.internal", port = 5432, socket = "/run/db.sock"'
        up = serve(
            image,
            f"""
[apps.web]
directory = "/app"
listen = "127.0.0.1:{port}"
isolation = {{ rootfs = "image" }}
python = "web:app"
egress = [{{ {way}, to = "127.0.0.1:{server.server_address[1]}" }}]
""",
        )
        up.start()
        try:
            up.wait_ready()
            by_name, by_path, other, hosts = json.loads(get(port))
            assert (by_name, by_path, other) == ("hello", "hello", "gaierror")
            first, rest = hosts.split("\n", 1)
            assert first == "127.0.1.1 db.internal"
            assert rest == "10.0.0.1 theirs\n" if with_hosts else "localhost" in rest
        finally:
            up.close()
            server.shutdown()
    assert sorted(image.rglob("*")) == before


def test_a_python_application_of_the_root_serves(image: Path) -> None:
    port = free_port()

    def block(more: str) -> str:
        return f"""
[apps.web]
directory = "/app"
listen = "127.0.0.1:{port}"
isolation = {{ rootfs = "image"{more} }}
python = "web:app"
"""

    up = serve(image, block(""))
    up.start()
    try:
        up.wait_ready()
        told = json.loads(get(port))
        assert {"app", "bin", "data", "www"} <= set(told["inside"])
        assert {"boot", "var"}.isdisjoint(told["inside"])
        assert (told["folder"], told["written"]) == ("/app", "Read-only file system")
        places = up.config.read_text().partition("[apps")[0]
        up.apply(places + block(", rootfs-writable = true"))

        def written() -> bool:
            return json.loads(get(port))["written"] is True

        wait_until(written, what="the version that may write", seconds=60)
        assert (image / "data" / "visits").read_text().startswith("visit\n")
    finally:
        up.close()
