"""Whatever the standard library's JSON reads, and nothing that it writes differently."""

import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cloister.config.json_text import JsonError, parse

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | TEXTS
    | st.floats(allow_nan=False).filter(lambda number: abs(number) != float("inf"))
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=30,
)
BLANKS = st.lists(
    st.sampled_from([" ", "\n", "\t", "\r\n", "// c\n", "/* c */", "/* // \n */", "/***/"]),
    max_size=3,
).map("".join)


@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 0, 3]))
def test_what_the_standard_library_writes(value: Any, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert parse(text)[0] == value


@given(DOCUMENTS, st.data())
def test_blanks_and_comments_between_tokens_mean_nothing(value: Any, data: st.DataObject) -> None:
    tokens = re.findall(r'"(?:[^"\\]|\\.)*"|[\[\]{}:,]|[^\s\[\]{}:,"]+', json.dumps(value))
    text = "".join(data.draw(BLANKS) + token for token in tokens) + data.draw(BLANKS)
    assert parse(text)[0] == value


@given(st.text(st.sampled_from('{}[]:,"\\/*-+.eEtrufalsn0123456789 \n\t\x00é'), max_size=40))
def test_any_text_is_a_value_or_a_placed_error(text: str) -> None:
    outcome = attempt(text)
    if isinstance(outcome, JsonError):
        assert 0 <= outcome.offset <= len(text)
        before = text[: outcome.offset].split("\n")
        assert (outcome.line, outcome.column) == (len(before), len(before[-1]) + 1)
    else:
        assert parse(json.dumps(outcome))[0] == outcome


def attempt(text: str) -> Any:
    try:
        return parse(text)[0]
    except JsonError as error:
        return error


@given(DOCUMENTS)
def test_every_member_has_its_line(value: Any) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=True)
    _, lines = parse(text)
    rows = text.split("\n")

    def walk(node: Any, path: tuple[str | int, ...]) -> None:
        members = enumerate(node) if isinstance(node, list) else node.items()
        for key, inner in members:
            line = lines.exact((*path, key))
            assert line is not None
            if isinstance(key, str):
                assert rows[line - 1].lstrip().startswith(json.dumps(key))
            if isinstance(inner, list | dict):
                walk(inner, (*path, key))

    if isinstance(value, list | dict):
        walk(value, ())
