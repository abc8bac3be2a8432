"""Manual pages, from the very commands that run: man(7) text for each of them."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click

VERBATIM = "\b"
"""Click's mark of a paragraph whose lines stay as they are."""

EXIT_STATUS = (
    ("0", "Done."),
    ("1", "Failed."),
    ("2", "The command line asks for something impossible."),
    ("3", "The configuration cannot be used."),
    ("4", "Not permitted."),
    ("69", "No supervisor answers."),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One command with the words that call it."""

    path: tuple[str, ...]
    command: click.Command
    context: click.Context

    @property
    def page(self) -> str:
        """The name of its manual page: ``cloister-hosts-add``."""
        return "-".join(self.path)


def every(command: click.Command, name: str) -> Iterator[Entry]:
    """The command and all below it, each before those below; hidden ones are left out."""
    return _below(command, (name,), None)


def _below(
    command: click.Command, path: tuple[str, ...], parent: click.Context | None
) -> Iterator[Entry]:
    context = click.Context(command, info_name=path[-1], parent=parent, **command.context_settings)
    yield Entry(path, command, context)
    for name, child in children(command, context):
        yield from _below(child, (*path, name), context)


def children(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    """The visible commands right below one, in their order."""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                yield name, child


def paragraphs(command: click.Command) -> Iterator[tuple[bool, list[str]]]:
    """Its help, paragraph by paragraph: whether the lines stay as they are, and the lines."""
    for block in inspect.cleandoc(command.help or "").split("\n\n"):
        lines = block.splitlines()
        if lines and lines[0].strip() == VERBATIM:
            yield True, lines[1:]
        elif lines:
            yield False, lines


def examples(command: click.Command) -> list[str]:
    """The command lines of its examples, as one would type them."""
    found = []
    for verbatim, lines in paragraphs(command):
        if verbatim and lines[0].startswith("Example"):
            found += [line.strip() for line in lines[1:]]
    return found


def page(entry: Entry, version: str) -> str:
    """The command's manual page, section 1."""
    command, context = entry.command, entry.context
    lines = [
        f'.TH "{entry.page.upper()}" 1 "" "cloister {version}" "Cloister"',
        ".SH NAME",
        f"{_text(entry.page)} \\- {_text(_summary(command))}",
        ".SH SYNOPSIS",
        f".B {_text(' '.join(entry.path))}",
        *[_text(piece) for piece in command.collect_usage_pieces(context)],
        ".SH DESCRIPTION",
        *_description(command),
        *_list(".SH COMMANDS", _commands(entry)),
        *_list(".SH OPTIONS", _options(command, context)),
        *_examples(command),
        *_list(".SH EXIT STATUS", EXIT_STATUS),
        ".SH SEE ALSO",
        ", ".join(f"\\fB{_text(name)}\\fP(1)" for name in _related(entry)),
    ]
    return "\n".join([*lines, ""])


def _summary(command: click.Command) -> str:
    return command.get_short_help_str(limit=200).rstrip(".")


def _description(command: click.Command) -> list[str]:
    lines: list[str] = []
    for verbatim, block in paragraphs(command):
        if verbatim and block[0].startswith("Example"):
            continue
        lines.append(".PP")
        lines += _verbatim(block) if verbatim else [_text(line) for line in block]
    return lines[1:]


def _examples(command: click.Command) -> list[str]:
    lines: list[str] = []
    for verbatim, block in paragraphs(command):
        if verbatim and block[0].startswith("Example"):
            lines += [".PP", *_verbatim(inspect.cleandoc("\n".join(block[1:])).splitlines())]
    return [".SH EXAMPLES", *lines[1:]] if lines else []


def _verbatim(lines: Sequence[str]) -> list[str]:
    return [".nf", *map(_text, lines), ".fi"]


def _list(heading: str, items: Sequence[tuple[str, str]]) -> list[str]:
    if not items:
        return []
    lines = [heading]
    for term, text in items:
        lines += [".TP", f"\\fB{_text(term)}\\fP", _text(" ".join(text.split()))]
    return lines


def _commands(entry: Entry) -> list[tuple[str, str]]:
    return [(name, _summary(child)) for name, child in children(entry.command, entry.context)]


def _options(command: click.Command, context: click.Context) -> list[tuple[str, str]]:
    records = (one.get_help_record(context) for one in command.get_params(context))
    return [record for record in records if record is not None and record[1]]


def _related(entry: Entry) -> list[str]:
    above = ["-".join(entry.path[:-1])] if len(entry.path) > 1 else []
    below = [f"{entry.page}-{name}" for name, _ in children(entry.command, entry.context)]
    return above + below or ["cloister"]


def _text(text: str) -> str:
    """Text that troff prints as it is: man(7), groff_char(7)."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    escaped = escaped.replace("`", "\\(ga")
    # groff(7) reads bytes: what is not ASCII goes by its number.
    escaped = "".join(one if one.isascii() else f"\\[u{ord(one):04X}]" for one in escaped)
    return f"\\&{escaped}" if escaped.startswith(".") else escaped
