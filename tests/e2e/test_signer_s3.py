"""The signer beside a store that verifies Signature Version 4 by itself, with curl between them.

``make test-s3`` builds the store (crate s3s-fs) in some minutes, once.
"""

import hashlib
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.signing import SECRET, Signing, put
from tests.support.up import open_folder
from tests.support.waiting import wait_until

from cloister.model.object_key import parse_key
from cloister.signer.s3 import Bucket, Credentials, Signed, sign_put

SCRIPT = Path(__file__).parents[2] / "scripts" / "s3-server"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
CONTENT = b"a backup\n" * 10_000


class Store:
    """The server, with one bucket."""

    def __init__(self, folder: Path) -> None:
        done = subprocess.run([SCRIPT], check=True, stdout=subprocess.PIPE, text=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder = folder / "store"
        (self.folder / "backups").mkdir(parents=True)
        command = [done.stdout.strip(), "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--access-key", "AKFIRST", "--secret-key", SECRET, "--domain", self.domain]
        self.process = subprocess.Popen(
            [*command, str(self.folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self.listens, what="the store", seconds=30)

    @property
    def domain(self) -> str:
        return f"s3.localhost:{self.port}"

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def has(self, key: str) -> bytes | None:
        file = self.folder / "backups" / key
        return file.read_bytes() if file.exists() else None

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


class World:
    """Store, signer, and a file to upload."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        self.signing = Signing(folder, self.store.endpoint)
        self.file = folder / "backup"
        self.file.write_bytes(CONTENT)
        self.keys = Credentials("AKFIRST", SECRET)
        me = "root" if os.geteuid() == 0 else str(os.geteuid())
        port = self.store.port
        self.signing.write(
            users=f'users = {{ {me} = {{ put = "me/*", get = "me/*" }} }}',
            blog='sign.inside = { put = "cell/*" }\n'
            f'egress = [{{ name = "s3.localhost", port = {port}, to = "127.0.0.1:{port}" }}]',
            more=f'[signer.inside]\nbucket = "backups"\nregion = "us-east-1"\n'
            f'endpoint = "http://{self.store.domain}"\ncredentials = "{self.signing.keys}"\n',
        )

    def sign(self, name: str) -> dict[str, Any]:
        status, signed = self.signing.ask("blog", put(name, CONTENT))
        assert status == 200, signed
        return signed

    def curl(
        self,
        signed: dict[str, Any],
        *,
        url: str = "",
        file: Path | None = None,
        method: str = "PUT",
        leave_out: str = "",
    ) -> tuple[int, str]:
        """The status of an upload, and the code that the store gives for a refusal."""
        headers = [
            word
            for name, value in signed["headers"].items()
            if name not in ("content-length", leave_out)
            for word in ("--header", f"{name}: {value}")
        ]
        command = ["curl", "-s", "-w", "\n%{http_code}", "-X", method, *headers]
        command += ["--upload-file", str(file or self.file), url or signed["url"]]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        body, _, status = done.stdout.rpartition("\n")
        code = re.search(r"<Code>(\w+)</Code>", body)
        return int(status), code[1] if code else ""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with open_folder() as folder:
        found = World(folder)
        try:
            found.signing.start()
            yield found
        finally:
            found.signing.up.close()
            found.store.close()


def test_a_signature_uploads_once(world: World) -> None:
    signed = world.sign("once")
    assert world.curl(signed) == (200, "")
    assert world.store.has("blog/once.gz") == CONTENT
    assert world.curl(signed) == (412, "PreconditionFailed")
    assert world.signing.ask("blog", put("once", CONTENT))[1]["reason"] == "issued"


def test_without_a_signature_nothing_is_taken(world: World) -> None:
    signed = world.sign("unsigned")
    url = signed["url"].partition("?")[0]
    assert world.curl(signed, url=url)[0] == 403
    assert world.curl(signed, url=signed["url"][:-1] + "0")[0] == 403 or signed["url"].endswith("0")
    assert world.store.has("blog/unsigned.gz") is None


def test_another_key_is_refused(world: World) -> None:
    signed = world.sign("key")
    for other in (("blog/key", "blog/other"), ("blog/key", "shop/key"), ("/backups/", "/others/")):
        assert world.curl(signed, url=signed["url"].replace(*other))[0] == 403
    assert world.store.has("blog/key.gz") is None
    assert world.curl(signed) == (200, "")


def test_another_size_is_refused(world: World, tmp_path: Path) -> None:
    signed = world.sign("size")
    for content in (CONTENT[:-1], CONTENT + b"x", b""):
        (tmp_path / "other").write_bytes(content)
        assert world.curl(signed, file=tmp_path / "other")[0] in (400, 403)
    assert world.store.has("blog/size.gz") is None


def test_other_bytes_are_refused(world: World, tmp_path: Path) -> None:
    signed = world.sign("body")
    (tmp_path / "other").write_bytes(CONTENT[:-1] + b"x")
    assert world.curl(signed, file=tmp_path / "other") == (400, "BadDigest")


@pytest.mark.parametrize("header", ["if-none-match", "x-amz-checksum-sha256"])
def test_a_header_that_is_left_out_is_refused(world: World, header: str) -> None:
    signed = world.sign(f"without-{header}")
    assert world.curl(signed, leave_out=header)[0] == 403
    changed = {**signed, "headers": signed["headers"] | {header: "x"}}
    assert world.curl(changed)[0] in (400, 403)
    assert world.store.has(f"blog/without-{header}.gz") is None


def test_another_method_is_refused(world: World) -> None:
    signed = world.sign("method")
    world.curl(signed)
    for method in ("GET", "DELETE", "HEAD", "POST"):
        command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", method]
        command += ["--max-time", "20", "--header", "if-none-match: *", signed["url"]]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.stdout in ("403", "405", "400", "501"), (method, done.stdout)
    assert world.store.has("blog/method.gz") == CONTENT


def test_a_signature_that_has_expired_is_refused(world: World) -> None:
    """By the signer's own function, an hour ago; the same of now is taken."""
    bucket = Bucket(world.store.endpoint, "us-east-1", "backups", path_style=True)
    digest = hashlib.sha256(CONTENT).digest()

    def signed(at: float) -> dict[str, Any]:
        found: Signed = sign_put(
            bucket,
            world.keys,
            parse_key("blog/late.gz"),
            size=len(CONTENT),
            sha256=digest,
            valid=300,
            now=at,
        )
        return {"url": found.url, "headers": dict(found.headers)}

    late = signed(time.time() - 3600)
    assert world.curl(late) == (403, "AccessDenied")
    prolonged = late["url"].replace("X-Amz-Expires=300", "X-Amz-Expires=9999")
    assert world.curl(late, url=prolonged)[0] == 403
    assert world.store.has("blog/late.gz") is None
    assert world.curl(signed(time.time())) == (200, "")


@pytest.mark.parametrize("key", ["a b", "ä", "100%", "a+b=c&d", "it's (1)~", "a?b#c", "%41"])
def test_any_key_arrives_as_it_was_asked_for(world: World, key: str) -> None:
    signed = world.sign(key)
    assert world.curl(signed) == (200, "")
    assert world.store.has(f"blog/{key}.gz") == CONTENT


def test_a_bucket_in_the_hosts_name(world: World) -> None:
    bucket = Bucket(f"http://{world.store.domain}", "us-east-1", "backups", path_style=False)
    found = sign_put(
        bucket,
        world.keys,
        parse_key("blog/host.gz"),
        size=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).digest(),
        valid=300,
        now=time.time(),
    )
    # curl (RFC 6761): names below localhost are this machine.
    assert found.url.startswith(f"http://backups.{world.store.domain}/blog/host.gz?")
    assert world.curl({"url": found.url, "headers": dict(found.headers)}) == (200, "")
    assert world.store.has("blog/host.gz") == CONTENT


def test_the_command_uploads_and_downloads(world: World, tmp_path: Path) -> None:
    config = ["--config", str(world.signing.up.config)]
    command = [sys.executable, "-m", "cloister", "sign"]
    arguments = ["backups", "me/x", str(world.file), "--upload"]
    done = subprocess.run(
        [*command, "put", *arguments, *config], check=True, capture_output=True, text=True
    )
    assert done.stdout == "uploaded me/x\n"
    assert world.store.has("me/x") == CONTENT
    url = subprocess.run(
        [*command, "get", "backups", "me/x", *config], check=True, capture_output=True, text=True
    ).stdout.strip()
    got = subprocess.run(["curl", "-s", "--fail", url], check=True, capture_output=True)
    assert got.stdout == CONTENT


INSIDE = """
import hashlib, http.client, json, os, socket
from urllib.parse import urlsplit
content = b"from the cell" * 1000
class Signer(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(os.environ["SIGNER_SOCKET"])
signer = Signer("signer")
signer.request("POST", "/sign", json.dumps({
    "operation": "put", "store": "inside", "key": "cell/x", "size": len(content),
    "sha256": hashlib.sha256(content).hexdigest()}))
signed = json.load(signer.getresponse())
url = urlsplit(signed["url"])
store = http.client.HTTPConnection(url.netloc)
store.request(signed["method"], f"{url.path}?{url.query}", content, signed["headers"])
print(store.getresponse().status)
"""
"""As docs/signer.md has it."""


def test_an_application_uploads_from_its_cell(world: World) -> None:
    """It has no key, and its one way out leads to the store."""
    assert world.signing.inside("blog", INSIDE) == "200\n"
    assert world.store.has("cell/x") == b"from the cell" * 1000
