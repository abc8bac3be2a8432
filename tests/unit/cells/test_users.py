"""Whom an application is on the host."""

import dataclasses
import os

import pytest

from cloister.cells.users import app_identity, named_identity
from cloister.model.app import App, CommandProgram
from cloister.model.errors import CloisterError
from cloister.model.isolation import HostIdentity

OWN = HostIdentity(500_001, 500_001)
APP = App("blog", CommandProgram(("/bin/true",)), None)


def identify(**settings: object) -> HostIdentity:
    app = dataclasses.replace(APP, **settings)  # type: ignore[arg-type]
    return app_identity(app, lambda name: OWN)


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.mark.usefixtures("as_root")
def test_ids_of_its_own_or_those_of_a_user() -> None:
    assert identify() == OWN
    assert identify(user="nobody") == HostIdentity(65534, 65534)
    assert identify(user="65534", group="www-data") == HostIdentity(65534, 33)
    assert identify(user="54321") == HostIdentity(54321, 54321)
    assert identify(groups=("33", "www-data")) == dataclasses.replace(OWN, groups=(33, 33))


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    "settings",
    [
        {"user": "root"},
        {"user": "nobody", "group": "root"},
        {"groups": ("root",)},
        {"user": "no-such-user"},
        {"user": "nobody", "group": "no-such-group"},
    ],
)
def test_root_and_nobody_that_exists_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(CloisterError):
        identify(**settings)


def test_an_ordinary_user_becomes_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    monkeypatch.setattr(os, "getegid", lambda: 65534)
    assert identify(user="nobody") == HostIdentity(65534, 65534)
    for settings in ({"user": "www-data"}, {"user": "nobody", "groups": ("www-data",)}):
        with pytest.raises(CloisterError, match="of its own"):
            identify(**settings)


def test_the_door_has_no_root_either() -> None:
    with pytest.raises(CloisterError, match="the door"):
        named_identity("root", "the door")
