"""https://one.example: an ASGI application that answers JSON."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from visible import visible

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers every request with what this process sees."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    if scope["type"] != "http":
        return
    query = scope["query_string"].decode()
    target = scope["path"] + (f"?{query}" if query else "")
    answer = {
        "site": "one (ASGI)",
        "request": f"{scope['method']} {target} HTTP/{scope['http_version']}",
        **visible(),
    }
    body = json.dumps(answer, indent=2).encode() + b"\n"
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def lifespan(receive: Receive, send: Send) -> None:
    """Nothing to prepare and nothing to clean up."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
