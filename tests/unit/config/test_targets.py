"""Targets of the configuration: what is taken, what it means, and how it is written again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from cloister.config import targets
from cloister.model.route import (
    SrvTarget,
    Target,
    TcpTarget,
    UnixAbstractTarget,
    UnixPathTarget,
    VsockTarget,
)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("unix:/a/b", UnixPathTarget("/a/b")),
        ("unix:@b", UnixAbstractTarget("b")),
        ("tcp:127.0.0.1:80", TcpTarget("127.0.0.1", 80)),
        ("tcp:[2001:db8::1]:65535", TcpTarget("2001:db8::1", 65535)),
        ("tcp:backend.example.org:9000", TcpTarget("backend.example.org", 9000)),
        ("tcp:php.backend.example.:9000", TcpTarget("php.backend.example.", 9000)),
        ("vsock:2:1024", VsockTarget(2, 1024)),
        ("srv:_http._tcp.example.org", SrvTarget("_http._tcp.example.org")),
    ],
)
def test_targets(text: str, target: Target) -> None:
    assert targets.parse_target(text) == target
    assert str(target) == text


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("127.0.0.1:80", TcpTarget("127.0.0.1", 80)),
        ("[::1]:80", TcpTarget("::1", 80)),
        ("backend:80", TcpTarget("backend", 80)),
        ("Backend.Example:80", TcpTarget("backend.example", 80)),
        ("tcp:80", TcpTarget("tcp", 80)),
    ],
)
def test_the_kind_may_be_left_away_where_there_is_a_port(text: str, target: Target) -> None:
    assert targets.parse_target(text) == target


@pytest.mark.parametrize(
    "text",
    [
        *("", "/a", "@a", "unix:", "unix:@", "unix:/a/", "127.0.0.1", "127.0.0.1:0", "a:65536"),
        *("a:http", ":80", "tcp::80", "::1:80", "[127.0.0.1]:80", "[fe80::1%eth0]:80", "a b:80"),
        *("a..b:80", "[x]:80", "vsock:1", "vsock:-1:2", "vsock:x:2", "vsock:1:4294967295"),
        *("srv:http.example", "srv:_http._tcp", "srv:_http._sctp.example", "srv:_http._tcp.a b"),
    ],
)
def test_no_targets(text: str) -> None:
    with pytest.raises(PydanticCustomError):
        targets.parse_target(text)


@given(st.text())
def test_any_text_is_a_target_or_refused(text: str) -> None:
    try:
        parsed = targets.parse_target(text)
    except PydanticCustomError:
        return
    assert targets.parse_target(str(parsed)) == parsed
