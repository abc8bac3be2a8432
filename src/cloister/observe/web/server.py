"""Serves the status page on loopback or on a Unix socket, to whoever knows the way.

On loopback every user of the machine can connect, and every page in the user's browser can
ask: the address that is printed holds a token that is good once. It is exchanged for a
cookie of one path, whose name is as secret: cookies go to every port of a host. Requests that
name another host are refused, whatever a name server says that name is.
"""

import asyncio
import hmac
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable
from http.cookies import CookieError, SimpleCookie

from cloister.apps.status import DaemonStatus
from cloister.model.errors import CloisterError
from cloister.model.finding import Diagnosis
from cloister.observe.host_names import HostNames, Place, look, places
from cloister.observe.rates import HISTORY, Observation, View
from cloister.observe.web.page import Page, policy, render
from cloister.sockets.http_server import HttpServer, Request, Response, plain

FRESH = 1.5
"""Seconds for which a look serves every request."""
HOSTS_PAUSE = 10.0
"""Seconds between two looks at the hosts directories."""
DOCTOR_PAUSE = 30.0
"""Seconds between two rounds of doctor, while somebody looks."""

Examine = Callable[[], Awaitable[tuple[Diagnosis, ...]]]


def headers() -> tuple[tuple[str, str], ...]:
    """What every answer carries."""
    return (
        ("content-security-policy", policy()),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    )


class Watcher:
    """Looks when somebody asks, and not more often than it must."""

    def __init__(
        self,
        status: Callable[[], DaemonStatus],
        look: Callable[[Observation], View],
        examine: Examine,
    ) -> None:
        """``status`` and ``look`` block; they are called in threads, one call at a time."""
        self._status = status
        self._look = look
        self._examine = examine
        self._observation = Observation()
        self._totals: dict[str, deque[float]] = {
            name: deque(maxlen=HISTORY) for name in ("connections", "bytes", "cpu")
        }
        self._lock = asyncio.Lock()
        self._newest: tuple[float, DaemonStatus, View] | None = None
        self._hosts: dict[Place, HostNames] = {}
        self._hosts_seen = -HOSTS_PAUSE
        self._diagnoses: tuple[Diagnosis, ...] | None = None
        self._examined = -DOCTOR_PAUSE
        self._examining: asyncio.Task[None] | None = None

    async def page(self) -> Page:
        """What there is now. Raises :class:`CloisterError` where the supervisor is gone."""
        async with self._lock:
            now = time.monotonic()
            if self._newest is None or now - self._newest[0] > FRESH:
                view = await asyncio.to_thread(self._look, self._observation)
                if self._newest is None:
                    # The first has no rates; a second one soon has.
                    await asyncio.sleep(0.3)
                    view = await asyncio.to_thread(self._look, self._observation)
                status = await asyncio.to_thread(self._status)
                await self._see_hosts(places(status.listeners), now)
                self._newest = (now, status, view)
                self._note(view)
            if now - self._examined > DOCTOR_PAUSE and self._examining is None:
                self._examining = asyncio.ensure_future(self._see_doctor())
            _, status, view = self._newest
        return Page(
            status=status,
            view=view,
            cpu=self._observation.history,
            totals=self._totals,
            diagnoses=self._diagnoses,
            now=time.time(),
            hosts=self._hosts,
        )

    async def _see_hosts(self, wanted: frozenset[Place], now: float) -> None:
        if self._hosts.keys() == wanted and now - self._hosts_seen < HOSTS_PAUSE:
            return
        self._hosts = {place: await asyncio.to_thread(look, place) for place in sorted(wanted)}
        self._hosts_seen = now

    def _note(self, view: View) -> None:
        self._totals["connections"].append(sum(one.connections for one in view.listeners))
        self._totals["bytes"].append(sum(row.received + row.sent for row in view.rows))
        self._totals["cpu"].append(sum(row.cpu or 0.0 for row in view.rows))

    async def _see_doctor(self) -> None:
        try:
            self._diagnoses = await self._examine()
        finally:
            self._examined = time.monotonic()
            self._examining = None


class StatusSite:
    """The page and its guard."""

    def __init__(self, watcher: Watcher, *, hosts: frozenset[str] | None) -> None:
        """``hosts`` are the names under which the site may be asked; ``None`` for a Unix
        socket, which has its mode instead of a token."""
        self._watcher = watcher
        self._hosts = hosts
        self._token: str | None = secrets.token_urlsafe(32)
        self._path = f"/{secrets.token_urlsafe(12)}/"
        self._session = secrets.token_urlsafe(32)

    @property
    def entrance(self) -> str:
        """The path with the token; good for one visit."""
        return f"/?token={self._token}" if self._hosts is not None else "/"

    async def handle(self, request: Request) -> Response:
        """One request."""
        if self._hosts is None:
            return await self._page() if request.path == "/" else _nothing()
        host = request.header(b"host").decode("latin-1").lower()
        if host not in self._hosts:
            return plain(421, "this is not the host that was meant")
        if request.path == self._path and self._knows(request):
            return await self._page()
        if request.path == "/" and self._token is not None:
            given = request.query.removeprefix("token=")
            if hmac.compare_digest(given.encode(), self._token.encode()):
                self._token = None
                cookie = f"cloister={self._session}; Path={self._path}; HttpOnly; SameSite=Strict"
                # A page that moves on by itself, not a redirection: what SameSite=Strict asks
                # for is a request that this site itself began.
                forward = f'<meta http-equiv="refresh" content="0; url={self._path}">'
                body = f"<!doctype html><title>Cloister</title>{forward}".encode()
                kind = "text/html; charset=utf-8"
                return Response(200, body, kind, headers=(("set-cookie", cookie),))
        return plain(403, "open the address that `cloister web` printed; it is good once")

    def _knows(self, request: Request) -> bool:
        try:
            cookies = SimpleCookie(request.header(b"cookie").decode("latin-1"))
        except CookieError:
            return False
        given = cookies["cloister"].value if "cloister" in cookies else ""
        return hmac.compare_digest(given.encode(), self._session.encode())

    async def _page(self) -> Response:
        try:
            page = await self._watcher.page()
        except CloisterError as error:
            return plain(503, str(error))
        return Response(200, render(page).encode(), "text/html; charset=utf-8")


def _nothing() -> Response:
    return plain(404, "there is /")


def server(site: StatusSite) -> HttpServer:
    """A server for it; the caller has it listen."""
    return HttpServer(site.handle, headers=headers())
