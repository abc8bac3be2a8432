"""NGINX Unit's control API: the configuration as a tree of JSON, changed by path.

==========================================  ==============================================
``GET|PUT|POST|DELETE /config[/PATH]``      ``cloister.control.config_tree`` has the rules
``GET /control/applications/NAME/restart``  asks for it, as in Unit; POST does the same
==========================================  ==============================================

Answers are as Unit's: ``{"success": …}``, or ``{"error": …, "detail": …}`` with the reason, and
with every problem of a refused configuration beside it. A change is made from the version that
runs, one after the other; one that is refused changes nothing.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cloister.apps.configuration import ConflictError, RunningConfiguration
from cloister.apps.supervisor import Supervisor
from cloister.config.json_text import JsonError, parse, pointer
from cloister.config.lines import KeyPath, Lines
from cloister.config.unit_dialect import recognise
from cloister.control import config_tree
from cloister.control.bodies import read_body
from cloister.control.config_tree import Document, Refusal, TreeError
from cloister.model.configuration import MAX_BYTES, Dialect
from cloister.model.errors import CloisterError, ConfigError, Problem

METHODS = ["GET", "PUT", "POST", "DELETE"]
_TITLES = {
    Refusal.BAD_PATH: "Invalid path.",
    Refusal.NOT_FOUND: "Value doesn't exist.",
    Refusal.NOT_ALLOWED: "Method isn't allowed.",
}
_ATTEMPTS = 5
"""How often a change is made anew because another one came between."""


class ConfigurationApi:
    """Lives on the supervisor's event loop."""

    def __init__(self, supervisor: Supervisor, configuration: RunningConfiguration) -> None:
        self._supervisor = supervisor
        self._configuration = configuration
        self._changing = asyncio.Lock()

    def routes(self) -> list[Route]:
        """What it answers."""
        return [
            Route("/config", self._config, methods=METHODS),
            Route("/config/{path:path}", self._config, methods=METHODS),
            Route("/control/applications/{path:path}", self._control, methods=["GET", "POST"]),
        ]

    def document(self) -> Document:
        """The running configuration."""
        return config_tree.read(self._configuration.current().configuration.text)

    def served(self) -> dict[str, tuple[str, ...]]:
        """Cloister's names of the applications by those that the configuration gives them."""
        document = self.document()
        if recognise.is_unit(document):
            return recognise.served(document)
        return {name: (name,) for name in document.get("apps", {})}

    async def _config(self, request: Request) -> Response:
        value, lines = None, None
        try:
            path = config_tree.split(raw_path(request, "/config"))
            if request.method in ("GET", "HEAD"):
                return as_json(config_tree.get(self.document(), path))
            if request.method != "DELETE":
                value, lines = parse(_text(await read_body(request, MAX_BYTES)))
            async with self._changing:
                await self._change(request.method, path, value)
        except TreeError as error:
            return refuse_tree(error)
        except JsonError as error:
            return _refuse_json(error)
        except ConfigError as error:
            return _refuse_configuration(error, self._place(request.method, path), lines)
        except CloisterError as error:
            detail = _sentence(error.what, error.why, error.hint)
            return as_json({"error": "Failed to apply new configuration.", "detail": detail}, 500)
        return as_json({"success": "Reconfiguration done."})

    async def _change(self, method: str, path: tuple[str, ...], value: Any) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            accepted = self._configuration.current()
            changed = _changed(config_tree.read(accepted.configuration.text), method, path, value)
            try:
                await self._configuration.replace(
                    config_tree.dump(changed), Dialect.JSON, expected=accepted.version
                )
            except ConflictError:
                # Somebody has exchanged the whole text, or the file was read again.
                if attempt == _ATTEMPTS:
                    raise
            else:
                return

    def _place(self, method: str, path: tuple[str, ...]) -> KeyPath:
        """Where what was sent would stand."""
        document = self.document()
        place = config_tree.located(document, path)
        return (*place, len(config_tree.get(document, path))) if method == "POST" else place

    async def _control(self, request: Request) -> Response:
        try:
            path = config_tree.split(raw_path(request, "/control/applications"))
        except TreeError as error:
            return refuse_tree(error)
        served = self.served()
        if len(path) != 2 or path[1] != "restart" or path[0] not in served:
            what = f"the applications are: {', '.join(served)}" if served else "there is none"
            detail = f"GET /control/applications/NAME/restart; {what}"
            return refuse_tree(TreeError(Refusal.NOT_FOUND, detail))
        for name in served[path[0]]:
            self._supervisor.command(name, "restart")
        return as_json({"success": "Ok"})


def _changed(document: Document, method: str, path: tuple[str, ...], value: Any) -> Any:
    if method == "POST":
        return config_tree.post(document, path, value)
    changed = (
        config_tree.delete(document, path)
        if method == "DELETE"
        else config_tree.put(document, path, value)
    )
    return changed if path else config_tree.carry_over(document, changed)


def raw_path(request: Request, prefix: str) -> str:
    """The path below ``prefix`` as it was sent: a decoded one no longer tells ``%2F``."""
    raw: bytes = request.scope["raw_path"]
    return raw.decode("latin-1").removeprefix(prefix)


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise JsonError("the text is no UTF-8", "", error.start) from None


def as_json(value: Any, code: int = 200) -> Response:
    """A value as JSON that a person reads."""
    return Response(config_tree.dump(value), code, media_type="application/json")


def refuse_tree(error: TreeError) -> Response:
    """The answer to a request that does not fit the document."""
    body = {"error": _TITLES[error.refusal], "detail": error.detail}
    return as_json(body, error.refusal.value)


def _refuse_json(error: JsonError) -> Response:
    place = {"offset": error.offset, "line": error.line, "column": error.column}
    return as_json({"error": "Invalid JSON.", "detail": error.what, "location": place}, 400)


def _refuse_configuration(error: ConfigError, place: KeyPath, lines: Lines | None) -> Response:
    """``lines`` are those of what was sent, which would stand at ``place``: the sender knows
    no others."""
    first, *others = error.problems
    more = f" (and {len(others)} more)" if others else ""
    detail = f"{first.where.key or '/'}: {_sentence(first.what, first.why, first.hint)}{more}"
    sent = {} if lines is None else {pointer(path): line for path, line in lines.all()}
    problems = [_problem(one, pointer(place), sent) for one in error.problems]
    body = {"error": "Invalid configuration.", "detail": detail, "problems": problems}
    return as_json(body, 400)


def _problem(problem: Problem, base: str, sent: Mapping[str, int]) -> dict[str, Any]:
    """``sent`` are the lines of what was sent, by pointers from ``base``."""
    key = problem.where.key
    inside = key == base or key.startswith(f"{base}/")
    line = sent.get(key.removeprefix(base)) if inside else None
    found = {
        "code": problem.code,
        "what": problem.what,
        "pointer": key,
        "line": line,
        "why": problem.why,
        "hint": problem.hint,
    }
    return {name: value for name, value in found.items() if value is not None}


def _sentence(what: str, why: str | None, hint: str | None) -> str:
    return what + (f": {why}" if why else "") + (f"; {hint}" if hint else "")
