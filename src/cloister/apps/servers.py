"""Serves one Python application inside its cell: ``python -m cloister.apps.servers``.

Runs as the application's own user, with the application's code in the same process, so
nothing here is trusted by anybody. Imports little, for a quick start: the standard
library, uvicorn, and a2wsgi where the application is WSGI.

    python -m cloister.apps.servers MODULE:CALLABLE [--factory] [--interface asgi|wsgi]
        [--threads N] [--path FOLDER]… [--tls] [--stop-timeout SECONDS] [--after-requests N]

The listening socket is descriptor 3 (sd_listen_fds(3)); where its type is
``SOCK_SEQPACKET`` the door hands each client's connection over it. With ``--tls`` the certificate
chain and its key are ``tls.crt`` and ``tls.key`` in ``$CREDENTIALS_DIRECTORY``. Sends
``READY=1`` to ``$NOTIFY_SOCKET`` when connections are taken. SIGTERM stops it: requests
under way may end within SECONDS. After N answers, or up to a tenth fewer, it asks to be
relieved, and serves on until it is stopped.
"""

import argparse
import importlib
import inspect
import os
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cloister.handoff import HandoffListener

if TYPE_CHECKING:
    import uvicorn

FIRST_DESCRIPTOR = 3
BACKLOG = 4096
"""asyncio calls listen(2) on the socket once more: with the supervisor's own number."""

Interface = Literal["asgi2", "asgi3", "wsgi"]


class ServeError(Exception):
    """The application cannot be served; the text is for the operator."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; 1 when the application cannot be served."""
    parser = argparse.ArgumentParser(
        prog="python -m cloister.apps.servers", description="Serve one Python application."
    )
    parser.add_argument("application", metavar="MODULE:CALLABLE")
    parser.add_argument("--tls", action="store_true", help="serve TLS with the tls credentials")
    parser.add_argument("--stop-timeout", type=float, default=10.0, metavar="SECONDS")
    parser.add_argument("--factory", action="store_true", help="the callable makes it")
    parser.add_argument("--interface", choices=["asgi", "wsgi"])
    parser.add_argument("--threads", type=int, default=10, metavar="N", help="for WSGI")
    parser.add_argument("--after-requests", type=int, metavar="N")
    parser.add_argument("--path", action="append", default=[], metavar="FOLDER")
    options = parser.parse_args(arguments)
    try:
        listening = passed_socket(os.environ)
        application = load(options.application, options.path)
        if options.factory:
            application = _made(application, options.application)
        server = _server(
            application,
            interface_of(application, options.interface),
            threads=options.threads,
            tls=options.tls,
            stop_timeout=options.stop_timeout,
            after_requests=options.after_requests,
        )
    except ServeError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the supervisor reads it
        return 1
    except Exception as error:  # noqa: BLE001 - the application's code may raise anything
        _print_traceback(error)
        return 1
    server.run(sockets=[listening])
    return 0


def passed_socket(environment: "os._Environ[str] | dict[str, str]") -> socket.socket:
    """The one listening socket that this process was given; the variables are removed, so
    that no child takes them for its own.

    Raises :class:`ServeError`.
    """
    process = environment.pop("LISTEN_PID", None)
    count = environment.pop("LISTEN_FDS", None)
    environment.pop("LISTEN_FDNAMES", None)
    if process is None or count is None:
        raise ServeError("no socket was passed: LISTEN_PID or LISTEN_FDS is not set")
    if process != str(os.getpid()):
        raise ServeError(f"the passed socket is for process {process}, not {os.getpid()}")
    if count != "1":
        raise ServeError(f"one passed socket is expected, not {count}")
    try:
        listening = socket.socket(fileno=FIRST_DESCRIPTOR)
        if not listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise ServeError("the passed socket does not listen")
        if listening.type is socket.SOCK_SEQPACKET:
            listening = HandoffListener(fileno=listening.detach())
    except OSError as error:
        raise ServeError(f"descriptor {FIRST_DESCRIPTOR} is no socket: {error}") from error
    os.set_inheritable(FIRST_DESCRIPTOR, False)
    listening.setblocking(False)
    return listening


def load(name: str, folders: Sequence[str] = ()) -> Callable[..., Any]:
    """The callable that ``module:attribute.path`` names; ``folders`` come first in the search
    path, then the working directory. Raises :class:`ServeError`, or whatever the module raises.
    """
    module_name, separator, path = name.partition(":")
    if not separator or not module_name or not path:
        raise ServeError(f"{name!r} is not of the form MODULE:CALLABLE")
    directory = str(Path.cwd())
    if directory not in sys.path:
        sys.path.insert(0, directory)
    sys.path[:0] = folders
    value: Any = importlib.import_module(module_name)
    for attribute in path.split("."):
        try:
            value = getattr(value, attribute)
        except AttributeError as error:
            raise ServeError(f"the module {module_name!r} has no {path!r}: {error}") from error
    if not callable(value):
        raise ServeError(f"{name} is a {type(value).__name__}, which cannot be called")
    return value  # type: ignore[no-any-return]


def _made(factory: Callable[..., Any], name: str) -> Callable[..., Any]:
    application = factory()
    if not callable(application):
        kind = type(application).__name__
        raise ServeError(f"the factory {name} returned a {kind}, which cannot be called")
    return application  # type: ignore[no-any-return]


def interface_of(application: Callable[..., Any], said: str | None = None) -> Interface:
    """Which interface a callable speaks, from what it takes: ``(scope, receive, send)`` is
    ASGI 3, ``(scope)`` ASGI 2 (asgi.readthedocs.io, "Legacy Applications"),
    ``(environ, start_response)`` WSGI (PEP 3333). Of ``said``, ``asgi`` or ``wsgi``, the
    callable has to tell which ASGI only.

    Raises :class:`ServeError` where it takes anything else.
    """
    if said == "wsgi":
        return "wsgi"
    told = _told(application, asgi=said == "asgi")
    if said == "asgi" and told == "wsgi":
        raise ServeError("the application is no ASGI: it takes (environ, start_response)")
    return told


def _told(application: Callable[..., Any], *, asgi: bool) -> Interface:
    try:
        signature = inspect.signature(application)
    except (TypeError, ValueError):  # a built-in or an extension's callable does not tell
        signature = inspect.Signature(
            [inspect.Parameter("arguments", inspect.Parameter.VAR_POSITIONAL)]
        )
    call = application if inspect.isroutine(application) else type(application).__call__
    if inspect.iscoroutinefunction(application) or inspect.iscoroutinefunction(call):
        return "asgi3"
    if any(
        parameter.kind is parameter.VAR_POSITIONAL for parameter in signature.parameters.values()
    ):
        # ``*arguments`` fits everything; without a coroutine it is no usual ASGI.
        return "asgi3" if asgi else "wsgi"
    fitting: tuple[tuple[int, Interface], ...] = ((3, "asgi3"), (2, "wsgi"), (1, "asgi2"))
    for count, interface in fitting:
        try:
            signature.bind(*range(count))
        except TypeError:
            continue
        return interface
    raise ServeError(
        f"the application takes {signature}: neither (scope, receive, send) as ASGI,"
        " nor (environ, start_response) as WSGI"
    )


def _server(
    application: Callable[..., Any],
    interface: Interface,
    *,
    threads: int,
    tls: bool,
    stop_timeout: float,
    after_requests: int | None,
) -> "uvicorn.Server":
    import uvicorn  # noqa: PLC0415 - an application that fails to import must fail fast

    from cloister.apps.serving import Messenger, Protocol, Server, share  # noqa: PLC0415 - as uvicorn

    if interface == "wsgi":
        from a2wsgi import WSGIMiddleware  # noqa: PLC0415 - only where it is needed

        application, interface = WSGIMiddleware(application, workers=threads), "asgi3"
    credentials = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/run/credentials"))
    config = uvicorn.Config(
        application,
        interface=interface,
        http=Protocol,
        loop="asyncio",  # uvloop would not ask a HandoffListener
        backlog=BACKLOG,
        access_log=False,  # the door logs each connection
        log_level="warning",
        proxy_headers=False,  # no proxy that adds headers stands before it
        server_header=False,
        ssl_certfile=credentials / "tls.crt" if tls else None,
        ssl_keyfile=credentials / "tls.key" if tls else None,
        timeout_graceful_shutdown=max(1, int(stop_timeout)),
    )
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is one
        files = f"tls.crt and tls.key in {credentials}"
        raise ServeError(f"the certificate cannot be used ({files}): {error}") from error
    if config.ssl is not None:
        config.ssl.set_alpn_protocols(["http/1.1"])
    return Server(config, Messenger(), share(after_requests))


def _print_traceback(error: BaseException) -> None:
    """The application's part of the traceback: without this file and the import system."""
    trace = error.__traceback__
    while trace is not None and _is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)


def _is_ours(file: str) -> bool:
    return file == __file__ or file.startswith("<frozen importlib") or file == importlib.__file__


if __name__ == "__main__":
    sys.exit(main())
