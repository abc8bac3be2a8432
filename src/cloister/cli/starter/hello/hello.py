"""A web application without a framework (ASGI: asgi.readthedocs.io) that tells where it runs."""

import os
import platform
from collections.abc import Awaitable, Callable
from typing import Any

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answers every request with a few lines of text."""
    if scope["type"] == "lifespan":
        await serve_lifespan(receive, send)
    elif scope["type"] == "http":
        text = (
            f"Hello from the cell {platform.node()}.\n"
            f"I am process {os.getpid()}, user {os.getuid()}, and you asked for {scope['path']}\n"
        )
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": text.encode()})
    else:
        await send({"type": "websocket.close"})


async def serve_lifespan(receive: Receive, send: Send) -> None:
    """Takes part in the server's start and stop; a database would be opened here."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
