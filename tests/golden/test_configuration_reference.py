"""docs/configuration.md says what the code does."""

from pathlib import Path

import pytest
from pydantic.fields import FieldInfo
from tests.conftest import Golden

from cloister.config import source, validation
from cloister.config.declared import field_help, form, settings
from cloister.config.reference import render, sections
from cloister.model.errors import Problem

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


REQUIRED = {
    "[metrics]": {"listen": '"127.0.0.1:9464"'},
    "[listeners.example]": {"listen": '"*:443"'},
    "[[apps.example.binds]]": {"source": '"data"'},
    "[[apps.example.egress]]": {"name": '"db.internal"', "port": "5432", "to": '"db.example:5432"'},
    "[[apps.example.isolation.uid-map]]": {"inside": "0", "outside": "1000"},
    "[[apps.example.isolation.tmpfs]]": {"path": '"/var/cache"'},
    "[[apps.example.limits.io-max]]": {"path": '"data"'},
    "[apps.example.python]": {"app": '"blog:app"'},
    "[apps.example.tls]": {"certificate": '"c.pem"', "key": '"k.pem"'},
    "[signer.STORE]": {
        "bucket": '"example-backups"',
        "region": '"eu-central-1"',
        "credentials": '"keys"',
    },
}
"""What a table needs beside the setting that is tested."""


def problems(title: str, name: str, value: str) -> tuple[Problem, ...]:
    """What is wrong with a document that has one setting and what that one needs."""
    header = title.strip("`").replace("NAME", "example")
    listener = '[listeners.example]\nlisten = "*:443"\n' * ("[listeners.example." in header)
    pairs = REQUIRED.get(header, {}) | {name: value}
    lines = "".join(f"{key} = {written}\n" for key, written in pairs.items())
    return validation.check(source.parse("x", f"{listener}{header}\n{lines}")).problems


@pytest.mark.parametrize(("title", "name", "field"), SETTINGS)
def test_every_example_is_accepted(title: str, name: str, field: FieldInfo) -> None:
    assert problems(title, name, field_help(field).example) == ()


@pytest.mark.parametrize(("title", "name", "field"), SETTINGS)
def test_every_default_is_written_as_it_could_be_given(
    title: str, name: str, field: FieldInfo
) -> None:
    declared = form(field)
    if declared is None or field.is_required() or field_help(field).default is not None:
        return  # the document says it in words
    assert problems(title, name, declared.write(field.default)) == ()


def test_a_wrong_value_would_be_noticed() -> None:
    assert problems("`[door]`", "workers", '"many"') != ()
