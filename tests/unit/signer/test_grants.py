"""What a request may be, and what a grant allows."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.model.object_key import parse_pattern
from cloister.model.signing import Grant
from cloister.signer.grants import (
    GetRequest,
    PutRequest,
    Refusal,
    choose,
    parse_request,
    shown,
)
from cloister.signer.spec import Reason

PUT = {
    "operation": "put",
    "store": "backups",
    "key": "blog/x.gz",
    "size": 10,
    "sha256": "ab" * 32,
}
GET = {"operation": "get", "store": "backups", "key": "blog/x.gz"}
GRANT = Grant("backups", put=(parse_pattern("blog/*.gz"),), largest=100)
NOW = 1_795_980_000.0


def request(**other: Any) -> bytes:
    return json.dumps({k: v for k, v in (PUT | other).items() if v is not None}).encode()


def refusal(body: bytes, *grants: Grant) -> Refusal:
    with pytest.raises(Refusal) as caught:
        choose(grants or (GRANT,), parse_request(body), NOW)
    assert caught.value.what
    assert caught.value.why
    assert caught.value.hint
    return caught.value


def test_an_upload_that_is_granted() -> None:
    asked = parse_request(request())
    assert isinstance(asked, PutRequest)
    assert (asked.size, asked.sha256, str(asked.key)) == (10, b"\xab" * 32, "blog/x.gz")
    assert choose((GRANT,), asked, NOW) is GRANT


def test_a_download_needs_a_grant_of_its_own() -> None:
    asked = parse_request(json.dumps(GET).encode())
    assert asked == GetRequest("backups", asked.key)
    assert refusal(json.dumps(GET).encode()).reason is Reason.NO_GRANT
    both = Grant("backups", get=(parse_pattern("blog/*"),))
    assert choose((both,), asked, NOW) is both
    assert refusal(request(), both).reason is Reason.NO_GRANT


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{}", b"[]", b"null", b"{", b"\xff", b'"put"', b"[" * 10_000),
        request(operation="delete"),
        request(operation="list"),
        request(operation=None),
        *(request(size=None), request(size=-1), request(size="10"), request(size=1.0)),
        *(request(size=2**64), request(size=True), request(store=7), request(key=None)),
        *(request(sha256=None), request(sha256="ab"), request(sha256="AB" * 32)),
        request(sha256="ab" * 32 + "\n"),
        request(user="root"),
        json.dumps(GET | {"size": 1}).encode(),
        request()[:-1] + b',"key":"other"}',
        *(request(key=key) for key in ("", "/x", "../x", "blog/../x.gz", "blog//x.gz", "\ud800")),
        request(key="blog/" + "x" * 1024 + ".gz"),
        request(key="blog/a\nb.gz"),
    ],
)
def test_whatever_else_is_no_request(body: bytes) -> None:
    found = refusal(body)
    assert (found.reason, found.status) == (Reason.BAD_REQUEST, 400)


@pytest.mark.parametrize(
    ("other", "reason", "status"),
    [
        ({"store": "others"}, Reason.NO_GRANT, 403),
        ({"key": "shop/x.gz"}, Reason.NO_GRANT, 403),
        ({"key": "blog/sub/x.gz"}, Reason.NO_GRANT, 403),
        ({"key": "blog/x.tar"}, Reason.NO_GRANT, 403),
        ({"size": 101}, Reason.TOO_LARGE, 413),
    ],
)
def test_what_is_not_granted(other: dict[str, Any], reason: Reason, status: int) -> None:
    found = refusal(request(**other))
    assert (found.reason, found.status) == (reason, status)


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda t: request(key=t, store=t)))
def test_any_bytes_are_a_request_or_refused_in_words(body: bytes) -> None:
    try:
        choose((GRANT,), parse_request(body), NOW)
    except Refusal as refused:
        found = refused
    else:
        return
    assert f"{found.what}{found.why}{found.hint}".isprintable()


def test_what_is_shown_is_short_and_harmless() -> None:
    assert shown("a\x1b[2J\ud800") == "a\\x1b[2J\\ud800"
    assert len(shown("x" * 10_000)) == 201
