"""Asks the signer, and uses what it gives. Blocking; for the command line."""

import errno
import hashlib
import json
import os
import re
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import httpx

from cloister.model.errors import CloisterError, DaemonUnreachableError, NotPermittedError

_TIMEOUT = 15.0
"""Seconds for an answer of the signer, which may be starting."""
_STORE_TIMEOUT = httpx.Timeout(60.0, read=600.0)
_PIECE = 1024 * 1024
_FORBIDDEN = 403
_XML = re.compile(r"<(Code|Message)>([^<]{1,500})</")


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What the signer has signed."""

    method: str
    url: str
    headers: dict[str, str]
    """All that have to be sent."""
    expires: str
    """RFC 3339."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What is to be uploaded."""

    size: int
    sha256: str


def measure(file: IO[bytes]) -> Upload:
    """Size and digest of a regular file, read to its end and wound back. Raises
    :class:`CloisterError` for any other."""
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        raise CloisterError(
            f"{file.name} is no regular file",
            why="its size and its digest are signed before it is sent",
            hint="write it to a file first",
        )
    digest = hashlib.sha256()
    size = 0
    while piece := file.read(_PIECE):
        digest.update(piece)
        size += len(piece)
    file.seek(0)
    return Upload(size, digest.hexdigest())


class SignerClient:
    """Asks at the socket at ``path``."""

    def __init__(self, path: str) -> None:
        self._path = path

    def put(self, store: str, key: str, upload: Upload) -> SignedRequest:
        """Have an upload signed. Raises :class:`NotPermittedError` where it is not granted,
        :class:`DaemonUnreachableError` where nobody answers, and :class:`CloisterError`."""
        body = {"operation": "put", "store": store, "key": key}
        return self._sign(body | {"size": upload.size, "sha256": upload.sha256})

    def get(self, store: str, key: str) -> SignedRequest:
        """Have a download signed. Raises as :meth:`put`."""
        return self._sign({"operation": "get", "store": store, "key": key})

    def grants(self) -> dict[str, Any]:
        """What this asker may have. Raises as :meth:`put`."""
        return self._ask("GET", "/grants", None)

    def _sign(self, body: dict[str, Any]) -> SignedRequest:
        return SignedRequest(**self._ask("POST", "/sign", json.dumps(body).encode()))

    def _ask(self, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        self._check_reachable()
        transport = httpx.HTTPTransport(uds=self._path)
        try:
            with httpx.Client(transport=transport, trust_env=False, timeout=_TIMEOUT) as client:
                response = client.request(method, f"http://signer{path}", content=body)
                answer: dict[str, Any] = response.json()
        except (httpx.TransportError, ValueError) as error:
            raise DaemonUnreachableError(
                f"the signer at {self._path} does not answer",
                why=str(error) or type(error).__name__,
                hint="the supervisor's log says how it is",
            ) from error
        if response.is_success:
            return answer
        kind = NotPermittedError if response.status_code == _FORBIDDEN else CloisterError
        raise kind(str(answer.get("what")), why=answer.get("why"), hint=answer.get("hint"))

    def _check_reachable(self) -> None:
        """What httpx tells of a socket that cannot be connected to says nothing."""
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(_TIMEOUT)
                probe.connect(self._path)
        except PermissionError as error:
            raise NotPermittedError(
                "the signer may not be asked here",
                why=f"{self._path} is another one's",
                hint="ask as the user who has the grant",
            ) from error
        except OSError as error:
            missing = error.errno in (errno.ENOENT, errno.ECONNREFUSED)
            raise DaemonUnreachableError(
                f"no signer listens on {self._path}",
                why=os.strerror(error.errno) if error.errno else str(error),
                hint="a user needs a grant in `users` of [signer.STORE], an application `sign`"
                if missing
                else None,
            ) from error


def upload(signed: SignedRequest, file: IO[bytes]) -> None:
    """Do what was signed, with the content of ``file``. Raises :class:`CloisterError` with the
    store's refusal."""

    def pieces() -> Iterator[bytes]:
        while piece := file.read(_PIECE):
            yield piece

    try:
        with httpx.Client(timeout=_STORE_TIMEOUT) as client:
            response = client.request(
                signed.method, signed.url, headers=signed.headers, content=pieces()
            )
    except httpx.TransportError as error:
        raise CloisterError(
            f"the store at {httpx.URL(signed.url).netloc.decode()} cannot be reached",
            why=str(error) or type(error).__name__,
            hint="in a cell it has to be in the application's `egress`; the URL is good until "
            f"{signed.expires}, see --json",
        ) from error
    if response.is_success:
        return
    said = dict(_XML.findall(response.text[:4096]))
    code = said.get("Code", response.reason_phrase)
    raise CloisterError(
        f"the store refused the upload ({response.status_code} {code})",
        why=said.get("Message"),
        hint={
            412: "an object with this key is there already: take another key",
            403: "check the clock, and that the keys of the store may do s3:PutObject there",
        }.get(response.status_code),
    )
