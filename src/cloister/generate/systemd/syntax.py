"""How systemd reads unit files: specifiers, quotes, and what neither can carry.

Sources: systemd.syntax(7), systemd.unit(5) "Specifiers", systemd.service(5) "Command lines",
systemd.exec(5) on ``EnvironmentFile=``; checked against systemd 252.
"""

from collections.abc import Iterable

from cloister.model.errors import UsageError


def value(text: str, what: str) -> str:
    """A setting that takes the rest of its line, such as ``ListenStream=``.

    There are no quotes in such a value: blanks at its ends would be dropped, and a backslash
    at its end would join the next line.
    """
    _refuse_controls(text, what)
    if text != text.strip() or text.endswith("\\"):
        raise UsageError(
            f"{text!r} cannot be {what}",
            why="systemd drops blanks at the ends of a setting, and a backslash at its end "
            "continues the line",
            hint="rename it",
        )
    return text.replace("%", "%%")


def path_word(text: str, what: str) -> str:
    """A path where a setting takes several words and gives colons a meaning, such as
    ``BindReadOnlyPaths=``."""
    _refuse_controls(text, what)
    if _has(text, " \"'\\:"):
        raise UsageError(
            f"{text!r} cannot be {what}",
            why="systemd gives blanks, quotes, backslashes and colons a meaning in it",
            hint="rename it, or make a link to it by another name",
        )
    return text.replace("%", "%%")


def argument(text: str, what: str) -> str:
    """One argument of ``ExecStart=``; ``$`` and ``%`` stand for themselves.

    Not for the program itself, where quotes and ``$$`` mean something else.
    """
    _refuse_controls(text, what)
    escaped = text.replace("%", "%%").replace("$", "$$")
    if escaped and escaped != ";" and not _has(escaped, " \"'\\"):
        return escaped
    escaped = escaped.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def program(text: str, what: str) -> str:
    """The first word of ``ExecStart=``: an absolute path without anything to quote."""
    _refuse_controls(text, what)
    if not text.startswith("/") or _has(text, " \"'\\$"):
        raise UsageError(
            f"{text!r} cannot be {what}",
            why="systemd takes the program's path as it stands",
            hint="name an absolute path without blanks, quotes, backslashes and dollar signs",
        )
    return text.replace("%", "%%")


def assignment(name: str, text: str) -> str:
    """A line of a file that ``EnvironmentFile=`` names; no specifiers there.

    Inside double quotes a backslash protects itself, the quote, ``$`` and a backquote.
    """
    _refuse_controls(text, f"the value of {name}")
    escaped = "".join(f"\\{c}" if c in '\\"$`' else c for c in text)
    return f'{name}="{escaped}"'


def unit(*sections: tuple[str, Iterable[str]]) -> str:
    """A unit's text: each section with its lines, apart from the next by an empty line."""
    blocks = ["\n".join([f"[{name}]", *lines]) for name, lines in sections]
    return "\n\n".join(blocks) + "\n"


def _has(text: str, characters: str) -> bool:
    return any(character in text for character in characters)


def _refuse_controls(text: str, what: str) -> None:
    if not text.isprintable():
        raise UsageError(
            f"{text!r} cannot be {what}",
            why="it has a character that cannot be written in a line of text",
            hint="take a name without control characters",
        )
