"""Certificates of the applications whose ``tls`` is ``self-signed``."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from cloister import wire
from cloister.model.app import App, SelfSignedTls
from cloister.model.errors import CloisterError
from cloister.wire import Tag

RENEWAL = 60 * 24 * 3600.0
"""Seconds after which applications get new certificates; these are good for 90 days."""

_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Leaf:
    """One application's certificate and key, PEM."""

    certificate: str
    key: str


@dataclass(frozen=True, slots=True)
class Request:
    """Asks for one leaf for each group of hosts."""

    folder: str
    groups: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Issued:
    """The leaves, in the order of the request's groups."""

    TAG: ClassVar[Tag] = Tag("type", "issued")
    path: str
    """Of the authority's certificate."""
    replaced: bool
    """Whether clients have to trust a new authority."""
    leaves: tuple[Leaf, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """Why there are none; as :class:`CloisterError`."""

    TAG: ClassVar[Tag] = Tag("type", "refused")
    what: str
    why: str | None
    hint: str | None


Reply = Issued | Refused


def self_signed_hosts(apps: Iterable[App]) -> dict[str, tuple[str, ...]]:
    """The names, by application, that certificates are made for."""
    return {app.name: app.hosts for app in apps if isinstance(app.tls, SelfSignedTls)}


class Certificates:
    """Holds the newest leaf of each application, in memory only."""

    def __init__(self, folder: str, hosts: Mapping[str, tuple[str, ...]]) -> None:
        """``folder`` is the authority's; ``hosts`` are the names by application."""
        self._folder = folder
        self._hosts = dict(hosts)
        self._leaves: dict[str, Leaf] = {}
        self.path: str | None = None
        """Of the certificate that clients may trust; known after :meth:`renew`."""

    def leaf(self, app: str) -> Leaf:
        """The newest leaf of an application, once :meth:`renew` has made one."""
        return self._leaves[app]

    async def prepare(self, hosts: Mapping[str, tuple[str, ...]]) -> "Certificates":
        """What follows where these are the names by application from now on: the leaves of
        those whose names stay, new ones for the others. This one stays as it is. Raises
        :class:`CloisterError`.
        """
        following = Certificates(self._folder, hosts)
        following.path = self.path if hosts else None
        kept = {app for app, names in hosts.items() if self._hosts.get(app) == names}
        following._leaves = {app: self._leaves[app] for app in kept}
        missing = [app for app in hosts if app not in kept]
        if missing:
            issued = await self._ask(Request(self._folder, tuple(hosts[app] for app in missing)))
            following.path = issued.path
            following._leaves |= zip(missing, issued.leaves, strict=True)
        return following

    def become(self, following: "Certificates") -> None:
        """What was prepared is in force."""
        vars(self).update(vars(following))

    async def renew(self) -> bool:
        """Make a new leaf for every application; whether clients have to trust a new
        authority from now on. Raises :class:`CloisterError`; the old leaves stay then.
        """
        hosts = self._hosts
        issued = await self._ask(Request(self._folder, tuple(hosts.values())))
        self.path = issued.path
        leaves = dict(zip(hosts, issued.leaves, strict=True))
        # The applications may have changed meanwhile.
        current = {app for app, names in self._hosts.items() if hosts.get(app) == names}
        self._leaves |= {app: leaf for app, leaf in leaves.items() if app in current}
        return issued.replaced

    async def _ask(self, request: Request) -> Issued:
        # -P: the current folder may belong to somebody whose code must not run here.
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "cloister.apps.authority",
            stdin=PIPE, stdout=PIPE, stderr=PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(_PATIENCE):
                output, errors = await process.communicate(wire.encode(request))
        except BaseException as error:
            process.kill()
            await process.wait()
            if isinstance(error, TimeoutError):
                raise CloisterError(
                    f"certificates could not be made within {_PATIENCE:g} s"
                ) from error
            raise
        if process.returncode != 0:
            last = errors.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise CloisterError(
                "certificates could not be made", why=last[0] if last else "it was killed"
            )
        reply: Reply = wire.decode(Reply, output)
        if isinstance(reply, Refused):
            raise CloisterError(reply.what, why=reply.why, hint=reply.hint)
        return reply
