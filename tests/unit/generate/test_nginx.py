"""nginx's upstream and location: goldens, quoting, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import Golden
from tests.support.generated import check_goldens

from cloister.generate.nginx import NginxRequest, Protocol, generate, quote
from cloister.model.errors import UsageError

SOCKET = "/run/cloister-relay/php.sock"


@pytest.mark.parametrize(
    ("case", "request_"),
    [
        ("nginx-http", NginxRequest("web", "/run/cloister-relay/web.sock")),
        ("nginx-fastcgi", NginxRequest("php", SOCKET, protocol=Protocol.FASTCGI)),
        (
            "nginx-options",
            NginxRequest(
                "app",
                '/run/my "odd" $path\\here.sock',
                location="^~ /app/",
                keepalive=16,
                user="nginx",
                group="web",
            ),
        ),
        (
            "nginx-fastcgi-kept",
            NginxRequest(
                "php", SOCKET, protocol=Protocol.FASTCGI, keepalive=4, location="~* \\.php[78]?$"
            ),
        ),
    ],
)
def test_goldens(golden: Golden, case: str, request_: NginxRequest) -> None:
    check_goldens(golden, case, generate(request_))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "a b"}, "'a b' cannot be the name of an upstream"),
        ({"name": "a;"}, "cannot be the name"),
        ({"name": ""}, "cannot be the name"),
        ({"socket": "run/x.sock"}, "absolute path"),
        ({"socket": "/run/../x.sock"}, "absolute path"),
        ({"socket": "/run/a\nb.sock"}, "cannot be written"),
        ({"socket": "/run/" + "x" * 103}, "108 bytes"),
        ({"user": "a;b"}, "'a;b' cannot be a user"),
        ({"group": "-x"}, "'-x' cannot be a group"),
        ({"keepalive": -1}, "-1 is no number"),
        ({"location": "app"}, "'app' is no location"),
        ({"location": "~ "}, "no location"),
        ({"location": "/a\0"}, "cannot be a location"),
    ],
)
def test_refusals(changes: dict[str, object], message: str) -> None:
    valid: dict[str, object] = {"name": "php", "socket": SOCKET}
    with pytest.raises(UsageError) as error:
        generate(NginxRequest(**{**valid, **changes}))  # type: ignore[arg-type]
    assert message in f"{error.value.what} {error.value.why}"


def read_token(text: str) -> str:
    """One double-quoted token as nginx's ``ngx_conf_read_token`` reads it; it must be all."""
    assert text[0] == '"'
    result, position = "", 1
    while text[position] != '"':
        if text[position] == "\\" and text[position + 1] in "\"'\\":
            position += 1
        elif text[position] == "\\" and text[position + 1] in "trn":
            raise AssertionError("an escape that means a control character")
        result += text[position]
        position += 1
    assert position == len(text) - 1
    return result


@given(st.text(st.characters(exclude_categories=("Cc", "Cs"))))
def test_every_text_survives_quoting(text: str) -> None:
    assert read_token(quote(text)) == text
