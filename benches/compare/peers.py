"""What is compared: how each proxy is started and told where to listen and to connect."""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TEMPLATES = Path(__file__).resolve().parent.parent / "peers"

#: The server name of every hello, and of the one route that every proxy with routes has.
SERVER_NAME = "bench.example"

BASELINE = "haproxy stock"
OURS = "cloister-door"
#: The door once more, with a backend that takes the connections themselves.
HANDED_OFF = "handed off"
DIRECT = "direct"


@dataclass(frozen=True)
class Peer:
    """One proxy under measurement.

    In ``command`` and in the template, ``@PORT@``, ``@BACKEND@`` (the backend's Unix socket),
    ``@NAME@``, ``@DIRECTORY@`` (a scratch folder) and ``@CONFIG@`` (the filled template) are
    replaced.
    """

    name: str
    command: tuple[str, ...]
    #: Prints the version; the first match of digits with dots counts.
    version: tuple[str, ...]
    template: str | None = None
    #: Whether it takes its listening socket by LISTEN_FDS (``activated``), on standard input
    #: (``inherited``), or binds it itself.
    listener: str = "bound"
    note: str = ""
    #: The folder that it finds its hosts in, where it is told by its working directory.
    hosts: str = "hosts"

    def version_text(self) -> str:
        """The version that the program reports, or ``?``."""
        done = subprocess.run(self.version, capture_output=True, text=True, timeout=10, check=False)
        match = re.search(r"\d+(\.\d+)*\S*", done.stdout + done.stderr)
        return match.group(0) if match else "?"


def all_peers(door: Path) -> Sequence[Peer]:
    """Every proxy, in the order in which each round visits them."""
    return (
        Peer(
            BASELINE,
            ("haproxy", "-db", "-f", "@CONFIG@"),
            ("haproxy", "-v"),
            "haproxy.cfg",
        ),
        Peer(
            "haproxy tuned",
            ("haproxy", "-db", "-f", "@CONFIG@"),
            ("haproxy", "-v"),
            "haproxy-tuned.cfg",
            note="defer-accept, bufsize 64K, pipesize 1M, splice",
        ),
        Peer(
            "nginx stream",
            ("nginx", "-c", "@CONFIG@", "-p", "@DIRECTORY@"),
            ("nginx", "-v"),
            "nginx.conf",
        ),
        Peer(
            "sniproxy",
            ("sniproxy", "-f", "-c", "@CONFIG@"),
            ("sniproxy", "-V"),
            "sniproxy.conf",
        ),
        Peer(
            "systemd-socket-proxyd",
            ("/usr/lib/systemd/systemd-socket-proxyd", "--connections-max=8192", "@BACKEND@"),
            ("/usr/lib/systemd/systemd-socket-proxyd", "--version"),
            listener="activated",
            note="reads no server name",
        ),
        Peer(
            OURS,
            (str(door), "sni", "--workers", "1", "--drain", "1"),
            (str(door), "--version"),
            listener="inherited",
        ),
        Peer(
            HANDED_OFF,
            (str(door), "sni", "--workers", "1", "--drain", "1"),
            (str(door), "--version"),
            listener="inherited",
            note="the connections themselves go to the backend",
            hosts="handoff-hosts",
        ),
    )
