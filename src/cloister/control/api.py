"""The control API: what can be asked of a running supervisor, over HTTP.

==========================================  ================================================
``GET /status[/PATH]``                      everything, a :class:`DaemonStatus`, with what NGINX
                                            Unit tells beside it; or a part of that
``GET /apps``                               all applications, a list of :class:`AppStatus`
``GET /apps/NAME``                          one application, an :class:`AppStatus`
``POST /apps/NAME/{start,stop,restart}``    asks for it; 202, and the application as it is
``GET /brief``                              what changes all the time, a :class:`Brief`
``GET /metrics``                            the same for Prometheus, in its text format
``POST /door/replace``                      another door accepts now; a :class:`DoorStatus`
``GET /configuration``                      the running configuration's text, a
                                            :class:`ConfigurationText`
``PUT /configuration``                      runs another text, a :class:`ConfigurationChange`;
                                            the answer is as for GET
``/config``, ``/control``                   as NGINX Unit has them: ``configuration_api``
``GET /``                                   ``/config`` and ``/status`` together
``GET /openapi.json``                       all of this for programs
==========================================  ================================================

A refusal is ``{"what": …, "why": …, "hint": …}`` with a status of 400 and above; that of a
configuration has ``"problems"`` as well.
"""

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from cloister import wire
from cloister.apps.configuration import ConflictError, RunningConfiguration
from cloister.apps.fleet import UnknownAppError
from cloister.apps.supervisor import Supervisor
from cloister.control import config_tree, openapi
from cloister.control.bodies import read_body
from cloister.control.config_tree import TreeError
from cloister.control.configuration_api import ConfigurationApi, as_json, raw_path, refuse_tree
from cloister.control.messages import ConfigurationChange, ConfigurationText
from cloister.control.unit_status import unit_status
from cloister.model.configuration import Accepted, Dialect
from cloister.model.errors import CloisterError, ConfigError
from cloister.observe import exposition

Handler = Callable[[Request], Awaitable[JSONResponse]]

VERBS = ("start", "stop", "restart")
_CODES: dict[type[CloisterError], int] = {
    UnknownAppError: 404,
    ConflictError: 409,
    ConfigError: 400,
    wire.WireError: 400,
}


def application(
    supervisor: Supervisor,
    configuration: RunningConfiguration,
    own_metrics: Callable[[], Awaitable[str]],
) -> Starlette:
    """The ASGI application that answers for ``supervisor``, on the supervisor's own loop.
    ``own_metrics`` is what it answers for Prometheus."""

    tree = ConfigurationApi(supervisor, configuration)

    async def whole_status() -> dict[str, Any]:
        found = await supervisor.status()
        return dataclasses.asdict(found) | unit_status(found, tree.served())

    async def status(request: Request) -> Response:
        try:
            path = config_tree.split(raw_path(request, "/status"))
            return as_json(config_tree.get(await whole_status(), path))
        except TreeError as error:
            return refuse_tree(error)

    async def everything(_request: Request) -> Response:
        return as_json({"config": tree.document(), "status": await whole_status()})

    async def description(_request: Request) -> Response:
        return as_json(openapi.document())

    async def brief(_request: Request) -> JSONResponse:
        return JSONResponse(await supervisor.brief())

    async def as_metrics(_request: Request) -> PlainTextResponse:
        text = await own_metrics()
        return PlainTextResponse(text, media_type=exposition.CONTENT_TYPE)

    async def apps(_request: Request) -> JSONResponse:
        return JSONResponse([dataclasses.asdict(one) for one in (await supervisor.status()).apps])

    async def app(request: Request) -> JSONResponse:
        return _answer(await supervisor.app_status(request.path_params["name"]))

    def command(verb: str) -> Handler:
        async def handle(request: Request) -> JSONResponse:
            name = request.path_params["name"]
            supervisor.command(name, verb)
            return _answer(await supervisor.app_status(name), 202)

        return handle

    async def replace_door(_request: Request) -> JSONResponse:
        await supervisor.replace_door()
        return _answer(await supervisor.door_status())

    async def current(_request: Request) -> JSONResponse:
        return _answer(_text(configuration.current()))

    async def replace_configuration(request: Request) -> JSONResponse:
        change = wire.decode(ConfigurationChange, await read_body(request))
        accepted = await configuration.replace(
            change.text, _dialect(change.dialect), expected=change.expected
        )
        return _answer(_text(accepted))

    routes = [
        *tree.routes(),
        Route("/", everything),
        Route("/openapi.json", description),
        Route("/status/{path:path}", status),
        Route("/configuration", current, methods=["GET"]),
        Route("/configuration", replace_configuration, methods=["PUT"]),
        Route("/door/replace", replace_door, methods=["POST"]),
        Route("/status", status),
        Route("/brief", brief),
        Route("/metrics", as_metrics),
        Route("/apps", apps),
        Route("/apps/{name}", app),
        *(Route(f"/apps/{{name}}/{verb}", command(verb), methods=["POST"]) for verb in VERBS),
    ]
    return Starlette(
        routes=routes,
        exception_handlers={CloisterError: _refuse, HTTPException: _refuse_http},
    )


def _text(accepted: Accepted) -> ConfigurationText:
    configuration = accepted.configuration
    return ConfigurationText(
        accepted.version, configuration.dialect.value, configuration.source, configuration.text
    )


def _dialect(name: str) -> Dialect:
    try:
        return Dialect(name)
    except ValueError:
        known = ", ".join(one.value for one in Dialect)
        raise wire.WireError(f"dialect: expected one of {known}, found {name!r}") from None


_WHAT_THERE_IS = (
    "GET /openapi.json describes what there is, for example GET /status, /config, /apps, "
    "PUT /config/PATH, POST /apps/NAME/restart"
)
_OF_UNIT: dict[str, tuple[str | None, str]] = {
    "certificates": (
        "no key is ever in the door: each application has its own, in its cell",
        "give the application `hosts` and `tls` in a native configuration",
    ),
    "js_modules": (
        "the door passes connections on as they are and reads no request",
        "route and rewrite in the application",
    ),
}
"""Why these paths of NGINX Unit's API are not here, and what to do instead."""


def _answer(value: Any, code: int = 200) -> JSONResponse:
    return JSONResponse(dataclasses.asdict(value), code)


def refusal(what: str, why: str | None = None, hint: str | None = None) -> dict[str, str | None]:
    """The body of every refusal."""
    return {"what": what, "why": why, "hint": hint}


async def _refuse(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, CloisterError)  # noqa: S101 - registered for this alone
    body: dict[str, Any] = dict(refusal(error.what, error.why, error.hint))
    if isinstance(error, ConfigError):
        body["problems"] = [dataclasses.asdict(problem) for problem in error.problems]
    for kind, code in _CODES.items():
        if isinstance(error, kind):
            return JSONResponse(body, code)
    return JSONResponse(body, 500)


async def _refuse_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this alone
    what = f"{request.method} {request.url.path}: {error.detail.lower()}"
    why, hint = _OF_UNIT.get(request.url.path.split("/")[1], (None, _WHAT_THERE_IS))
    return JSONResponse(
        refusal(what, why, hint), error.status_code, headers=dict(error.headers or {})
    )
