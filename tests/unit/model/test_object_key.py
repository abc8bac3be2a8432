"""Keys of objects: which texts are one, and which a pattern means."""

import itertools
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.model.object_key import ObjectKeyError, parse_key, parse_pattern

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "text",
    ["a", "blog/2026-11-29/x.tar.gz", "ä b/c~d=&'(1).gz", "x" * 1024, "...", ".hidden", "a/..b"],
)
def test_a_key_is_taken_as_it_is(text: str) -> None:
    assert str(parse_key(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "/a", "a/", "a//b", "/", ".", "..", "a/..", "../a", "a/./b", "a/../b", "a\\b"),
        *("a\n", "a\0b", "a\rb", "a\x7f", "a\x85", "a\u202eb", "a\u200bb", "a\u2028", "a\u00a0b"),
        *("a\ud800", "a\ufdd0", "e\u0301", "\u212b", "x" * 1025, "ä" * 513),
    ],
)
def test_what_others_could_read_otherwise_is_no_key(text: str) -> None:
    with pytest.raises(ObjectKeyError):
        parse_key(text)


@given(st.text(max_size=40))
def test_a_key_says_the_same_to_a_file_system_and_to_a_url(text: str) -> None:
    try:
        key = parse_key(text)
    except ObjectKeyError:
        return
    assert all(part and part not in (".", "..") for part in key.segments)
    assert not any(ord(one) < 32 or 127 <= ord(one) < 160 for one in text)
    assert text.encode().decode() == text


@pytest.mark.parametrize(
    ("pattern", "key", "means"),
    [
        ("a/*.gz", "a/x.gz", True),
        ("a/*.gz", "a/.gz", True),
        ("a/*.gz", "a/b/x.gz", False),
        ("a/*.gz", "a/x.gz.sh", False),
        ("a/*.gz", "A/x.gz", False),
        ("a/?.gz", "a/x.gz", True),
        ("a/?.gz", "a/xy.gz", False),
        ("a/**", "a/b/c", True),
        ("a/**", "a", False),
        ("a/**/z", "a/b/c/z", True),
        ("a/**/z", "a/z", False),
        ("**/z", "a/z", True),
        ("a/[bc]", "a/b", False),
        ("a/[bc]", "a/[bc]", True),
        ("a/x.gz", "a/xygz", False),
        ("*", "a", True),
        ("*", "a/b", False),
    ],
)
def test_a_pattern_means_exactly_this(pattern: str, key: str, means: bool) -> None:
    assert parse_pattern(pattern).matches(parse_key(key), NOON) is means


@pytest.mark.parametrize(
    ("day", "means"),
    [("2026-11-29", True), ("2026-11-28", True), ("2026-11-30", False), ("2026-11-27", False)],
)
def test_the_date_is_todays_or_yesterdays(day: str, means: bool) -> None:
    key = parse_key(f"blog/{day}/{day}.gz")
    assert parse_pattern("blog/{date}/{date}.gz").matches(key, NOON) is means


def test_one_key_has_one_day() -> None:
    key = parse_key("blog/2026-11-28/2026-11-29.gz")
    assert not parse_pattern("blog/{date}/{date}.gz").matches(key, NOON)


@pytest.mark.parametrize(
    "text", ["", "a//b", "../*", "a**", "**a/b", "{app}/x", "{date", "}", "/*"]
)
def test_a_pattern_that_could_mean_no_key_is_refused(text: str) -> None:
    with pytest.raises(ObjectKeyError):
        parse_pattern(text)


def reference(pattern: str) -> str:
    """The same as a regular expression, which may take for ever."""
    parts = []
    for part in pattern.split("/"):
        if part == "**":
            parts.append("[^/]+(?:/[^/]+)*")
        else:
            parts.append(re.escape(part).replace(r"\*", "[^/]*").replace(r"\?", "[^/]"))
    return "/".join(parts)


PIECES = st.lists(st.sampled_from(["a", "b", "*", "?", "/", "**/", "/**"]), min_size=1, max_size=9)


@given(PIECES.map("".join), st.text(st.sampled_from("ab/"), min_size=1, max_size=12))
def test_a_pattern_is_what_its_regular_expression_is(pattern: str, text: str) -> None:
    try:
        parsed, key = parse_pattern(pattern), parse_key(text)
    except ObjectKeyError:
        return
    assert parsed.matches(key, NOON) is (re.fullmatch(reference(pattern), text) is not None)


def test_no_key_takes_long() -> None:
    """A regular expression with as many stars would not come to an end."""
    pattern = parse_pattern("*a" * 100 + "/**/a*b" * 10)
    key = parse_key("a" * 400 + "/" + "/".join(itertools.repeat("a", 300)))
    assert not pattern.matches(key, NOON)
