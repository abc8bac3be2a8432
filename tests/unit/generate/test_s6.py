"""Service folders for s6: goldens, quoting, and what is refused."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.conftest import Golden
from tests.support.generated import check_goldens

from cloister.generate import execline
from cloister.generate.door import DoorOptions
from cloister.generate.s6 import S6Request, generate
from cloister.model.errors import UsageError
from cloister.sockets.plan import RELAY_SOCKET

DOOR = "/usr/local/bin/cloister-door"
PROXY = DoorOptions(user="sniproxy")


@pytest.mark.parametrize(
    ("case", "request_"),
    [
        (
            "s6-sni",
            S6Request("cloister-sni", DOOR, "[::]:443", hosts="/srv/hosts", options=PROXY),
        ),
        (
            "s6-relay",
            S6Request(
                "php",
                DOOR,
                "/run/cloister-relay/php.sock",
                target="php.example.:9000",
                access=replace(RELAY_SOCKET, group="www-data"),
                options=DoorOptions(user="nobody", connections=7, drain=2),
            ),
        ),
        (
            "s6-odd-names",
            S6Request(
                "odd",
                "/opt/my tools/door",
                '/run/a "b" $c {d} \\n.sock',
                hosts="/srv/ä }",
                folder="/srv/s 6",
                log_folder="/srv/l o g",
                log_user="log",
                options=PROXY,
            ),
        ),
    ],
)
def test_goldens(golden: Golden, case: str, request_: S6Request) -> None:
    check_goldens(golden, case, generate(request_))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"options": DoorOptions()}, "needs a user"),
        ({"options": DoorOptions(user="a", groups=("b",))}, "supplementary groups"),
        ({"options": DoorOptions(user="a", exit_idle=1)}, "starts again"),
        ({"name": "a/b"}, "cannot be the name"),
        ({"target": None}, "either a hosts directory or a target"),
        ({"hosts": "/srv/hosts"}, "either a hosts directory or a target"),
        ({"listen": "443"}, "cannot be listened on"),
        ({"listen": "192.0.2.7:0"}, "cannot be listened on"),
        ({"listen": "::1:443"}, "cannot be listened on"),
        ({"listen": "/run/a\nb"}, "cannot be a listening socket"),
        ({"access": replace(RELAY_SOCKET, group="a b")}, "cannot be a group"),
        ({"log_user": ""}, "cannot be a user"),
        ({"folder": "etc"}, "absolute path"),
    ],
)
def test_refusals(changes: dict[str, Any], message: str) -> None:
    valid = {
        "name": "php",
        "program": DOOR,
        "listen": "/run/x.sock",
        "target": "a.example:1",
        "options": PROXY,
    }
    with pytest.raises(UsageError) as error:
        generate(S6Request(**{**valid, **changes}))
    assert message in f"{error.value.what} {error.value.why}"


def read_word(text: str) -> str:
    """One word as execlineb reads it; it must be all of ``text``, and no block."""
    assert text not in {"", "{", "}"}
    if text[0] != '"':
        assert not set(text) & set(' "\\{}#$')
        return text
    result, position = "", 1
    while text[position] != '"':
        if text[position] == "\\":
            position += 1
            assert text[position] in '\\"', "an escape that means another character"
        result += text[position]
        position += 1
    assert position == len(text) - 1
    return result


@given(st.text())
@example("{")
@example("")
@example("#")
def test_words_survive_or_are_refused(text: str) -> None:
    try:
        word = execline.word(text, "a word")
    except UsageError:
        assert not text.isprintable()
        return
    assert read_word(word) == text
