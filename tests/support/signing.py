"""A supervisor with a signer, two applications that do what a test sends them, and who asks."""

import hashlib
import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import psutil
from tests.support.processes import command_line
from tests.support.up import Up
from tests.support.waiting import wait_until

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
KEYS = "[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"
AGENT = """
import contextlib, io, socket, traceback
listening = socket.socket(fileno=3)
listening.setblocking(True)
while True:
    connection, _ = listening.accept()
    with connection, connection.makefile("rb") as reader:
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            try:
                exec(reader.read().decode(), {})
            except BaseException:
                print(traceback.format_exc())
        with contextlib.suppress(OSError):
            connection.sendall(output.getvalue().encode())
"""
"""Executes what it is sent, as an application that was taken over would."""
ASK = """
import http.client, json, os, socket
class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(os.environ["SIGNER_SOCKET"])
connection = Connection("signer", timeout=30)
connection.request("POST", "/sign", {body!r})
response = connection.getresponse()
print(response.status)
print(response.read().decode())
"""


class Signing:
    """The whole, in a folder."""

    def __init__(self, folder: Path, endpoint: str = "http://127.0.0.1:9") -> None:
        self.up = Up(folder)
        self.keys = folder / "keys"
        self.write_keys("AKFIRST")
        self.endpoint = endpoint

    def write_keys(self, key: str) -> None:
        self.keys.unlink(missing_ok=True)
        self.keys.touch(mode=0o600)
        self.keys.write_text(KEYS.format(key=key, secret=SECRET))

    def write(self, *, users: str = "", blog: str = "", shop: str = "", more: str = "") -> None:
        """A configuration; ``users`` goes into the store's table, ``blog`` and ``shop`` into
        those of the applications."""
        command = json.dumps(["/usr/bin/python3", "-c", AGENT])
        grants = {"put": "blog/*.gz", "get": "blog/*", "largest": "1M"}
        grant = "\n".join(f"sign.backups.{name} = {value!r}" for name, value in grants.items())
        apps = "".join(
            f'[apps.{name}]\ncommand = {command}\nhosts = ["{name}.example"]\n{lines}\n'
            for name, lines in (("blog", f"{grant}\n{blog}"), ("shop", shop))
        )
        store = (
            f'[signer.backups]\nbucket = "backups"\nregion = "us-east-1"\n'
            f'endpoint = "{self.endpoint}"\ncredentials = "{self.keys}"\n{users}\n'
        )
        self.up.write({}, apps + store + more)

    def start(self) -> None:
        self.up.start("--log-format", "json")
        self.up.wait_ready()
        self.wait_signer()

    def wait_signer(self, besides: int | None = None) -> psutil.Process:
        """The signer, once it is another than ``besides`` and answers."""

        def found() -> psutil.Process | None:
            ours = self.signers()
            return ours[0] if ours and ours[0].pid != besides else None

        process = wait_until(found, what="a signer", seconds=30)
        assert process is not None
        wait_until(lambda: self.ready(process.pid), what="the signer serves", seconds=30)
        return process

    def ready(self, pid: int) -> bool:
        events = map(json.loads, self.up.log_path.read_text().splitlines())
        return any(
            (one["source"], one.get("state"), one.get("pid")) == ("signer", "ready", pid)
            for one in events
        )

    def signers(self) -> list[psutil.Process]:
        assert self.up.process is not None
        children = psutil.Process(self.up.process.pid).children()
        return [one for one in children if "cloister.signer.service" in command_line(one)]

    def inside(self, name: str, code: str) -> str:
        """What ``code`` prints in the cell of an application."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(str(self.up.runtime / "apps" / name / "socket"))
            connection.sendall(code.encode())
            connection.shutdown(socket.SHUT_WR)
            received = b""
            while piece := connection.recv(65536):
                received += piece
        return received.decode()

    def ask(self, name: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """What the signer answers an application, asked from its cell as often as it may."""

        def answered() -> tuple[int, dict[str, Any]] | None:
            printed = self.inside(name, ASK.format(body=json.dumps(body)))
            status, _, answer = printed.partition("\n")
            assert status.isdecimal(), printed
            found: dict[str, Any] = json.loads(answer)
            return None if found.get("reason") == "rate" else (int(status), found)

        answer = wait_until(answered, what="an answer", seconds=30, interval=0.2)
        assert answer is not None
        return answer

    def socket_of(self, who: str) -> Path:
        return self.up.runtime / "signer" / f"{who}.sock"


def curl_as(uid: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """curl as another user."""
    return subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", "30", *arguments],
        **({"user": uid, "group": uid, "extra_groups": []} if os.geteuid() == 0 else {}),
        capture_output=True,
        text=True,
        check=False,
    )


def put(name: str, content: bytes = b"abc", **other: Any) -> dict[str, Any]:
    """A request for an upload."""
    digest = hashlib.sha256(content).hexdigest()
    base = {"operation": "put", "store": "backups", "key": f"blog/{name}.gz"}
    return base | {"size": len(content), "sha256": digest} | other


def holds(pid: int, secret: bytes) -> bool:
    """Whether a process has ``secret`` in its writable memory. As root."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            places, rights, *_ = line.split()
            if not rights.startswith("rw"):
                continue
            first, last = (int(number, 16) for number in places.split("-"))
            memory.seek(first)
            try:
                if secret in memory.read(last - first):
                    return True
            except OSError:
                continue  # [vvar] and the like
    return False
