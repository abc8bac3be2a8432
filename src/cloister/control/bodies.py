"""What a request brings."""

from starlette.exceptions import HTTPException
from starlette.requests import Request

BODY_LIMIT = 8 * 1024 * 1024
"""Bytes of a request's body: any configuration, however it is escaped as a text in JSON."""


async def read_body(request: Request, limit: int = BODY_LIMIT) -> bytes:
    """The whole body, of at most ``limit`` bytes. Raises ``HTTPException``."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise HTTPException(413, f"the body is longer than {limit} bytes")
    return bytes(body)
