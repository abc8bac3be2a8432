"""docs/configuration.md says what the code does."""

import tomllib
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo
from tests.conftest import Golden

from cloister.config import source, validation
from cloister.config.declared import field_help, form, settings
from cloister.config.reference import render, sections

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"
SETTINGS = [
    pytest.param(section.title, name, field, id=f"{section.title} {name}")
    for section in sections()
    for name, field in settings(section.table)
]


def test_the_document_is_current(golden: Golden) -> None:
    golden.check(DOCUMENT, render())


def test_there_are_settings() -> None:
    assert len(SETTINGS) > 30


@pytest.mark.parametrize(("title", "name", "field"), SETTINGS)
def test_every_example_is_accepted(title: str, name: str, field: FieldInfo) -> None:
    header = title.strip("`").replace("NAME", "example")
    others = {
        "[listeners.example]": 'listen = "*:443"\n',
        "[[apps.example.binds]]": 'source = "x"\n',
        "[apps.example.tls]": 'certificate = "x"\nkey = "x"\n',
    }.get(header, "")
    required = "\n".join(line for line in others.splitlines() if not line.startswith(f"{name} ="))
    enclosing = '[listeners.example]\nlisten = "*:443"\n' if "listeners.example." in header else ""
    text = f"{enclosing}{header}\n{required}\n{name} = {field_help(field).example}\n"
    checked = validation.check(source.parse("example.toml", text))
    assert checked.problems == ()


@pytest.mark.parametrize(("title", "name", "field"), SETTINGS)
def test_every_default_is_written_as_it_could_be_given(
    title: str, name: str, field: FieldInfo
) -> None:
    declared = form(field)
    if declared is None or field.is_required() or field_help(field).default is not None:
        return
    written = tomllib.loads(f"{name} = {declared.write(field.default)}")
    header = title.strip("`").replace("NAME", "example")
    enclosing = "" if "listeners" not in header else '[listeners.example]\nlisten = "*:443"\n'
    bind = 'source = "x"\n' if "binds" in header else ""
    (line,) = (f"{name} = {declared.write(field.default)}" for _ in written)
    checked = validation.check(source.parse("x", f"{enclosing}{header}\n{bind}{line}\n"))
    assert checked.problems == ()
