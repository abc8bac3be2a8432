"""Renders docs/configuration.md from the declarations in ``syntax``."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cloister.config.declared import field_help, form, settings, tables
from cloister.config.syntax import File

INTRODUCTION = """\
# Configuration

<!-- Made from src/cloister/config/syntax.py; rewrite with: pytest --rewrite-goldens -->

One TOML file. `cloister up` takes the one that it is given, else `./cloister.toml`, else
`/etc/cloister/cloister.toml`; `cloister init` writes one to start from.

- A file that begins with a brace is JSON, with the same keys; comments (`//`, `/* */`), a byte
  order mark and trailing commas do no harm.
- It has at most 1 MiB, a key at most 64 parts, and a number at most 400 characters.
- Whatever is not described here is refused, with its line.
- Every problem is reported in one run, not only the first.
- A relative path starts at the configuration file's folder. `..` is taken out of a path as
  text, before the file system is asked. `~` and `$` stand for nothing.
- A **duration** is a text of a number and `ms`, `s`, `m` or `h`: `"500ms"`, `"10s"`, `"5m"`.
- A **size** is a text of a number and `K`, `M`, `G` or `T`, each 1024 times the one before:
  `"64M"`.
- A **mode** is a text of octal digits, `"0660"`: the number `660` would be read as decimal.
- A **hostname** may be written in any script and case; it is taken in its canonical form,
  which `cloister hostname NAME` prints.
"""


@dataclass(frozen=True, slots=True)
class Section:
    """One table of settings."""

    title: str
    introduction: str
    table: type[BaseModel]


def sections() -> Iterator[Section]:
    """Every table, outer ones first; one that several settings take, at the first."""
    seen: set[type[BaseModel]] = set()
    for section in _sections(File):
        if section.table not in seen:
            seen.add(section.table)
            yield section


def render() -> str:
    """The whole document."""
    parts = [INTRODUCTION]
    for section in sections():
        parts.append(f"## {section.title}\n\n{section.introduction}\n")
        parts += [_setting(name, field) for name, field in settings(section.table)]
    return "\n".join(parts)


def _sections(table: type[BaseModel]) -> Iterator[Section]:
    for _, field in settings(table):
        for inner in tables(field.annotation):
            title, _, prose = inspect.cleandoc(inner.__doc__ or "").partition(": ")
            yield Section(title, prose[:1].upper() + prose[1:], inner)
            yield from _sections(inner)


def _setting(name: str, field: FieldInfo) -> str:
    extra = field_help(field)
    declared = form(field)
    kind = declared.name if declared is not None else "table"
    if field.is_required():
        default = "Required."
    elif extra.default is not None:
        default = f"Default: {_code(extra.default)}."
    elif declared is None:
        default = "See below."
    else:
        default = f"Default: `{declared.write(field.default)}`."
    return (
        f"**`{name}`** ({kind}). {field.description} {default}\n\n"
        f"```toml\n{name} = {extra.example}\n```\n"
    )


def _code(text: str) -> str:
    """``text`` with a quoted word at its beginning set as code."""
    if not text.startswith('"'):
        return text
    word, _, rest = text[1:].partition('"')
    return f'`"{word}"`{rest}'
