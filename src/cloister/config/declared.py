"""Looks settings up in the syntactic model: for hints beside errors and for the reference."""

import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cloister.config.forms import Form, Help
from cloister.config.lines import KeyPath
from cloister.config.syntax import File


def settings(table: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """The settings of a table by their names as written, in the order of their declaration."""
    for field in table.model_fields.values():
        assert field.alias is not None  # noqa: S101 (the model's alias generator sets it)
        yield field.alias, field


def field_help(field: FieldInfo) -> Help:
    """What ``forms.setting`` stored."""
    stored = (field.examples or [None])[0]
    assert isinstance(stored, Help)  # noqa: S101 (every setting is declared by forms.setting)
    return stored


def form(field: FieldInfo) -> Form | None:
    """The form of a setting that is no table of settings."""
    found = [item for item in field.metadata if isinstance(item, Form)]
    found += _forms(field.annotation)
    return found[0] if found else None


def _forms(annotation: Any) -> Iterator[Form]:
    yield from (item for item in getattr(annotation, "__metadata__", ()) if isinstance(item, Form))
    if typing.get_origin(_bare(annotation)) in {typing.Union, types.UnionType}:
        for member in typing.get_args(_bare(annotation)):
            yield from _forms(member)


def tables(annotation: Any) -> list[type[BaseModel]]:
    """The tables of settings that a value of this type is, or is made of."""
    found = []
    for part in _annotations(annotation):
        bare = _bare(part)
        if isinstance(bare, type) and issubclass(bare, BaseModel):
            found.append(bare)
        elif typing.get_origin(bare) in {dict, list}:
            found += tables(typing.get_args(bare)[-1])
    return found


def find(path: KeyPath, model: type[BaseModel] = File) -> FieldInfo | None:
    """The setting at ``path``; ``None`` for names that users choose, elements, unknown keys."""
    return _walk(path, model)[0]


def table_at(path: KeyPath, model: type[BaseModel] = File) -> type[BaseModel] | None:
    """The table of settings at ``path``."""
    found = [
        bare
        for bare in map(_bare, _annotations(_walk(path, model)[1]))
        if isinstance(bare, type) and issubclass(bare, BaseModel)
    ]
    return found[0] if found else None


def _walk(path: KeyPath, model: type[BaseModel]) -> tuple[FieldInfo | None, Any]:
    """The setting that ``path`` ends in, if it ends in one, and the type of what is there."""
    field: FieldInfo | None = None
    annotation: Any = model
    for key in path:
        field, inner = None, None
        for bare in map(_bare, _annotations(annotation)):
            if isinstance(bare, type) and issubclass(bare, BaseModel):
                field = dict(settings(bare)).get(str(key))
                inner = field.annotation if field is not None else None
            elif typing.get_origin(bare) in {dict, list}:
                inner = typing.get_args(bare)[-1]
        annotation = inner
    return field, annotation


def _annotations(annotation: Any) -> list[Any]:
    """The members of a union, or the type alone."""
    bare = _bare(annotation)
    if typing.get_origin(bare) in {typing.Union, types.UnionType}:
        return [inner for member in typing.get_args(bare) for inner in _annotations(member)]
    return [annotation]


def _bare(annotation: Any) -> Any:
    """The type without its metadata."""
    return (
        typing.get_args(annotation)[0] if typing.get_origin(annotation) is Annotated else annotation
    )
