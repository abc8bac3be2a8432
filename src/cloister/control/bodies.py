"""What a request brings."""

from starlette.exceptions import HTTPException
from starlette.requests import Request

BODY_LIMIT = 8 * 1024 * 1024
"""Bytes of a request's body: any configuration, however its JSON is escaped."""


async def read_body(request: Request) -> bytes:
    """The whole body, within bounds. Raises ``HTTPException``."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:
            raise HTTPException(413, f"the body is longer than {BODY_LIMIT} bytes")
    return body
