"""A network and a mount namespace with names of their own: /etc/hosts, /etc/resolv.conf and
port 53 belong to the test (network_namespaces(7), mount_namespaces(7)). Needs root."""

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.dns import DnsServer
from tests.support.packages import need

_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)

_HOLDER = """
set -e
ip link set lo up
mount --bind "$1" /etc
echo ready
exec cat >/dev/null
"""
"""Holds both namespaces open until its standard input ends."""


class NamesNamespace:
    """Programs in it see only loopback, and a copy of /etc in which the test owns
    ``resolv.conf`` and ``hosts``.

    ``folder`` is the copy of /etc: its files may be rewritten or replaced by rename at any
    time, as seen by inotify(7) inside too, since it is the same folder. Sockets that are to
    be reached by programs inside are made within ``with namespace.network():``.
    """

    def __init__(self, folder: Path) -> None:
        """``folder`` must not exist; it stays when the namespace is closed."""
        need("iproute2", "util-linux")
        subprocess.run(["cp", "--archive", "/etc", folder], check=True)
        self.folder = folder
        for name in ("resolv.conf", "hosts"):
            # On many machines the first is a symbolic link out of /etc.
            (folder / name).unlink(missing_ok=True)
        self.write_resolv_conf("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        self.write_hosts("127.0.0.1 localhost\n::1 localhost\n")
        unshare = ["unshare", "--mount", "--net", "--propagation", "private"]
        self._holder = subprocess.Popen(
            [*unshare, "sh", "-c", _HOLDER, "sh", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        with self._holder.stdout as output:
            assert output.readline() == "ready\n", "no namespaces; see standard error"

    def write_resolv_conf(self, text: str) -> None:
        """Replaces resolv.conf by rename(2), as resolvconf(8) and NetworkManager do."""
        self._replace("resolv.conf", text)

    def write_hosts(self, text: str) -> None:
        """Replaces the hosts file by rename(2), as editors do."""
        self._replace("hosts", text)

    def command(self, arguments: Sequence[str], *, folder: Path | None = None) -> list[str]:
        """The arguments with what is to be put before them, for :mod:`subprocess`; the
        process becomes the program (its id stays). ``folder``: its working folder, else the
        current one; nsenter opens it after it has changed the mounts."""
        enter = ["nsenter", f"--target={self._holder.pid}", "--mount", "--net"]
        return [*enter, f"--wd={folder or Path.cwd()}", "--", *arguments]

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        """Sockets that this thread makes meanwhile belong to the namespace, for ever; so do
        threads and programs that it starts."""
        with network_of(self._holder.pid):
            yield

    def dns(self, host: str = "127.0.0.1", *, negative_ttl: int = 1) -> DnsServer:
        """A DNS server on port 53 inside; the caller closes it."""
        with self.network():
            return DnsServer(host, 53, negative_ttl=negative_ttl)

    def close(self) -> None:
        """Lets both namespaces go; programs that still run inside keep them."""
        assert self._holder.stdin is not None
        self._holder.stdin.close()
        self._holder.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _replace(self, name: str, text: str) -> None:
        fresh = self.folder / f".{name}.new"
        fresh.write_text(text)
        fresh.chmod(0o644)
        fresh.rename(self.folder / name)


@contextlib.contextmanager
def network_of(pid: int) -> Iterator[None]:
    """Sockets that this thread makes meanwhile belong to the network of process ``pid``."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _enter_network(Path(f"/proc/{pid}/ns/net"))
        try:
            yield
        finally:
            _set_namespace(own)
    finally:
        os.close(own)


def _enter_network(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _set_namespace(descriptor)
    finally:
        os.close(descriptor)


def _set_namespace(descriptor: int) -> None:
    if _LIBC.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")
