"""Whatever is written into a unit is what systemd reads out of it.

The readers below follow systemd's own (``extract_first_word()`` with ``EXTRACT_UNQUOTE`` and
``EXTRACT_CUNESCAPE``, ``specifier_printf()``, ``replace_env_argv()``,
``parse_env_file_internal()``); tests/e2e/systemd asks a running systemd the same for a few.
"""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloister.generate.systemd import syntax
from cloister.model.errors import UsageError

TEXTS = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cf", "Zl", "Zp", "Co", "Cn")))
NASTY = ["", ";", "a b", "$HOME", "${HOME}", "%n", "100%", '"', "'", "\\", "a\\", "\\x41", "#", "-"]


def read_words(text: str) -> list[str]:
    """The words of a command line after its program, before specifiers and variables."""
    words: list[str] = []
    position = 0
    while position < len(text):
        if text[position] == " ":
            position += 1
            continue
        if text[position] == ";" and text[position + 1 : position + 2] in {"", " "}:
            raise AssertionError("the end of the command")
        word, quote = "", ""
        while position < len(text) and (quote or text[position] != " "):
            character = text[position]
            if character == "\\":
                position += 1
                assert text[position] in '\\"', "an escape that was not meant"
                word += text[position]
            elif quote and character == quote:
                quote = ""
            elif not quote and character in "\"'":
                quote = character
            else:
                word += character
            position += 1
        assert not quote
        words.append(word)
    return words


def expand(text: str, sign: str) -> str:
    """Without doubled signs; a single one would be a specifier or a variable."""
    pieces = text.split(sign * 2)
    assert not any(sign in piece for piece in pieces)
    return sign.join(pieces)


@given(st.lists(TEXTS, min_size=1))
@example(NASTY)
def test_arguments_survive(texts: list[str]) -> None:
    try:
        line = " ".join(syntax.argument(text, "an argument") for text in texts)
    except UsageError:
        assert not all(text.isprintable() for text in texts)
        return
    assert [expand(expand(word, "%"), "$") for word in read_words(line)] == texts
    assert not (len(line) - len(line.rstrip("\\"))) % 2, "it would continue on the next line"


@given(TEXTS)
@example("a b")
def test_values_survive_or_are_refused(text: str) -> None:
    try:
        written = syntax.value(text, "a value")
    except UsageError:
        assert text != text.strip() or text.endswith("\\") or not text.isprintable()
        return
    assert expand(written, "%") == text
    assert written == written.strip()


@given(TEXTS)
def test_assignments_survive(text: str) -> None:
    try:
        line = syntax.assignment("TARGET", text)
    except UsageError:
        assert not text.isprintable()
        return
    assert line.startswith('TARGET="')
    assert line.endswith('"')
    value, position = "", len('TARGET="')
    while position < len(line) - 1:
        if line[position] == "\\":
            position += 1
            assert line[position] in '\\"$`'
        else:
            assert line[position] != '"'
        value += line[position]
        position += 1
    assert value == text


@pytest.mark.parametrize("text", ["a\nb", "a\0b", "\x1b", "a\tb", "\u2028"])
def test_controls_are_refused_everywhere(text: str) -> None:
    for write in (syntax.value, syntax.argument, syntax.path_word, syntax.program):
        with pytest.raises(UsageError):
            write(f"/{text}", "it")
    with pytest.raises(UsageError):
        syntax.assignment("TARGET", text)
