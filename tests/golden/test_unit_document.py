"""docs/unit.md names every member of Unit's that is understood or refused."""

import re
from pathlib import Path

from pydantic import BaseModel

from cloister.config.declared import settings, tables
from cloister.config.forms import Table
from cloister.config.unit_dialect.syntax import UnitFile, UnitTable

DOCUMENT = Path(__file__).parents[2] / "docs" / "unit.md"


def members(table: type[BaseModel]) -> set[str]:
    """Of the table and of those below it that are Unit's."""
    found: set[str] = set()
    for name, field in settings(table):
        found.add(name)
        for inner in tables(field.annotation):
            if issubclass(inner, UnitTable):
                found |= members(inner)
    if issubclass(table, Table):
        found |= set(table.refused)
    return found


def test_every_member_is_named() -> None:
    text = DOCUMENT.read_text()
    found = members(UnitFile)
    assert len(found) > 50
    missing = [name for name in sorted(found) if not re.search(rf"\b{re.escape(name)}\b", text)]
    assert missing == []
