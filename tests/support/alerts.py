"""Refusals as a TLS client sees them (RFC 8446 section 6)."""

from enum import IntEnum

from tests.support.peers import Peer


class Alert(IntEnum):
    """The alerts that the door sends."""

    UNEXPECTED_MESSAGE = 10
    RECORD_OVERFLOW = 22
    ILLEGAL_PARAMETER = 47
    DECODE_ERROR = 50
    PROTOCOL_VERSION = 70
    INTERNAL_ERROR = 80
    USER_CANCELED = 90
    UNRECOGNIZED_NAME = 112


def alert_record(alert: Alert) -> bytes:
    """The whole record: fatal, in the clear."""
    return bytes([21, 3, 3, 0, 2, 2, alert])


def expect_alert(peer: Peer, alert: Alert) -> None:
    """The connection ends in order after exactly this alert."""
    received = peer.receive_rest()
    assert received == alert_record(alert), f"{received[:64]!r} where {alert!r} is due"
