"""https://two.example: a WSGI application that answers plain text."""

from collections.abc import Callable, Iterable
from typing import Any

from visible import visible

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Answers every request with what this process sees."""
    query = environ.get("QUERY_STRING", "")
    target = environ.get("PATH_INFO", "/") + (f"?{query}" if query else "")
    answer = {
        "site": "two (WSGI)",
        "request": f"{environ['REQUEST_METHOD']} {target} {environ['SERVER_PROTOCOL']}",
        **visible(),
    }
    body = "".join(f"{name + ':':<20}{value}\n" for name, value in answer.items()).encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]
