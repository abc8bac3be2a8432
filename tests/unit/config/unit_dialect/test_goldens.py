"""Every configuration of NGINX's announcement of isolation, and others of Unit's, beside what
Cloister makes of them: a snapshot, or all that is wrong.
"""

import io
import sys
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from tests.conftest import Golden

from cloister.cli.output import print_error
from cloister.config import source
from cloister.config.load import build
from cloister.config.surroundings import Account, Surroundings
from cloister.model.errors import ConfigError
from cloister.model.snapshot import Snapshot

GOLDENS = Path(__file__).parents[3] / "golden" / "unit"
CASES = sorted(path.stem for path in GOLDENS.glob("*.json"))
USERS = {
    "root": Account(0, 0),
    "nobody": Account(65534, 65534),
    "www-data": Account(33, 33, (4, 27)),
}
PROGRAMS = {"python3.99": "/opt/python/bin/python3.99"}


def surroundings(uid: int) -> Surroundings:
    return Surroundings(
        folder=PurePosixPath("/etc/cloister"),
        uid=uid,
        environment={"HOME": "/home/alice"},
        find_program=PROGRAMS.get,
        find_user=lambda name: (
            Account(int(name), int(name)) if name.isdecimal() else USERS.get(name)
        ),
        find_group={"root": 0, "adm": 4, "www-data": 33}.get,
    )


def made(case: str, uid: int) -> str:
    document = source.read(str(GOLDENS / f"{case}.json"))
    try:
        snapshot = build(document, surroundings(uid), check_files=False)
    except ConfigError as error:
        stream = io.StringIO()
        print_error(error, stream)
        return stream.getvalue().replace(f"{GOLDENS}/", "")
    return told(snapshot)


def told(snapshot: Snapshot) -> str:
    """What of a snapshot is not as it is where nothing is said."""
    lines: list[str] = []
    write("snapshot", snapshot, "", lines)
    return "\n".join(lines) + "\n"


def write(name: str, value: Any, indent: str, lines: list[str]) -> None:
    if isinstance(value, tuple) and value and is_dataclass(value[0]):
        for index, inner in enumerate(value):
            write(f"{name}[{index}]", inner, indent, lines)
    elif not is_dataclass(value) or isinstance(value, Enum):
        lines.append(f"{indent}{name}: {value}")
    else:
        lines.append(f"{indent}{name}: {type(value).__name__}")
        for field in fields(value):
            default = field.default
            if field.default_factory is not MISSING:
                default = field.default_factory()
            inner = getattr(value, field.name)
            if inner != default:
                write(field.name, inner, indent + "  ", lines)


@pytest.mark.parametrize("case", CASES)
def test_started_by_root(case: str, golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 11, 2, "final", 0))
    golden.check(GOLDENS / f"{case}.txt", made(case, 0))


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith("reference")])
def test_started_by_an_ordinary_user(case: str, golden: Golden) -> None:
    golden.check(GOLDENS / "rootless" / f"{case}.txt", made(case, 1000))


def test_every_case_has_its_outcome() -> None:
    assert {path.stem for path in GOLDENS.glob("*.txt")} == set(CASES)


def test_the_example_s_configuration_is_one_of_unit_s() -> None:
    example = Path(__file__).parents[4] / "examples" / "unit-go" / "unit.json"
    snapshot = build(source.read(str(example)), surroundings(0), check_files=False)
    assert [app.name for app in snapshot.apps] == ["go-app"]
