"""Examples of commands, as their help shows them."""

import shlex
from collections.abc import Iterator


def calls(lines: list[str]) -> Iterator[list[str]]:
    """The calls of `cloister` in lines for a shell, without its name."""
    text = "\n".join(lines).replace("\\\n", " ")
    for line in text.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set("|&;<>()"):
                if words[:1] == ["sudo"]:
                    words = words[1:]
                if words[:1] == ["cloister"]:
                    yield words[1:]
                words = []
            else:
                words.append(word)
