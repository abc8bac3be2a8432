"""Asks a running supervisor. Blocking; for the command line."""

import os
import socket
from typing import TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from cloister.apps.status import AppStatus, DaemonStatus
from cloister.model.errors import CloisterError, DaemonUnreachableError, NotPermittedError

_TIMEOUT = 10.0
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

    def app(self, name: str) -> AppStatus:
        """One application. Raises as :meth:`status`."""
        return _decode(AppStatus, self._ask("GET", f"/apps/{name}"))

    def command(self, name: str, verb: str) -> AppStatus:
        """``start``, ``stop`` or ``restart`` one application. Raises as :meth:`status`."""
        return _decode(AppStatus, self._ask("POST", f"/apps/{name}/{verb}"))

    def _ask(self, method: str, path: str) -> bytes:
        self._check_reachable()
        try:
            response = self._http.request(method, path)
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


def _not_running(why: str) -> DaemonUnreachableError:
    return DaemonUnreachableError(
        "no supervisor runs", why=why, hint="start one with `cloister up`"
    )


def _refusal(response: httpx.Response) -> CloisterError:
    kind = NotPermittedError if response.status_code == 403 else CloisterError
    try:
        body = TypeAdapter(dict[str, str | None]).validate_json(response.content)
    except ValidationError:
        return kind(f"the supervisor answers {response.status_code}", why=response.text[:200])
    what = body.get("what") or f"the supervisor answers {response.status_code}"
    return kind(what, why=body.get("why"), hint=body.get("hint"))


def _decode(kind: type[T], content: bytes) -> T:
    try:
        return TypeAdapter(kind).validate_json(content)
    except ValidationError as error:
        raise CloisterError(
            "the supervisor's answer is not understood",
            why=f"{error.error_count()} fields differ, first {error.errors()[0]['loc']}",
            hint="use the `cloister` of the same version as the supervisor",
        ) from error
