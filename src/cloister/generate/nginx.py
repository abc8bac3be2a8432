"""nginx in front of a relay: ``upstream { server unix:…; }`` and the location that uses it."""

from dataclasses import dataclass

from cloister.generate import checks
from cloister.generate.file import Generated, GeneratedFile
from cloister.generate.upstream import Protocol, group_to_join, place_notes
from cloister.model.errors import UsageError
from cloister.sockets.plan import Client, SocketPlan


@dataclass(frozen=True, slots=True)
class NginxRequest:
    """One upstream behind one Unix socket."""

    name: str
    plan: SocketPlan
    """Of the socket at which the relay listens."""
    protocol: Protocol = Protocol.HTTP
    location: str | None = None
    """As nginx writes it, modifier first; ``None``: ``/``, and for FastCGI ``~ \\.php$``."""
    keepalive: int = 0
    """Idle connections that each worker keeps open; 0: none."""
    user: str = "www-data"
    """Whom nginx's workers run as, in the group of the same name."""
    direct: bool = False
    """Whether the location names the socket itself, without an ``upstream``."""


def quote(text: str) -> str:
    """One token of nginx's configuration.

    Inside double quotes ``ngx_conf_read_token`` takes a backslash before a quote or another
    backslash as an escape, and nothing else ends the token.
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def generate(request: NginxRequest) -> Generated:
    """The upstream for ``http { }`` and the location for a ``server { }``."""
    name = checks.name(request.name, "an upstream")
    socket = checks.socket_path(request.plan.path, "the relay's socket")
    user = checks.account(request.user, "user")
    group = group_to_join(request.plan, Client(user, user))
    if not 0 <= request.keepalive <= 10_000:
        raise UsageError(f"{request.keepalive} is no number of idle connections", hint="0 to 10000")
    location = _location(request)
    steps = [
        *place_notes(socket, "nginx.service"),
        f"add `include snippets/{name}.conf;` to the server that is to answer",
        "nginx -t && systemctl reload nginx",
    ]
    if group is not None:
        # A worker asks for its groups when it starts (initgroups(3)): a reload is enough.
        steps.insert(-1, f"usermod --append --groups {group} {user}")
    snippet = GeneratedFile(f"/etc/nginx/snippets/{name}.conf", location)
    if request.direct:
        return Generated((snippet,), tuple(steps))
    upstream = _upstream(request, name, socket)
    files = (GeneratedFile(f"/etc/nginx/conf.d/{name}.conf", upstream), snippet)
    return Generated(files, tuple(steps))


def _upstream(request: NginxRequest, name: str, socket: str) -> str:
    lines = [
        f"# The socket lets in {_let_in(request.plan)}; what stands behind it is the",
        "# relay's business, and may move without nginx.",
        f"upstream {name} {{",
        f"    server {quote(f'unix:{socket}')};",
    ]
    if request.keepalive:
        lines.append(f"    keepalive {request.keepalive};")
    return "\n".join([*lines, "}", ""])


def _let_in(plan: SocketPlan) -> str:
    if plan.open_to_all:
        return "everybody"
    if plan.joinable is None:
        return f"its owner alone, {checks.account(plan.options.owner or 'root', 'user')}"
    return f"its owner and its group, {checks.account(plan.joinable, 'group')}"


def _target(request: NginxRequest) -> str:
    """What ``proxy_pass`` and ``fastcgi_pass`` name, without a scheme.

    A directly named socket ends at the first colon, and what follows is the path that requests
    get (``ngx_parse_unix_domain_url``): there must be none of either.
    """
    if not request.direct:
        return request.name
    if request.keepalive:
        raise UsageError(
            "a socket that is named directly cannot keep connections",
            why="`keepalive` is a setting of nginx's `upstream`",
            hint="leave out --direct or --keepalive",
        )
    if ":" in request.plan.path or "$" in request.plan.path:
        raise UsageError(
            f"{request.plan.path!r} cannot be named directly",
            why="in `proxy_pass` a colon ends a socket's path and a dollar sign begins a variable",
            hint="leave out --direct, or take another path",
        )
    return f"unix:{request.plan.path}"


def _location(request: NginxRequest) -> str:
    fastcgi = request.protocol is Protocol.FASTCGI
    modifier, pattern = _split(request.location or ("~ \\.php$" if fastcgi else "/"))
    head = " ".join(part for part in ("location", modifier, quote(pattern), "{") if part)
    if fastcgi:
        body = [
            "try_files      $uri =404;",
            f"fastcgi_pass   {_token(_target(request))};",
            "fastcgi_index  index.php;",
            "include        fastcgi.conf;",
        ]
        if request.keepalive:
            body.append("fastcgi_keep_conn on;")
    else:
        body = [
            f"proxy_pass         {_token(f'http://{_target(request)}')};",
            "proxy_http_version 1.1;",
            "proxy_set_header   Host $host;",
            "proxy_set_header   X-Forwarded-For $proxy_add_x_forwarded_for;",
            "proxy_set_header   X-Forwarded-Proto $scheme;",
        ]
        if request.keepalive:
            body.append('proxy_set_header   Connection "";')
    return "\n".join([head, *(f"    {line}" for line in body), "}", ""])


def _token(text: str) -> str:
    """Quoted where nginx would end the token early."""
    return quote(text) if set(text) & set(" \t;{}\"'\\#") else text


def _split(location: str) -> tuple[str, str]:
    """The modifier, which may be empty, and the prefix or regular expression."""
    checks.line(location, "a location")
    first, _, rest = location.partition(" ")
    modifier, pattern = (first, rest.strip()) if first in {"=", "~", "~*", "^~"} else ("", location)
    if not pattern or (not modifier.startswith("~") and not pattern.startswith("/")):
        raise UsageError(
            f"{location!r} is no location",
            hint="write a prefix such as `/app/`, or a modifier and its pattern: `~ \\.php$`",
        )
    return modifier, pattern
