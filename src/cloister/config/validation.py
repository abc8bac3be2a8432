"""From a TOML document to the syntactic model, with pydantic's errors as problems."""

import copy
import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cloister.config.declared import field_help, find, settings, table_at, tables
from cloister.config.forms import TABLE_FORM, WORD_FORM
from cloister.config.lines import KeyPath
from cloister.config.problems import Code
from cloister.config.source import Notation, Source, dotted
from cloister.config.syntax import File
from cloister.model.errors import Problem

_TYPES = {
    "string_type": "a text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}
_BOUNDS = {"greater_than_equal": ("ge", "at least"), "less_than_equal": ("le", "at most")}
_CODES = frozenset(code.value for code in Code)


F = TypeVar("F", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class CheckedAs(Generic[F]):
    """What could be made of a document."""

    file: F
    """Without whatever a problem concerns."""
    problems: tuple[Problem, ...]
    left_out: frozenset[KeyPath]
    """Paths that ``file`` lacks because of a problem."""
    _above: frozenset[KeyPath] = field(init=False)
    """Everything that something was left out of."""

    def __post_init__(self) -> None:
        above = (path[:depth] for path in self.left_out for depth in range(len(path)))
        object.__setattr__(self, "_above", frozenset(above))

    def complete(self, path: KeyPath) -> bool:
        """Whether nothing at ``path``, above it or below it was left out."""
        return path not in self._above and not any(
            path[:depth] in self.left_out for depth in range(len(path) + 1)
        )


Checked = CheckedAs[File]


def check(source: Source) -> Checked:
    """Checks the document against the model of Cloister's own configuration."""
    return check_as(source, File)


def check_as(source: Source, model: type[F]) -> CheckedAs[F]:
    """Checks the document against ``model``.

    What a problem concerns is left out and the rest checked again, so that the checks that
    follow can find what is wrong with the rest in the same run.
    """
    document = copy.deepcopy(source.document)
    problems: list[Problem] | None = None
    left_out: set[KeyPath] = set()
    while True:
        try:
            file = model.model_validate(document)
        except ValidationError as error:
            details = error.errors(include_url=False)
            paths = [_path(document, detail) for detail in details]
            if problems is None:
                problems = [
                    _problem(source, model, path, detail)
                    for path, detail in zip(paths, details, strict=True)
                ]
            # What lacks a key goes as a whole; anything else goes by itself.
            gone = [
                path[:-1] if detail["type"] == "missing" else path
                for path, detail in zip(paths, details, strict=True)
            ]
            left_out.update(gone)
            removed = [_remove(document, path) for path in gone]
            if not any(removed):
                document = {}  # no error is known to end here; going round for ever is worse
        else:
            return CheckedAs(file, tuple(problems or ()), frozenset(left_out))


def _path(document: dict[str, Any], detail: ErrorDetails) -> KeyPath:
    """pydantic's error place without what it adds: forms of unions, the mark of a bad key,
    the index into a list that was written as a single value."""
    path: list[str | int] = []
    node: Any = document
    for key in detail["loc"]:
        if isinstance(node, dict):
            if key in node:
                path.append(key)
                node = node[key]
            elif detail["type"] == "missing" and key not in {WORD_FORM, TABLE_FORM}:
                path.append(key)
                break
        elif isinstance(node, list) and isinstance(key, int) and key < len(node):
            path.append(key)
            node = node[key]
    return tuple(path)


def _remove(document: dict[str, Any], path: KeyPath) -> bool:
    """Takes ``path`` away, if it is there. An element takes its list along: indices must not
    move."""
    while path and isinstance(path[-1], int):
        path = path[:-1]
    node: Any = document
    for key in path[:-1]:
        inside = key in node if isinstance(node, dict) else isinstance(node, list)
        if not inside:
            return False  # gone already with what enclosed it
        node = node[key]
    if not path or not isinstance(node, dict) or path[-1] not in node:
        return False
    del node[path[-1]]
    return True


def _problem(
    source: Source, model: type[BaseModel], path: KeyPath, detail: ErrorDetails
) -> Problem:
    """Words for one of pydantic's errors, or for one that a value's parser raised."""
    where = source.locate(path)
    kind = detail["type"]
    context: Mapping[str, Any] = detail.get("ctx", {})
    if kind in _CODES:
        return Problem(kind, context["what"], where, context["why"], context["hint"])
    if kind == "extra_forbidden":
        table = table_at(path[:-1], model)
        refused = getattr(table, "refused", {}).get(path[-1])
        if refused is not None:
            return Problem(Code.UNSUPPORTED, refused.what, where, refused.why, refused.hint)
        name, hint = dotted(path[-1:]), _known_keys(table, path)
        return Problem(Code.UNKNOWN_KEY, f"`{name}` is no setting here", where, None, hint)
    name, example = _name_and_example(model, source.notation, path)
    if kind == "missing":
        return Problem(Code.MISSING_KEY, f"`{name}` is missing", where, None, example)
    given = write(detail["input"])
    if kind == "literal_error":
        accepted = re.findall(r"'([^']*)'", context["expected"])
        near = difflib.get_close_matches(str(detail["input"]), accepted, 1)
        why = "it takes " + " or ".join(
            [f'"{word}"' for word in accepted] + _other_forms(model, path)
        )
        hint = f'did you mean "{near[0]}"?' if near else example
        return Problem(Code.UNKNOWN_VALUE, f"`{name}` cannot be {given}", where, why, hint)
    if kind in _BOUNDS:
        key, bound = _BOUNDS[kind]
        what = f"`{name}` cannot be {given}: it has to be {bound} {context[key]}"
        return Problem(Code.OUT_OF_RANGE, what, where, None, example)
    what = f"`{name}` has to be {_TYPES.get(kind, 'of another type')}, not {given}"
    return Problem(Code.WRONG_TYPE, what, where, None, example)


def _name_and_example(
    model: type[BaseModel], notation: Notation, path: KeyPath
) -> tuple[str, str | None]:
    """The setting's name, and how it is written; for an element those of its list."""
    name = dotted(path[-1:]) if isinstance(path[-1], str) else dotted(path[-2:])
    while path and isinstance(path[-1], int):
        path = path[:-1]
    field, key = find(path, model), path[-1:]
    if field is None:
        field, key = find(path[:-1], model), path[-2:-1]
    if field is None:
        return name, None
    return name, f"for example {notation.pair(str(key[0]), field_help(field).example)}"


def _other_forms(model: type[BaseModel], path: KeyPath) -> list[str]:
    """What a setting takes beside words."""
    field = find(path, model)
    return ["a table"] if field is not None and tables(field.annotation) else []


def _known_keys(table: type[BaseModel] | None, path: KeyPath) -> str | None:
    """What an unknown key may have been meant to be."""
    if table is None:
        return None
    known = [name for name, _ in settings(table)]
    near = difflib.get_close_matches(str(path[-1]).replace("_", "-").lower(), known, 1)
    if near:
        return f"did you mean `{near[0]}`?"
    return "known here: " + ", ".join(f"`{name}`" for name in known)


def write(value: object) -> str:
    """A value as a person wrote it, cut short."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{value}"' if len(value) <= 60 else f'"{value[:60]}…"'
        case dict():
            return "a table"
        case list():
            return "a list"
        case _:
            return f"the number {value}" if isinstance(value, int | float) else f"the date {value}"
