"""Asks a running supervisor. Blocking; for the command line."""

import json
import os
import socket
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter, ValidationError

from cloister import wire
from cloister.apps.brief import AppBrief, Brief, ListenerBrief
from cloister.apps.status import AppStatus, DaemonStatus, DoorStatus
from cloister.control.messages import ConfigurationChange, ConfigurationText
from cloister.model.configuration import Dialect
from cloister.model.errors import (
    CloisterError,
    ConfigError,
    DaemonUnreachableError,
    Location,
    NotPermittedError,
    Problem,
)

_TIMEOUT = 10.0
_START = 30.0
"""Seconds for what starts a process before it answers."""
_CHANGE = 120.0
"""Seconds for a configuration to be checked and applied, after others that were first."""
T = TypeVar("T")


class ControlClient:
    """Speaks to the control socket at ``path``. Use as a context manager."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._http = httpx.Client(
            transport=httpx.HTTPTransport(uds=path),
            base_url="http://cloister",
            timeout=_TIMEOUT,
            trust_env=False,
        )

    def __enter__(self) -> "ControlClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def status(self) -> DaemonStatus:
        """Everything.

        Raises :class:`DaemonUnreachableError`, :class:`NotPermittedError`, or
        :class:`CloisterError` with the supervisor's refusal.
        """
        return _decode(DaemonStatus, self._ask("GET", "/status"))

    def brief(self) -> Brief:
        """What changes all the time, in few bytes. Raises as :meth:`status`."""
        try:
            time, pids, state, listeners, apps = json.loads(self._ask("GET", "/brief"))
            return Brief(
                time,
                tuple(pids),
                state,
                tuple(ListenerBrief(*one) for one in listeners),
                tuple(AppBrief(*one) for one in apps),
            )
        except (ValueError, TypeError) as error:
            raise _not_understood(str(error)) from error

    def app(self, name: str) -> AppStatus:
        """One application. Raises as :meth:`status`."""
        return _decode(AppStatus, self._ask("GET", f"/apps/{name}"))

    def command(self, name: str, verb: str) -> AppStatus:
        """``start``, ``stop`` or ``restart`` one application. Raises as :meth:`status`."""
        return _decode(AppStatus, self._ask("POST", f"/apps/{name}/{verb}"))

    def replace_door(self) -> DoorStatus:
        """Has another door accept; returns once it does. Raises as :meth:`status`."""
        return _decode(DoorStatus, self._ask("POST", "/door/replace", timeout=_START))

    def configuration(self) -> ConfigurationText:
        """What runs. Raises as :meth:`status`."""
        return _decode(ConfigurationText, self._ask("GET", "/configuration"))

    def replace_configuration(
        self, text: str, dialect: Dialect, *, expected: int | None = None
    ) -> ConfigurationText:
        """Has another configuration run; returns once it does. Raises :class:`ConfigError`
        with every problem, and as :meth:`status`; then nothing has changed."""
        change = ConfigurationChange(text, dialect.value, expected)
        answer = self._ask("PUT", "/configuration", timeout=_CHANGE, body=wire.encode(change))
        return _decode(ConfigurationText, answer)

    def value(self, path: str) -> str:
        """The JSON of what stands at ``path`` of the running configuration, whose parts are
        percent-encoded. Raises as :meth:`status`."""
        return self._ask("GET", _config_path(path)).decode()

    def set_value(self, path: str, text: str) -> None:
        """Has ``text``, which is JSON, stand at ``path``. Raises as
        :meth:`replace_configuration`."""
        self._ask("PUT", _config_path(path), timeout=_CHANGE, body=text.encode())

    def delete_value(self, path: str) -> None:
        """Takes away what stands at ``path``. Raises as :meth:`replace_configuration`."""
        self._ask("DELETE", _config_path(path), timeout=_CHANGE)

    def _ask(
        self, method: str, path: str, *, timeout: float = _TIMEOUT, body: bytes | None = None
    ) -> bytes:
        self._check_reachable()
        try:
            response = self._http.request(method, path, timeout=timeout, content=body)
        except httpx.TransportError as error:
            raise DaemonUnreachableError(
                f"the supervisor at {self._path} does not answer",
                why=str(error) or type(error).__name__,
                hint="look at its log; a supervisor that just stopped is no fault",
            ) from error
        if response.is_success:
            return response.content
        raise _refusal(response)

    def _check_reachable(self) -> None:
        """One connection, for the reason that httpx does not keep: the error's number."""
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(self._path)
        except PermissionError as error:
            raise NotPermittedError(
                "the supervisor may not be asked",
                why=f"{self._path} is closed to this user",
                hint="ask as root or as the supervisor's own user, for example with sudo",
            ) from error
        except FileNotFoundError as error:
            raise _not_running(f"there is no {self._path}") from error
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise _not_running(f"nobody listens on {self._path}: {reason}") from error


@dataclass(frozen=True)
class _UnitProblem:
    code: str
    what: str
    pointer: str
    line: int | None = None
    why: str | None = None
    hint: str | None = None


@dataclass(frozen=True)
class _UnitRefusal:
    """As ``configuration_api`` refuses."""

    error: str
    detail: str | None = None
    problems: tuple[_UnitProblem, ...] = ()
    location: dict[str, int] | None = None


@dataclass(frozen=True)
class _Refusal:
    what: str
    why: str | None = None
    hint: str | None = None
    problems: tuple[Problem, ...] = ()


def _not_running(why: str) -> DaemonUnreachableError:
    return DaemonUnreachableError(
        "no supervisor runs", why=why, hint="start one with `cloister up`"
    )


def _refusal(response: httpx.Response) -> CloisterError:
    kind = NotPermittedError if response.status_code == 403 else CloisterError
    try:
        body = TypeAdapter(_UnitRefusal | _Refusal).validate_json(response.content)
    except ValidationError:
        return kind(f"the supervisor answers {response.status_code}", why=response.text[:200])
    if isinstance(body, _UnitRefusal):
        return _unit_refusal(body)
    if body.problems:
        return ConfigError(body.problems)
    return kind(body.what, why=body.why, hint=body.hint)


def _unit_refusal(body: _UnitRefusal) -> CloisterError:
    if body.problems:
        return ConfigError([_problem(one) for one in body.problems])
    place = body.location or {}
    where = f" (line {place['line']}, column {place['column']})" if "line" in place else ""
    detail = body.detail or body.error.rstrip(".")
    return CloisterError(f"{detail}{where}", why=body.error if body.detail else None)


def _problem(problem: _UnitProblem) -> Problem:
    # A line is one of what was sent; without one the problem stands elsewhere.
    place = "the configuration" if problem.line is None else "what was sent"
    where = Location(place, problem.line, problem.pointer)
    return Problem(problem.code, problem.what, where, problem.why, problem.hint)


def _config_path(path: str) -> str:
    """As a person writes it: with or without the first slash; what no path may hold is encoded,
    and what is encoded stays so."""
    inner = quote(path.strip("/"), safe="/%:*@!$&'()+,;=[]~")
    return f"/config/{inner}" if inner else "/config"


def _decode(kind: type[T], content: bytes) -> T:
    try:
        return TypeAdapter(kind).validate_json(content)
    except ValidationError as error:
        why = f"{error.error_count()} fields differ, first {error.errors()[0]['loc']}"
        raise _not_understood(why) from error


def _not_understood(why: str) -> CloisterError:
    return CloisterError(
        "the supervisor's answer is not understood",
        why=why,
        hint="use the `cloister` of the same version as the supervisor",
    )
