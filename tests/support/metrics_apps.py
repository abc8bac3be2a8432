"""Applications that have metrics, or pretend to: programs that take a socket by LISTEN_FDS.

Each is a text for ``python3 -c``, run as a real ``command`` in a real cell.
"""

_ACCEPT = """
import os, select, socket, threading, time
listening = socket.socket(fileno=3)
def serve(connection):
    with connection:
        request = b""
        while b"\\r\\n\\r\\n" not in request:
            piece = connection.recv(65536)
            if not piece:
                return
            request += piece
        answer(connection, request)
while True:
    select.select([listening], [], [])
    try:
        connection, _ = listening.accept()
    except BlockingIOError:
        continue
    connection.setblocking(True)
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
"""

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
_BODY = b"# TYPE app_requests_total counter\napp_requests_total 7\n"


def _program(answer: str) -> str:
    definition = "\n    ".join(["def answer(connection, request):", *answer.splitlines()])
    return f"HEAD = {_HEAD!r}\nBODY = {_BODY!r}\n{definition}\n{_ACCEPT}"


GOOD = _program(
    """assert request.startswith(b"GET /metrics HTTP/1.1"), request
connection.sendall(HEAD + b"Content-Length: %d\\r\\n\\r\\n" % len(BODY) + BODY)"""
)
CHUNKED = _program(
    """pieces = b"".join(b"1\\r\\n%c\\r\\n" % byte for byte in BODY)
connection.sendall(HEAD + b"Transfer-Encoding: chunked\\r\\n\\r\\n" + pieces + b"0\\r\\n\\r\\n")"""
)
PROXIED = _program(
    """assert request.startswith(b"PROXY UNKNOWN\\r\\nGET /metrics "), request
connection.sendall(HEAD + b"\\r\\n" + BODY)"""
)
HOSTILE = {
    "hangs": (_program("time.sleep(600)"), "timeout"),
    "dribbles": (
        _program("""connection.sendall(HEAD + b"\\r\\n")
while True:
    connection.sendall(b"#")
    time.sleep(0.05)"""),
        "timeout",
    ),
    "promises-more": (
        _program('connection.sendall(HEAD + b"Content-Length: 9999\\r\\n\\r\\n" + BODY)'),
        "protocol",
    ),
    "promises-2g": (
        _program('connection.sendall(HEAD + b"Content-Length: 2147483648\\r\\n\\r\\n" + BODY)'),
        "too-large",
    ),
    "sends-2g": (
        _program("""connection.sendall(HEAD + b"\\r\\n")
for _ in range(2048):
    connection.sendall(b"# " + b"x" * (1024 * 1024 - 3) + b"\\n")"""),
        "too-large",
    ),
    "lies-about-chunks": (
        _program(
            """connection.sendall(HEAD + b"Transfer-Encoding: chunked\\r\\n\\r\\n" + b"F" * 17)
connection.sendall(b"\\r\\n")
connection.sendall(BODY)"""
        ),
        "protocol",
    ),
    "endless-head": (
        _program("""connection.sendall(HEAD)
while True:
    connection.sendall(b"x-more: " + b"y" * 1000 + b"\\r\\n")"""),
        "protocol",
    ),
    "garbage": (_program("connection.sendall(os.urandom(100_000))"), "protocol"),
    "garbage-body": (
        _program('connection.sendall(HEAD + b"\\r\\n" + b"\\xff\\xfe" * 1000)'),
        "not-metrics",
    ),
    "prose": (_program('connection.sendall(HEAD + b"\\r\\nHello, world!\\n")'), "not-metrics"),
    "bomb": (
        _program(
            'connection.sendall(HEAD + b"Content-Encoding: gzip\\r\\n\\r\\n" + b"\\x1f\\x8b")'
        ),
        "not-metrics",
    ),
    "page": (
        _program(
            """head = HEAD.replace(b"text/plain", b"text/html")
connection.sendall(head + b"\\r\\n<p>" + BODY)"""
        ),
        "not-metrics",
    ),
    "refuses": (
        _program('connection.sendall(b"HTTP/1.1 403 No\\r\\nContent-Length: 0\\r\\n\\r\\n")'),
        "status",
    ),
    "closes": (_program("pass"), "protocol"),
    "never-accepts": ("import time\ntime.sleep(600)", "timeout"),
}
"""Each with the reason that the gateway gives."""
