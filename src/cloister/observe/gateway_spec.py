"""What the supervisor tells the gateway at its start: JSON in a memfd, read once."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from cloister.model.app import App
from cloister.model.errors import CloisterError
from cloister.model.snapshot import Snapshot
from cloister.wire import U32, U64

TOKEN_MAX = 4096
"""Bytes of a token's file."""


@dataclass(frozen=True, slots=True)
class ScrapedApp:
    """One application that has metrics. Durations in milliseconds."""

    name: str
    socket: str
    path: str
    host: str
    tls: bool
    proxy: str
    timeout_ms: U32
    max_size: U64


@dataclass(frozen=True, slots=True)
class GatewayListener:
    """One socket to accept from."""

    descriptor: U32
    """Its number in the gateway."""
    app: str | None
    """The application whose metrics it offers; ``None``: everything."""
    tcp: bool
    """Whether it may be in other applications' reach, and wants the token."""


@dataclass(frozen=True, slots=True)
class GatewaySpec:
    """The whole."""

    uid: U32 | None
    """Whom to become; ``None``: stay."""
    gid: U32 | None
    groups: tuple[U32, ...]
    """Those that may reach the applications' sockets."""
    channel: U32
    """The descriptor that leads to the supervisor."""
    token_hash: str | None
    """SHA-256 of the token, in hexadecimal digits: the token itself stays in its file."""
    listeners: tuple[GatewayListener, ...]
    apps: tuple[ScrapedApp, ...]


def scraped_apps(snapshot: Snapshot) -> tuple[ScrapedApp, ...]:
    """Every application that has metrics."""
    return tuple(_scraped(app, snapshot) for app in snapshot.apps if app.metrics is not None)


def _scraped(app: App, snapshot: Snapshot) -> ScrapedApp:
    metrics = app.metrics
    assert metrics is not None  # noqa: S101 - the caller's condition
    hosts = (host for host in app.hosts if not host.startswith("*"))
    return ScrapedApp(
        name=app.name,
        socket=snapshot.paths.app_socket(app.name),
        path=metrics.path,
        host=next(hosts, "localhost"),
        tls=metrics.tls,
        proxy=app.send_proxy.value,
        timeout_ms=round(metrics.timeout * 1000),
        max_size=metrics.max_size,
    )


def token_hash(path: str | None) -> str | None:
    """Of the token in the file, without the white space around it. Raises
    :class:`CloisterError` where there is none."""
    if path is None:
        return None
    with Path(path).open("rb") as file:
        token = file.read(TOKEN_MAX).strip()
    if not token:
        raise CloisterError(
            f"there is no token in {path}",
            why="the file is empty",
            hint=f"for example: openssl rand -hex 32 > {path}",
        )
    return hashlib.sha256(token).hexdigest()
