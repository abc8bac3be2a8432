"""nginx's upstream and location: goldens, quoting, and what is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import Golden
from tests.support.generated import check_goldens

from cloister.generate.nginx import NginxRequest, Protocol, generate, quote
from cloister.model.errors import UsageError
from cloister.model.listener import SocketOptions
from cloister.sockets.plan import SocketPlan, plan_relay, plan_socket

SOCKET = "/run/cloister-relay/php.sock"


def plan(path: str = SOCKET, **options: Any) -> SocketPlan:
    """A socket for nginx of Debian, unless said otherwise."""
    return plan_socket(path, SocketOptions(**{"group": "www-data", **options}))


@pytest.mark.parametrize(
    ("case", "request_"),
    [
        ("nginx-http", NginxRequest("web", plan_relay("web", SocketOptions(group="www-data")))),
        ("nginx-fastcgi", NginxRequest("php", plan(), protocol=Protocol.FASTCGI)),
        (
            "nginx-options",
            NginxRequest(
                "app",
                plan('/run/my "odd" $path\\here.sock', group="web"),
                location="^~ /app/",
                keepalive=16,
                user="nginx",
            ),
        ),
        (
            "nginx-fastcgi-kept",
            NginxRequest(
                "php", plan(), protocol=Protocol.FASTCGI, keepalive=4, location="~* \\.php[78]?$"
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
        ({"plan": plan("run/x.sock")}, "absolute path"),
        ({"plan": plan("/run/../x.sock")}, "absolute path"),
        ({"plan": plan("/run/a\nb.sock")}, "cannot be written"),
        ({"plan": plan("/run/" + "x" * 103)}, "108 bytes"),
        ({"user": "a;b"}, "'a;b' cannot be a user"),
        ({"plan": plan(group="-x")}, "'-x' cannot be a group"),
        # Nobody is let in by a group, and nginx is not the owner.
        ({"plan": plan(mode=0o600)}, "its mode is 0600, its group www-data"),
        ({"plan": plan(group=None)}, "its group is the supervisor's own"),
        ({"keepalive": -1}, "-1 is no number"),
        ({"location": "app"}, "'app' is no location"),
        ({"location": "~ "}, "no location"),
        ({"location": "/a\0"}, "cannot be a location"),
    ],
)
def test_refusals(changes: dict[str, object], message: str) -> None:
    valid: dict[str, object] = {"name": "php", "plan": plan()}
    with pytest.raises(UsageError) as error:
        generate(NginxRequest(**{**valid, **changes}))  # type: ignore[arg-type]
    assert message in f"{error.value.what} {error.value.why}"


@pytest.mark.parametrize(
    ("options", "comment"),
    [
        ({"mode": 0o666, "group": None}, "lets in everybody;"),
        ({"mode": 0o600, "owner": "www-data"}, "lets in its owner alone, www-data;"),
        ({}, "lets in its owner and its group, www-data;"),
    ],
)
def test_nobody_joins_a_group_who_is_let_in_already(options: dict[str, Any], comment: str) -> None:
    made = generate(NginxRequest("php", plan(**options)))
    assert comment in made.files[0].text
    assert not any("usermod" in step for step in made.next_steps)


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
