"""The ASGI application of all servers here: it tells whom it talks to, streams and digests."""

import hashlib
import json
from typing import Any

from tests.support.streams import DIGEST, Stream


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    chunks: Any
    if scope["path"].startswith("/stream/"):
        key, length = map(int, scope["path"].split("/")[2:])
        chunks = map(bytes, Stream(key).chunks(length))
    elif scope["path"] == "/digest":
        state = hashlib.new(DIGEST)
        more = True
        while more:
            message = await receive()
            state.update(message.get("body", b""))
            more = message.get("more_body", False)
        chunks, length = [state.hexdigest().encode()], 64
    else:
        said = {"client": scope["client"], "version": scope["http_version"]}
        chunks = [json.dumps(said).encode()]
        length = len(chunks[0])
    headers = [(b"content-length", str(length).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
