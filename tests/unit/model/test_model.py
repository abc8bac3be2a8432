"""Values that every layer shares: frozen, comparable, and written as people write them."""

import dataclasses
import importlib
import pkgutil
from enum import Enum

import pytest

import cloister.model
from cloister.model import errors
from cloister.model.app import App, PythonProgram
from cloister.model.errors import CellError, CloisterError, ConfigError, Location, Problem
from cloister.model.isolation import IdRange
from cloister.model.listener import Listener, TcpAddress, UnixAddress
from cloister.model.route import ServerNameRoute, UnixAbstractTarget, UnixPathTarget
from cloister.model.snapshot import DoorOptions, Paths, Snapshot

MODULES = [
    importlib.import_module(f"cloister.model.{module.name}")
    for module in pkgutil.iter_modules(cloister.model.__path__)
]
VALUES = [
    value
    for module in MODULES
    for value in vars(module).values()
    if isinstance(value, type) and value.__module__ == module.__name__
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__name__)
def test_everything_is_frozen_or_an_error(value: type) -> None:
    if issubclass(value, CloisterError | Enum):
        return
    assert dataclasses.is_dataclass(value)
    assert value.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert not hasattr(value, "__dict__") or "__slots__" in vars(value)


def test_a_snapshot_can_be_compared_and_hashed() -> None:
    def snapshot() -> Snapshot:
        return Snapshot(
            source="/etc/cloister/cloister.toml",
            paths=Paths("/run/cloister", "/var/lib/cloister"),
            ids=IdRange(500_000, 565_535),
            door=DoorOptions(),
            listeners=(Listener("https", (TcpAddress("::", 443),), ServerNameRoute()),),
            apps=(App("blog", PythonProgram("blog", "app"), "/srv/blog"),),
        )

    assert snapshot() == snapshot()
    assert hash(snapshot()) == hash(snapshot())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (TcpAddress("127.0.0.1", 443), "127.0.0.1:443"),
        (TcpAddress("::1", 443), "[::1]:443"),
        (UnixAddress("/run/a"), "unix:/run/a"),
        (UnixAddress("a", abstract=True), "unix:@a"),
        (UnixPathTarget("/run/a"), "unix:/run/a"),
        (UnixAbstractTarget("a"), "unix:@a"),
        (PythonProgram("a.b", "c.d"), "a.b:c.d"),
        (Location("f.toml", 3, "door.user"), "f.toml:3 door.user"),
        (Location("f.toml", 3, ""), "f.toml:3"),
        (Location("f.toml", None, "door"), "f.toml door"),
        (Location("f.toml", None, ""), "f.toml"),
    ],
)
def test_values_as_text(value: object, text: str) -> None:
    assert str(value) == text


def test_a_configuration_error_counts_its_problems() -> None:
    problem = Problem("syntax", "x", Location("f", 1, ""))
    assert str(ConfigError([problem])) == "1 problem in the configuration"
    assert str(ConfigError([problem] * 2)) == "2 problems in the configuration"
    assert ConfigError([problem]).problems == (problem,)


def test_every_error_is_one_that_a_user_can_understand() -> None:
    kinds = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]
    assert len(kinds) > 5
    for kind in kinds:
        assert issubclass(kind, CloisterError)


def test_a_cell_error_keeps_where_it_failed() -> None:
    error = CellError("x", step="mount-bind", errno=2, path="/srv", why="y", hint="z")
    assert (error.what, error.why, error.hint) == ("x", "y", "z")
    assert (error.step, error.errno, error.path) == ("mount-bind", 2, "/srv")
