"""JSON with NGINX Unit's liberties, and where everything in it stands."""

import tracemalloc

import pytest

from cloister.config.json_text import DEEPEST, JsonError, looks_like_json, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{}", {}),
        ("\ufeff{}", {}),
        ("// one\n/* two\n * three */ {} // four", {}),
        ('{"a": /* here */ 1 /**/, // and here\n "b": [1, 2,],}', {"a": 1, "b": [1, 2]}),
        ('{"a": "// no comment", "b": "/*"}', {"a": "// no comment", "b": "/*"}),
        ('"\\u00e9\\n\\"\\ud83d\\ude00"', 'é\n"😀'),
        ("[true, false, null, -0, 12, 1.5e3, -2.5]", [True, False, None, 0, 12, 1500.0, -2.5]),
        (f"{10**300}", 10**300),
    ],
)
def test_values(text: str, value: object) -> None:
    assert parse(text)[0] == value


@pytest.mark.parametrize(
    ("text", "what", "line", "column"),
    [
        ("", "the JSON text is empty", 1, 1),
        ("\n // nothing", "the JSON text is empty", 2, 12),
        ("{} {}", "something follows", 1, 4),
        ('{"a"', "a colon is expected", 1, 5),
        ('{"a":\n}', "a value is expected", 2, 1),
        ('{"a": 1,\n"a": 2}', 'the member "a" is given twice', 2, 1),
        ("[1 2]", 'a comma or "]" is expected', 1, 4),
        ("[1,,2]", "a value is expected", 1, 4),
        ("[,]", "a value is expected", 1, 2),
        ("{,}", "a member's name in double quotes", 1, 2),
        ("{a: 1}", "a member's name in double quotes", 1, 2),
        ("[1", 'the text ends where "]" is missing', 1, 3),
        ("/* for ever", "a comment is not closed", 1, 1),
        ("01", "something follows", 1, 2),
        ("1.", "something follows", 1, 2),
        ("+1", "a value is expected", 1, 1),
        ("NaN", "a value is expected", 1, 1),
        ("truest", "a value is expected", 1, 1),
        ("1e999", "the number 1e999 is too large", 1, 1),
        ("1" * 1000, "a value is expected", 1, 1),
        ('"a\nb"', "a line break", 1, 3),
        ('"a', "a text lacks its closing quote", 1, 1),
        ('"\\x"', "a backslash in a text", 1, 2),
        ('"\\ud800"', "half of a surrogate pair", 1, 1),
        ("'a'", "a value is expected", 1, 1),
    ],
)
def test_errors(text: str, what: str, line: int, column: int) -> None:
    with pytest.raises(JsonError) as caught:
        parse(text)
    assert caught.value.what.startswith(what)
    assert (caught.value.line, caught.value.column) == (line, column)


def test_the_depth_is_bounded() -> None:
    assert parse("[" * DEEPEST + "]" * DEEPEST)
    with pytest.raises(JsonError, match="nested more than"):
        parse("[" * (DEEPEST + 1))
    with pytest.raises(JsonError, match="nested more than"):
        parse('{"a":' * 100_000)


def test_lines() -> None:
    _, lines = parse('{\n"a": [1,\n{"b/c": 2}],\n\n"d": {}}')
    assert lines.exact(("a",)) == 2
    assert lines.exact(("a", 0)) == 2
    assert lines.exact(("a", 1)) == 3
    assert lines.exact(("a", 1, "b/c")) == 3
    assert lines.nearest(("d", "missing")) == 5


@pytest.mark.parametrize("text", ["{", "\ufeff {}", "// x\n{", "/* a = 1 */{}", " \n\t{"])
def test_json_is_told_from_toml(text: str) -> None:
    assert looks_like_json(text)


@pytest.mark.parametrize("text", ["", "[a]", "# {", "a = {}", "/* {", "\ufeff[a]"])
def test_toml_is_told_from_json(text: str) -> None:
    assert not looks_like_json(text)


def test_blanks_take_no_memory() -> None:
    tracemalloc.start()
    try:
        assert not looks_like_json("// x\n" * 50_000)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2 * 1024 * 1024  # of a text of 250 KB
