"""A TLS server behind the door, and a TLS client whose bytes a test can cut as it likes."""

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tests.support.certificates import Authority, KeyPair
from tests.support.peers import STEP, Peer, UnixListener
from tests.support.streams import Stream


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """What a server insists on."""

    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    alpn: Sequence[str] = ("http/1.1",)
    """In the server's order of preference."""
    client_certificate: bool = False
    """Whether a client must show a certificate of the authority."""


class TlsServer:
    """Answers HTTP/1.1 over TLS on a Unix socket, each connection in a thread of its own.

    ``/`` is answered with what the server knows of the connection, as JSON; ``/stream/KEY/N``
    with the first N bytes of a stream. The socket stays the caller's.
    """

    def __init__(
        self, listener: UnixListener, pair: KeyPair, authority: Authority, options: TlsOptions
    ) -> None:
        self._listener = listener
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = options.minimum
        self._context.maximum_version = options.maximum
        self._context.load_cert_chain(pair.certificate, pair.key)
        self._context.set_alpn_protocols(list(options.alpn))
        if options.client_certificate:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.load_verify_locations(authority.certificate)
        self.errors: list[Exception] = []
        """What went wrong on a connection, in order."""
        self._stopping = threading.Event()
        listener.socket.settimeout(0.05)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops taking connections; those under way go on."""
        self._stopping.set()
        self._thread.join(STEP)

    def __enter__(self) -> "TlsServer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.socket.accept()
            except TimeoutError:
                continue
            connection.settimeout(STEP)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        # With the handshake on connecting, its failure would close the socket at once.
        with self._context.wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False
        ) as secured:
            try:
                secured.do_handshake()
                while head := _read_head(secured):
                    _answer(secured, head)
                    if "connection: close" in head.lower():
                        break
                with contextlib.suppress(OSError):
                    secured.unwrap()
            except OSError as error:
                self.errors.append(error)
                _linger(secured)


def _linger(secured: ssl.SSLSocket) -> None:
    """Reads what the client still sends: closing with unread bytes would reset the
    connection, and the client might never see the alert."""
    with contextlib.suppress(OSError), socket.socket(fileno=secured.detach()) as connection:
        connection.settimeout(STEP)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 16):
            pass


def _read_head(secured: ssl.SSLSocket) -> str | None:
    """One request's head; ``None`` at the end of the connection."""
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        byte = secured.recv(1)
        if not byte:
            return None
        head += byte
    return head.decode()


def _answer(secured: ssl.SSLSocket, head: str) -> None:
    path = head.split(" ")[1]
    if path.startswith("/stream/"):
        _, _, key, length = path.split("/")
        secured.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode())
        for chunk in Stream(int(key)).chunks(int(length)):
            secured.sendall(chunk)
        return
    certificate = secured.getpeercert()
    body = json.dumps(
        {
            "path": path,
            "version": secured.version(),
            "alpn": secured.selected_alpn_protocol(),
            "resumed": secured.session_reused,
            "client": _common_name(certificate) if certificate else None,
        }
    )
    secured.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())


def _common_name(certificate: dict[str, Any]) -> str:
    return next(
        str(value)
        for part in certificate["subject"]
        for name, value in part
        if name == "commonName"
    )


def client_context(authority: Authority) -> ssl.SSLContext:
    """A client that trusts the authority alone and checks host names."""
    return ssl.create_default_context(cafile=str(authority.certificate))


class HandDrivenClient:
    """A TLS client whose outgoing bytes pass through the test's hands before they are sent."""

    def __init__(self, peer: Peer, context: ssl.SSLContext, name: str) -> None:
        self._peer = peer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)

    def hello(self) -> bytes:
        """The first bytes of the connection: one record with the ClientHello. Not sent."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        return self._outgoing.read()

    def complete(self) -> None:
        """Ends the handshake after the test has sent the hello."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._feed()
            else:
                self._flush()
                return

    def request(self, path: str) -> dict[str, Any]:
        """What :class:`TlsServer` answers."""
        self._tls.write(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        self._flush()
        answer = ""
        while "\r\n\r\n" not in answer or not answer.endswith("}"):
            try:
                answer += self._tls.read(1 << 14).decode()
            except ssl.SSLWantReadError:
                self._feed()
        found: dict[str, Any] = json.loads(answer.partition("\r\n\r\n")[2])
        return found

    def _flush(self) -> None:
        if data := self._outgoing.read():
            self._peer.send(data)

    def _feed(self) -> None:
        data = self._peer.socket.recv(1 << 14)
        assert data, "the connection ended during the handshake"
        self._incoming.write(data)
