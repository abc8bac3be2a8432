"""Signature Version 4 in a URL's query, verified by its description alone.

"Authenticating Requests: Using Query Parameters (AWS Signature Version 4)". It shares nothing
with what signs.
"""

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, urlsplit


def is_signed_by(secret: str, method: str, url: str, headers: Mapping[str, str]) -> bool:
    """Whether the request carries a signature that ``secret`` has made for exactly it."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    signature = query.pop("X-Amz-Signature")
    sent = {name.lower(): value.strip() for name, value in headers.items()} | {"host": parts.netloc}
    names = query["X-Amz-SignedHeaders"].split(";")
    canonical = "\n".join(
        [
            method,
            parts.path,
            "&".join(
                f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
                for name, value in sorted(query.items())
            ),
            *(f"{name}:{sent.get(name, '')}" for name in names),
            "",
            ";".join(names),
            "UNSIGNED-PAYLOAD",
        ]
    )
    _, day, region, service, ending = query["X-Amz-Credential"].split("/")
    text = "\n".join(
        [
            query["X-Amz-Algorithm"],
            query["X-Amz-Date"],
            "/".join((day, region, service, ending)),
            hashlib.sha256(canonical.encode()).hexdigest(),
        ]
    )
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, ending):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.compare_digest(hmac.digest(key, text.encode(), "sha256").hex(), signature)
