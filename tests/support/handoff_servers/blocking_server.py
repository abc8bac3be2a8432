"""http.server with a thread for each connection on a handoff socket: PATH CERTIFICATE KEY
AUTHORITY. Asks clients for a certificate."""

import hashlib
import json
import signal
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.support.streams import DIGEST, Stream

from cloister.handoff import HandoffListener

path, certificate, key, authority = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
context.load_verify_locations(authority)
context.verify_mode = ssl.CERT_OPTIONAL


class Server(ThreadingHTTPServer):
    """Its listening socket is a HandoffListener."""

    def __init__(self) -> None:
        super().__init__(("", 0), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = HandoffListener(path, mode=0o666)

    def get_request(self) -> Any:
        connection, address = self.socket.accept()
        # The handshake is made by the connection's own thread, at its first read.
        secured = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return secured, address


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/stream/"):
            key, length = map(int, self.path.split("/")[2:])
            return self.answer(Stream(key).read(length))
        subject = dict(part[0] for part in (self.connection.getpeercert() or {}).get("subject", ()))
        said = {"client": self.client_address, "subject": subject.get("commonName")}
        return self.answer(json.dumps(said).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.answer(hashlib.new(DIGEST, body).hexdigest().encode())

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        pass


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
Server().serve_forever()
