"""The control API: what can be asked of a running supervisor, over HTTP.

==========================================  ================================================
``GET /status``                             everything, a :class:`DaemonStatus`
``GET /apps``                               all applications, a list of :class:`AppStatus`
``GET /apps/NAME``                          one application, an :class:`AppStatus`
``POST /apps/NAME/{start,stop,restart}``    asks for it; 202, and the application as it is
==========================================  ================================================

A refusal is ``{"what": …, "why": …, "hint": …}`` with a status of 400 and above.
"""

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from cloister.apps.status import AppStatus
from cloister.apps.supervisor import Supervisor, UnknownAppError
from cloister.model.errors import CloisterError

Handler = Callable[[Request], Awaitable[JSONResponse]]

VERBS = ("start", "stop", "restart")


def application(supervisor: Supervisor) -> Starlette:
    """The ASGI application that answers for ``supervisor``, on the supervisor's own loop."""

    async def status(_request: Request) -> JSONResponse:
        return _answer(await supervisor.status())

    async def apps(_request: Request) -> JSONResponse:
        return JSONResponse([dataclasses.asdict(one) for one in (await supervisor.status()).apps])

    async def app(request: Request) -> JSONResponse:
        return _answer(await _find(supervisor, request.path_params["name"]))

    def command(verb: str) -> Handler:
        async def handle(request: Request) -> JSONResponse:
            name = request.path_params["name"]
            supervisor.command(name, verb)
            return _answer(await _find(supervisor, name), 202)

        return handle

    routes = [
        Route("/status", status),
        Route("/apps", apps),
        Route("/apps/{name}", app),
        *(Route(f"/apps/{{name}}/{verb}", command(verb), methods=["POST"]) for verb in VERBS),
    ]
    return Starlette(
        routes=routes,
        exception_handlers={CloisterError: _refuse, HTTPException: _refuse_http},
    )


async def _find(supervisor: Supervisor, name: str) -> AppStatus:
    known = (await supervisor.status()).apps
    for one in known:
        if one.name == name:
            return one
    raise UnknownAppError(name, tuple(one.name for one in known))


def _answer(value: Any, code: int = 200) -> JSONResponse:
    return JSONResponse(dataclasses.asdict(value), code)


def refusal(what: str, why: str | None = None, hint: str | None = None) -> dict[str, str | None]:
    """The body of every refusal."""
    return {"what": what, "why": why, "hint": hint}


async def _refuse(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, CloisterError)  # noqa: S101 - registered for this alone
    code = 404 if isinstance(error, UnknownAppError) else 500
    return JSONResponse(refusal(error.what, error.why, error.hint), code)


async def _refuse_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this alone
    what = f"{request.method} {request.url.path}: {error.detail.lower()}"
    hint = "GET /status, /apps, /apps/NAME; POST /apps/NAME/start, stop or restart"
    return JSONResponse(
        refusal(what, hint=hint), error.status_code, headers=dict(error.headers or {})
    )
