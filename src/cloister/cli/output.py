"""What the command line prints: errors, tables and JSON.

Colour and boxes go to terminals only, and not where ``NO_COLOR`` (no-color.org) is set.
What is piped is plain text, with the same words.
"""

import dataclasses
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Any, TextIO

import click

from cloister.model.errors import CloisterError, ConfigError, printable

_LABEL = 8
"""Columns of "  where " and its like."""

json_option: Callable[[click.decorators.FC], click.decorators.FC] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, for programs."
)
"""Gives a command the parameter ``as_json``."""


def print_error(error: CloisterError, stream: TextIO | None = None) -> None:
    """Prints what is wrong, where, why and what to do next; one block for each problem."""
    stream = stream or sys.stderr
    rich = _is_rich(stream)
    blocks = []
    if isinstance(error, ConfigError):
        for problem in error.problems:
            parts = [("where", str(problem.where)), ("why", problem.why), ("next", problem.hint)]
            blocks.append(_block(f"error[{problem.code}]", problem.what, parts, rich))
        if len(error.problems) > 1:
            blocks.append(_block("error", error.what, [], rich))
    else:
        blocks.append(_block("error", error.what, [("why", error.why), ("next", error.hint)], rich))
    stream.write("\n".join(blocks))
    stream.flush()


def _block(head: str, what: str, parts: list[tuple[str, str | None]], rich: bool) -> str:
    lines = [
        _style(f"{head}:", rich, fg="red", bold=True)
        + " "
        + _style(printable(what), rich, bold=True)
    ]
    width = shutil.get_terminal_size().columns - _LABEL - 1 if rich else 0
    for label, text in parts:
        if text is None:
            continue
        pieces = textwrap.wrap(printable(text), width) if width > 20 else [printable(text)]
        lines.append(_style(f"  {label:<{_LABEL - 2}}", rich, fg="cyan") + pieces[0])
        lines += [" " * _LABEL + piece for piece in pieces[1:]]
    return "\n".join(lines) + "\n"


def print_json(value: object) -> None:
    """Prints ``value`` as JSON; frozen values become objects, enumerations their values."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=_plain))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a table: for the eye on a terminal, else in columns without any decoration.

    Args:
        columns: headings.
        rows: as many cells as there are headings; ``None`` is shown as a dash.
    """
    cells = [["-" if cell is None else printable(str(cell)) for cell in row] for row in rows]
    if _is_rich(sys.stdout):
        _print_rich_table(columns, cells)
        return
    lines = [list(columns), *cells]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def _print_rich_table(columns: Sequence[str], rows: list[list[str]]) -> None:
    # Imported late: it takes longer to load than most commands to run.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(file=sys.stdout).print(table)


def _plain(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, frozenset | set):
        return sorted(value)
    return str(value)


def _is_rich(stream: TextIO) -> bool:
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not plain


def _style(text: str, rich: bool, *, fg: str | None = None, bold: bool = False) -> str:
    return click.style(text, fg=fg, bold=bold or None) if rich else text
