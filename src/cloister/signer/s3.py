"""URLs that are good for one request to an S3 store: Signature Version 4 in the query.

Pure: the time is an argument. The signing itself is botocore's, which nothing but this loads.

What is signed is what the server holds the request to: method, host, path, and each header that
is named in ``X-Amz-SignedHeaders``. The payload is ``UNSIGNED-PAYLOAD`` there, as S3 has it for
URLs ("Authenticating Requests: Using Query Parameters"); the body is bound by its signed length,
and by the signed ``x-amz-checksum-sha256``, which the server compares with what it received.
``If-None-Match: *`` lets no object be replaced ("Conditional writes").
"""

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import quote, urlsplit

from cloister.model.object_key import ObjectKey


@dataclass(frozen=True, slots=True)
class Credentials:
    """Keys of a store. Shows nothing of them but the public one."""

    access_key: str
    secret_key: str
    session_token: str | None = None

    def __repr__(self) -> str:
        return f"Credentials({self.access_key!r})"


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where requests go."""

    endpoint: str
    """``https://HOST[:PORT]``."""
    region: str
    name: str
    path_style: bool

    def url(self, key: ObjectKey) -> str:
        """Of an object, without a query. Everything but unreserved characters is
        percent-encoded (RFC 3986, 2.3), once, as S3 signs it."""
        path = "/" + quote(key.text, safe="/~")
        if self.path_style:
            return f"{self.endpoint}/{self.name}{path}"
        parts = urlsplit(self.endpoint)
        return f"{parts.scheme}://{self.name}.{parts.netloc}{path}"


@dataclass(frozen=True, slots=True)
class Signed:
    """A request that may be made. Whoever has it can make it; it shows no key."""

    method: str
    url: str
    headers: Mapping[str, str]
    """Those that have to be sent exactly so."""
    expires: int
    """When it is good no more, in seconds since 1970-01-01 UTC."""


def sign_put(
    bucket: Bucket,
    credentials: Credentials,
    key: ObjectKey,
    *,
    size: int,
    sha256: bytes,
    valid: float,
    now: float,
) -> Signed:
    """An upload of exactly these bytes, to a key that has no object. ``valid`` is in seconds,
    at least one; ``now`` in seconds since 1970-01-01 UTC."""
    headers = {
        "content-length": str(size),
        "if-none-match": "*",
        "x-amz-checksum-sha256": base64.b64encode(sha256).decode(),
    }
    return presign("PUT", bucket, credentials, key, headers, valid=valid, now=now)


def sign_get(
    bucket: Bucket, credentials: Credentials, key: ObjectKey, *, valid: float, now: float
) -> Signed:
    """A download."""
    return presign("GET", bucket, credentials, key, {}, valid=valid, now=now)


def presign(
    method: str,
    bucket: Bucket,
    credentials: Credentials,
    key: ObjectKey,
    headers: Mapping[str, str],
    *,
    valid: float,
    now: float,
) -> Signed:
    """One request with these headers, and that of its host."""
    signer, request = _botocore()
    whole = request(method=method, url=bucket.url(key), headers=dict(headers))
    seconds = max(1, math.floor(valid))
    signer(credentials, bucket.region, seconds).sign_at(whole, math.floor(now))
    return Signed(method, whole.url, dict(headers), math.floor(now) + seconds)


@cache
def _botocore() -> tuple[Any, Any]:
    """Its signer, told the time, and its request. Loading it takes a third of a second."""
    from botocore.auth import SIGV4_TIMESTAMP, S3SigV4QueryAuth  # noqa: PLC0415
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415
    from botocore.credentials import Credentials as Keys  # noqa: PLC0415

    class Signer(S3SigV4QueryAuth):  # type: ignore[misc]
        """The steps of its ``add_auth``, which asks a clock, and writes to a log."""

        def __init__(self, credentials: Credentials, region: str, expires: int) -> None:
            keys = Keys(credentials.access_key, credentials.secret_key, credentials.session_token)
            super().__init__(keys, "s3", region, expires)

        def sign_at(self, request: Any, now: int) -> None:
            moment = datetime.fromtimestamp(now, UTC)
            request.context["timestamp"] = moment.strftime(SIGV4_TIMESTAMP)
            self._modify_request_before_signing(request)
            text = self.string_to_sign(request, self.canonical_request(request))
            self._inject_signature_to_request(request, self.signature(text, request))

    return Signer, AWSRequest
