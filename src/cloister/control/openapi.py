"""The description of the control API for programs (OpenAPI 3.1), at ``/openapi.json``."""

import dataclasses
from typing import Any

import cloister

_NAME = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
_PATH = {
    "name": "path",
    "in": "path",
    "required": True,
    "description": "Names of members and indices of arrays, each percent-encoded by itself: a "
    "slash in a name is %2F. May have slashes between them.",
    "schema": {"type": "string"},
}


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    path: str
    method: str
    summary: str
    answer: str
    """Of a success: the name of a schema."""
    body: str | None = None
    """The name of the schema of what is sent."""
    code: int = 200


OPERATIONS = (
    Operation("/", "get", "The configuration and the status together.", "Value"),
    Operation("/config", "get", "The running configuration.", "Value"),
    Operation("/config", "put", "Run another configuration.", "Success", "Value"),
    Operation("/config", "delete", "Run nothing: the empty configuration.", "Success"),
    Operation("/config/{path}", "get", "A part of the running configuration.", "Value"),
    Operation("/config/{path}", "put", "Replace or add a part of it.", "Success", "Value"),
    Operation("/config/{path}", "post", "Append to an array in it.", "Success", "Value"),
    Operation("/config/{path}", "delete", "Take a part of it away.", "Success"),
    Operation("/configuration", "get", "The running configuration as text.", "Configuration"),
    Operation("/configuration", "put", "Run another text.", "Configuration", "Change"),
    Operation(
        "/control/applications/{name}/restart", "get", "Restart, as NGINX Unit does it.", "Success"
    ),
    Operation("/control/applications/{name}/restart", "post", "The same.", "Success"),
    Operation("/status", "get", "Everything that runs.", "Value"),
    Operation("/status/{path}", "get", "A part of it.", "Value"),
    Operation("/metrics", "get", "The same for Prometheus.", "Text"),
    Operation("/brief", "get", "What changes all the time, in few bytes.", "Value"),
    Operation("/apps", "get", "All applications.", "Value"),
    Operation("/apps/{name}", "get", "One application.", "Value"),
    Operation("/apps/{name}/start", "post", "Start it.", "Value", code=202),
    Operation("/apps/{name}/stop", "post", "Stop it.", "Value", code=202),
    Operation("/apps/{name}/restart", "post", "Restart it.", "Value", code=202),
    Operation("/door/replace", "post", "Have another door accept.", "Value"),
    Operation("/openapi.json", "get", "This document.", "Value"),
)
"""Everything that the API answers; a test compares it with the routes."""

_TEXT = {"type": "string"}
_OPTIONAL = {"type": ["string", "null"]}
_SCHEMAS: dict[str, Any] = {
    "Value": {"description": "Any JSON."},
    "Text": _TEXT,
    "Success": {
        "type": "object",
        "required": ["success"],
        "properties": {"success": _TEXT},
    },
    "Configuration": {
        "type": "object",
        "required": ["version", "dialect", "source", "text"],
        "properties": {
            "version": {"type": "integer", "description": "Each accepted change has the next."},
            "dialect": {"enum": ["toml", "json"]},
            "source": {"type": "string", "description": "The file that it came from."},
            "text": _TEXT,
        },
    },
    "Change": {
        "type": "object",
        "required": ["text", "dialect", "expected"],
        "properties": {
            "text": _TEXT,
            "dialect": {"enum": ["toml", "json"]},
            "expected": {
                "type": ["integer", "null"],
                "description": "The version that the text was made from: where another one runs "
                "by now, the change is refused.",
            },
        },
    },
    "Problem": {
        "type": "object",
        "required": ["code", "what", "pointer"],
        "properties": {
            "code": {"type": "string", "description": "Stable, for programs."},
            "what": _TEXT,
            "pointer": {"type": "string", "description": "RFC 6901, in the whole configuration."},
            "line": {"type": "integer", "description": "In what was sent."},
            "why": _TEXT,
            "hint": {"type": "string", "description": "What to do."},
        },
    },
    "Error": {
        "description": "Below /config, /control and /status as NGINX Unit answers, elsewhere with "
        "`what`, `why` and `hint`.",
        "type": "object",
        "properties": {
            "error": _TEXT,
            "detail": _TEXT,
            "location": {
                "type": "object",
                "properties": {name: {"type": "integer"} for name in ("offset", "line", "column")},
            },
            "what": _TEXT,
            "why": _OPTIONAL,
            "hint": _OPTIONAL,
            "problems": {"type": "array", "items": {"$ref": "#/components/schemas/Problem"}},
        },
    },
}


def document() -> dict[str, Any]:
    """The whole description."""
    paths: dict[str, dict[str, Any]] = {}
    for one in OPERATIONS:
        paths.setdefault(one.path, {})[one.method] = _operation(one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Cloister's control API",
            "version": cloister.__version__,
            "description": "HTTP on a Unix socket, for root, the supervisor's own user and whom "
            "`control` in [cloister] names. For example: curl --unix-socket "
            "/run/cloister/control.sock http://localhost/config",
        },
        "paths": paths,
        "components": {"schemas": _SCHEMAS},
    }


def _operation(one: Operation) -> dict[str, Any]:
    kind = "text/plain" if one.answer == "Text" else "application/json"
    found: dict[str, Any] = {
        "summary": one.summary,
        "responses": {
            str(one.code): {"description": "Done.", "content": _content(kind, one.answer)},
            "default": {
                "description": "Refused.",
                "content": _content("application/json", "Error"),
            },
        },
    }
    parameters = [
        parameter for name, parameter in (("{name}", _NAME), ("{path}", _PATH)) if name in one.path
    ]
    if parameters:
        found["parameters"] = parameters
    if one.body is not None:
        content = _content("application/json", one.body)
        found["requestBody"] = {"required": True, "content": content}
    return found


def _content(kind: str, schema: str) -> dict[str, Any]:
    return {kind: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
