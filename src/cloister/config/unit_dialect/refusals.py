"""What Unit does and Cloister does not, each with what to use instead.

Cloister's door passes connections on without reading them: whatever decides by a request's
bytes belongs into an application, or into a web server before it.
"""

from collections.abc import Mapping
from types import MappingProxyType

from cloister.config.forms import Refused

_BYTES = "the door passes connections on as they are and reads no request"
_BEFORE = (
    "route in the application, or let a web server do it: `cloister generate nginx` connects one "
    "to an application's socket"
)
_THREADS = "Python's own default is used for every thread"


def _table(**refused: Refused) -> Mapping[str, Refused]:
    return MappingProxyType(refused)


ROOT = _table(
    routes=Refused("`routes` is routing by HTTP requests", _BYTES, _BEFORE),
    upstreams=Refused(
        "`upstreams` is balancing of HTTP requests",
        _BYTES,
        "balance connections in a native configuration: route = { target = "
        '"tcp:backend.example:80", balance = "least-connections" }',
    ),
    access_log=Refused(
        "`access_log` is a record of HTTP requests",
        _BYTES,
        "the door logs every connection (`log-connections` of `door`); have the application "
        "log its requests",
    ),
    js_module=Refused("`js_module` scripts HTTP routing", _BYTES, _BEFORE),
)
SETTINGS = _table(
    http=Refused(
        "`settings.http` bounds HTTP requests",
        _BYTES,
        "bound connections with `limits` of a native listener, and requests in the application",
    ),
    js_module=ROOT["js_module"],
    telemetry=Refused(
        "`settings.telemetry` traces HTTP requests", _BYTES, "have the application trace them"
    ),
)
LISTENER = _table(
    tls=Refused(
        "`tls` of a listener would have the door decrypt",
        "no key is ever in the door: each application has its own, in its cell",
        "give the application `hosts` and `tls` in a native configuration",
    ),
    forwarded=Refused(
        "`forwarded` reads HTTP headers",
        _BYTES,
        "take the client's address from the PROXY protocol: `accept-proxy` of a native listener",
    ),
    client_ip=Refused(
        "`client_ip` reads HTTP headers",
        _BYTES,
        "take the client's address from the PROXY protocol: `accept-proxy` of a native listener",
    ),
)
LIMITS = _table(
    shm=Refused(
        "`limits.shm` bounds memory that Unit shares with applications",
        "Cloister shares none: an application reads from its socket",
        "remove it; memory of its own is bounded by `limits` = { memory = … } of a native "
        "application",
    ),
)
REQUESTS_OF_OTHERS = Refused(
    "`limits.requests` counts HTTP requests",
    f"{_BYTES}, so only the application's own server can count them",
    "have it end by itself after so many, for example gunicorn --max-requests or uvicorn "
    "--limit-max-requests: the supervisor starts the next process. Or bound what "
    "a process may leak: `limits` = { memory = … } of a native application",
)
"""Of an application of type `external`."""
_PREFIX = Refused(
    "`prefix` rewrites the paths of HTTP requests",
    _BYTES,
    "mount the application below a path in its own framework",
)
TARGET = _table(
    prefix=_PREFIX,
    path=Refused(
        "`path` of a target is not told apart from its application's",
        "all targets of an application look for modules in the same folders",
        "name the folder in `path` of the application",
    ),
)
APPLICATION = _table(
    prefix=_PREFIX,
    thread_stack_size=Refused(
        "`thread_stack_size` cannot be set", _THREADS, "call threading.stack_size() in the module"
    ),
)
_LANGUAGES = MappingProxyType(
    {
        "php": 'run php-fpm (`"type": "external"`, "executable": "/usr/sbin/php-fpm8.2") behind '
        "a web server that speaks FastCGI: `cloister generate nginx NAME --fastcgi`",
        "perl": 'run a PSGI server, for example starman, as "type": "external"',
        "ruby": 'run puma, which takes its socket from systemd, as "type": "external"',
        "java": "run a servlet container that takes a Unix socket, for example Jetty, as "
        '"type": "external"',
        "wasm": 'run a server for the component, for example wasmtime serve, as "type": "external"',
        "wasm-wasi-component": "run a server for the component, for example wasmtime serve, as "
        '"type": "external"',
        "nodejs": 'run node as "type": "external": server.listen({ fd: 3 })',
    }
)


def language(name: str) -> str | None:
    """What to do with an application of Unit's type ``name``; ``None`` for no type of Unit's."""
    return _LANGUAGES.get(name.partition(" ")[0])
