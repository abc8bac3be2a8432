"""What is said on a connection to find out what the other side speaks, and what its answer means.

Nothing here changes anything at a server: HEAD is safe (RFC 9110, section 9.2.1), a hello that
nothing follows is no session, and a PROXY header without an address is a health check's.
"""

import contextlib
import ssl
from enum import Enum

from cloister.diagnose.facts import Attempt
from cloister.diagnose.target import Speech
from cloister.model.route import SendProxy

_HEAD = b"HEAD / HTTP/1.0\r\nHost: localhost\r\nUser-Agent: cloister-doctor\r\n\r\n"
_HEADERS = {
    SendProxy.NONE: b"",
    SendProxy.V1: b"PROXY UNKNOWN\r\n",
    SendProxy.V2: b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00",  # version 2, LOCAL, no addresses
}
"""The PROXY protocol, sections 2.1 and 2.2."""
_BAD_REQUEST = b"400"
_ALERT, _HANDSHAKE = 0x15, 0x16
"""Content types of a TLS record (RFC 8446, section 5.1)."""


class Answer(Enum):
    """How the other side took what was said."""

    UNDERSTOOD = "understood"
    NOT_UNDERSTOOD = "not understood"
    SILENCE = "silence"


def words(speech: Speech, proxy: SendProxy) -> bytes:
    """What is to be sent."""
    return _HEADERS[proxy] + (_client_hello() if speech is Speech.TLS else _HEAD)


def judge(speech: Speech, attempt: Attempt) -> Answer:
    """What the first bytes of an answer mean."""
    reply = attempt.reply
    if not reply:
        return Answer.NOT_UNDERSTOOD if attempt.closed else Answer.SILENCE
    if speech is Speech.TLS:
        # A refusal of this hello, for its name or its versions, is TLS as well.
        tls = reply[0] in (_ALERT, _HANDSHAKE) and reply[1:2] == b"\x03"
        return Answer.UNDERSTOOD if tls else Answer.NOT_UNDERSTOOD
    http = reply.startswith(b"HTTP/") and reply[9:12] != _BAD_REQUEST
    return Answer.UNDERSTOOD if http else Answer.NOT_UNDERSTOOD


def _client_hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):  # it waits for the answer
        tls.do_handshake()
    return outgoing.read()
