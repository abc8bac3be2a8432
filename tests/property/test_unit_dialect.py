"""Whatever users, groups and maps a configuration of Unit's asks for: it is refused, or no
application is the host's root, and its ids are those that the cell will have.
"""

import json
import os
from pathlib import PurePosixPath
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from cloister.cells import idmap
from cloister.config import source
from cloister.config.load import build
from cloister.config.surroundings import Account, Surroundings
from cloister.config.unit_dialect.names import app_names, listener_name
from cloister.config.unit_dialect.values import parse_listener
from cloister.model.errors import ConfigError
from cloister.model.id_map import maps_host_root
from cloister.model.isolation import HostIdentity
from cloister.model.snapshot import Snapshot

IDS = st.sampled_from([0, 1, 5, 33, 1000, 1005, 65534, 100_000, 2**32 - 2])
MAPS = st.lists(
    st.fixed_dictionaries(
        {"container": IDS, "host": IDS, "size": st.sampled_from([1, 2, 10, 1000, 70_000])}
    ),
    max_size=3,
)
NAMESPACES = st.dictionaries(
    st.sampled_from(["cgroup", "credential", "ipc", "mount", "network", "pid", "time", "uname"]),
    st.booleans() | st.sampled_from(["true", "false"]),
)
APPLICATIONS = st.fixed_dictionaries(
    {"type": st.just("external"), "executable": st.just("/srv/app")},
    optional={
        "user": st.sampled_from(["root", "nobody", "www-data", "1000", "0"]),
        "group": st.sampled_from(["root", "www-data", "1000"]),
        "isolation": st.fixed_dictionaries(
            {"namespaces": NAMESPACES},
            optional={
                "uidmap": MAPS,
                "gidmap": MAPS,
                # Another application's sentence, and what is nearly the own one, allow nothing.
                "allow_host_root": st.sampled_from(["b-is-root-on-the-host", "root", "a", ""]),
            },
        ),
    },
)
USERS = {"root": Account(0, 0), "nobody": Account(65534, 65534), "www-data": Account(33, 33, (5,))}


def outcome(document: Any, uid: int) -> Snapshot | ConfigError:
    surroundings = Surroundings(
        folder=PurePosixPath("/etc/cloister"),
        uid=uid,
        environment={"HOME": "/root"},
        find_program=lambda name: None,
        find_user=lambda name: (
            USERS.get(name) or (Account(int(name), 7) if name.isdecimal() else None)
        ),
        find_group={"root": 0, "www-data": 33, "1000": 1000}.get,
    )
    try:
        return build(
            source.parse("unit.json", json.dumps(document)), surroundings, check_files=False
        )
    except ConfigError as error:
        return error


@given(APPLICATIONS)
def test_nobody_becomes_root_on_the_host(application: dict[str, Any]) -> None:
    found = outcome({"applications": {"a": application}}, 0)
    if isinstance(found, ConfigError):
        assert all(problem.where.key for problem in found.problems)
        return
    (app,) = found.apps
    assert app.user is not None
    assert app.group is not None
    host = HostIdentity(int(app.user), int(app.group))
    assert 0 not in (host.uid, host.gid)
    assert "0" not in app.groups
    assert not maps_host_root(app.isolation.uid_map)
    assert not maps_host_root(app.isolation.gid_map)
    assert app.isolation.namespaces.user == bool(app.isolation.uid_map)
    with mock.patch.object(os, "geteuid", return_value=0):
        cell = idmap.identity("a", app.isolation, host)
    assert (cell.host_uid, cell.host_gid) == (host.uid, host.gid)
    assert (app.isolation.uid, app.isolation.gid) in ((None, None), (cell.uid, cell.gid))


@given(APPLICATIONS)
def test_an_ordinary_user_s_supervisor_runs_everything_as_that_user(
    application: dict[str, Any],
) -> None:
    found = outcome({"applications": {"a": application}}, 1000)
    if isinstance(found, ConfigError):
        return
    (app,) = found.apps
    assert (app.user, app.group, app.groups) == (None, None, ())
    for wanted, mappings, own in (
        (app.isolation.uid, app.isolation.uid_map, 1000),
        (app.isolation.gid, app.isolation.gid_map, 7),
    ):
        if wanted is not None:
            assert own in [one.to_outside(wanted) for one in mappings]


@given(st.lists(st.text(max_size=70), unique=True, max_size=8))
def test_every_application_has_a_name_of_its_own(names: list[str]) -> None:
    found = app_names(names)
    assert list(found) == names
    assert len(set(found.values())) == len(names)
    for name, label in found.items():
        assert 1 <= len(label) <= 63
        assert label.strip("-") == label
        assert set(label) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
        if name == label:
            assert app_names([*names[1:], name, "ANOTHER"])[name] == name


ADDRESSES = st.sampled_from(
    [
        "*:80",
        "[::]:80",
        "[::1]:80",
        "127.0.0.1:80",
        "127.0.0.1:8080",
        "unix:/run/a.sock",
        "unix:/run-a.sock",
        "unix:@a",
        "unix:@run/a.sock",
        "unix:/" + "x/" * 60 + "s",
    ]
)


@given(st.lists(ADDRESSES, unique=True))
def test_every_listener_has_a_name_of_its_own(texts: list[str]) -> None:
    names = [listener_name(parse_listener(text).address) for text in texts]
    assert len(set(names)) == len(names)
    for name in names:
        assert 1 <= len(name) <= 63
        assert ":" not in name
