"""A virtual machine with Debian 12 in which SELinux or AppArmor enforces.

Its disk is made by ``scripts/guest-image`` and never written to: each start is the first. It
is emulated (no KVM), has no network, and takes its commands over a serial port.
"""

import base64
import os
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.waiting import wait_until

REPOSITORY = Path(__file__).parents[2]

PACKAGES = ("qemu-system-x86", "e2fsprogs")
"""What starting it takes."""

BOOT = 300.0
"""Seconds for the machine to take its first command; about 40 on an idle processor."""


@dataclass(frozen=True)
class Answer:
    """What a command did."""

    status: int
    """0 to 255, as in a shell."""
    output: str
    """Standard output and error together."""


class Guest:
    """One machine. A context manager: it runs from entering to leaving."""

    def __init__(self, image: Path, security: str, payload: Path, folder: Path) -> None:
        """Names what it will be; nothing is started.

        Args:
            image: the folder that ``scripts/guest-image`` prints.
            security: words for the kernel's command line.
            payload: a folder whose files are on the guest's second disk.
            folder: for the second disk, the console's log and the sockets.
        """
        self._image = image
        self._security = security
        self._payload = payload
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._port: socket.socket | None = None
        self._unread = b""

    @property
    def console(self) -> str:
        """What the kernel and systemd have said so far."""
        return (self._folder / "console.log").read_text(errors="replace")

    def __enter__(self) -> Self:
        disk = self._folder / "payload.ext4"
        subprocess.run(
            [
                *("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal"),
                *("-d", self._payload, disk, f"{_megabytes(self._payload)}M"),
            ],
            check=True,
            capture_output=True,
        )
        port = self._folder / "port"
        command = [
            *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none"),
            *("-no-reboot", "-machine", "q35,accel=tcg", "-cpu", "max", "-smp", "2", "-m", "768"),
            *("-kernel", str(self._image / "kernel"), "-initrd", str(self._image / "initrd")),
            *(
                "-append",
                f"console=ttyS0 panic=-1 quiet sysctl.kernel.printk_ratelimit=0 {self._security}",
            ),
            *("-serial", f"file:{self._folder / 'console.log'}"),
            *("-chardev", f"socket,id=port,path={port},server=on,wait=off"),
            *("-serial", "chardev:port", "-device", "virtio-rng-pci"),
            *_disk("root", self._image / "disk", "snapshot=on,cache=unsafe"),
            *_disk("payload", disk, "readonly=on"),
        ]
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "nice", "-n", "10", *command],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._port = wait_until(lambda: _connect(port), seconds=60, what="the guest's port")
            self._line(b"READY", BOOT)
            assert self.run("mount -o ro /dev/vdb /mnt").status == 0
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the machine at once, as a power cut does."""
        if self._port is not None:
            self._port.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def run(self, script: str, limit: float = 300) -> Answer:
        """Runs a script in the guest's shell, as root; waits at most ``limit`` seconds."""
        assert self._port is not None
        self._port.sendall(base64.b64encode(script.encode()) + b"\n")
        _, status, *output = self._line(b"DONE", limit).split(b" ")
        return Answer(int(status), base64.b64decode(output[0]).decode() if output else "")

    def check(self, script: str, limit: float = 300) -> str:
        """As :meth:`run`, for what has to succeed; returns its output."""
        answer = self.run(script, limit)
        assert answer.status == 0, f"{script}\n{answer.output}"
        return answer.output

    def _line(self, beginning: bytes, limit: float) -> bytes:
        """The next line that begins so."""
        assert self._port is not None
        end = time.monotonic() + limit
        while True:
            line, newline, rest = self._unread.partition(b"\n")
            if newline:
                self._unread = rest
                if line.strip().startswith(beginning):
                    return line.strip()
                continue
            remaining = end - time.monotonic()
            assert remaining > 0, f"no {beginning!r} in {limit} s; console:\n{self.console[-3000:]}"
            self._port.settimeout(remaining)
            try:
                received = self._port.recv(1 << 16)
            except TimeoutError:
                continue
            assert received, f"the guest is gone; console:\n{self.console[-3000:]}"
            self._unread += received


def image() -> Path:
    """The folder with the guest's kernel, initrd and disk; built where it is missing."""
    done = subprocess.run(
        [REPOSITORY / "scripts" / "guest-image"], check=True, stdout=subprocess.PIPE, text=True
    )
    return Path(done.stdout.strip())


def _connect(path: Path) -> socket.socket | None:
    """``None`` as long as nobody listens."""
    port = socket.socket(socket.AF_UNIX)
    try:
        port.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        port.close()
        return None
    return port


def _megabytes(folder: Path) -> int:
    """Enough for a file system with all of it."""
    sizes = (path.lstat().st_size + 4096 for path in folder.rglob("*"))
    return 64 + sum(sizes) * 5 // 4 // (1 << 20)


def _disk(name: str, path: Path, options: str) -> list[str]:
    drive = f"file={os.fspath(path)},format=raw,if=none,id={name},{options}"
    return ["-drive", drive, "-device", f"virtio-blk-pci,drive={name}"]
