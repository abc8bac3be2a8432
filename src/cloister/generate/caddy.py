"""Caddy in front of a Unix socket: a site with ``reverse_proxy`` or ``php_fastcgi``."""

import re
from dataclasses import dataclass

from cloister.generate import checks
from cloister.generate.file import Generated, GeneratedFile
from cloister.generate.upstream import (
    Protocol,
    Upstream,
    group_to_join,
    place_notes,
    plain_socket,
)
from cloister.model.errors import UsageError
from cloister.sockets.plan import Client

CADDY = Client("caddy", "caddy")
"""As whom its service runs."""
_SITE = re.compile(r"(https?://)?(\*\.)?[A-Za-z0-9.-]*(:[0-9]{1,5})?(/[A-Za-z0-9._/*-]*)?")


@dataclass(frozen=True, slots=True)
class CaddyRequest:
    """One site of Caddy's."""

    upstream: Upstream
    site: str
    """As Caddy writes it: ``example.org``, ``:8080``, ``http://localhost:8080``."""
    root: str | None = None
    """The scripts' folder, for FastCGI."""


def generate(request: CaddyRequest) -> Generated:
    """The site, and the group that Caddy's service needs. Raises :class:`UsageError`."""
    name = checks.name(request.upstream.name, "a site's file")
    socket = plain_socket(request.upstream.socket)
    group = group_to_join(request.upstream.plan, CADDY)
    body = _body(request, socket)
    site = "\n".join([f"{_site(request.site)} {{", *(f"\t{line}" for line in body), "}", ""])
    files = [GeneratedFile(f"/etc/caddy/conf.d/{name}.caddy", site)]
    steps = [
        *place_notes(socket, "caddy.service"),
        "add `import conf.d/*.caddy` to /etc/caddy/Caddyfile",
        "caddy validate --config /etc/caddy/Caddyfile --adapter caddyfile",
    ]
    if group is None:
        steps.append("systemctl reload caddy")
    else:
        text = f"[Service]\n# May connect to {socket}.\nSupplementaryGroups={group}\n"
        files.append(GeneratedFile(f"/etc/systemd/system/caddy.service.d/{name}.conf", text))
        # Groups are given when the service starts: a reload is not enough.
        steps.append("systemctl daemon-reload && systemctl restart caddy")
    return Generated(tuple(files), tuple(steps))


def _site(site: str) -> str:
    if not site or not _SITE.fullmatch(site):
        raise UsageError(
            f"{site!r} cannot be a site's address",
            hint="write a name, a port or both, such as `example.org` or `:8080`",
        )
    return site


def _body(request: CaddyRequest, socket: str) -> list[str]:
    # Two slashes: the network's name, then the path with its own slash.
    address = f"unix/{socket}"
    if request.upstream.protocol is Protocol.HTTP:
        if request.root is not None:
            raise UsageError("--root concerns FastCGI", hint="leave it out, or add --fastcgi")
        return [f"reverse_proxy {address}"]
    if request.root is None:
        raise UsageError(
            "a FastCGI site needs the folder of its scripts",
            why="Caddy looks there which script a path stands for",
            hint="name it: --root /srv/site",
        )
    return [f"root * {plain_socket(request.root)}", f"php_fastcgi {address}"]
