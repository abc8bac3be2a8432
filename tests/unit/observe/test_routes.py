"""Ways from listeners to what is there, and what goes over them."""

import dataclasses

import pytest
from tests.support.status import BLOG, SHOP, STATUS

from cloister.apps.brief import AppBrief, Brief, ListenerBrief
from cloister.apps.status import DaemonStatus
from cloister.observe.rates import Observation, View
from cloister.observe.routes import Way, WayReader, rows, ways
from cloister.observe.usage import Usage

BY_NAME, ELSEWHERE = STATUS.listeners


def status(**changes: object) -> DaemonStatus:
    shop = dataclasses.replace(SHOP, hosts=(), socket="/run/shop")
    whole = dataclasses.replace(
        STATUS,
        apps=(BLOG, shop),
        listeners=(
            dataclasses.replace(BY_NAME, hosts_directory="/srv/hosts"),
            dataclasses.replace(ELSEWHERE, name="shop", route="to unix:/run/shop"),
            dataclasses.replace(ELSEWHERE, name="aside", address="one"),
            dataclasses.replace(ELSEWHERE, name="aside", address="two"),
        ),
    )
    return dataclasses.replace(whole, **changes)  # type: ignore[arg-type]


def view() -> View:
    seen = Observation()
    for moment in (0, 2):
        apps = (
            AppBrief("blog", "ready", (7,), 0, 10 * moment, 3, 1000 * moment, 4000 * moment, ()),
            AppBrief("shop", "ready", (8,), 0, moment, 1, 0, 0, ()),
        )
        listeners = tuple(
            ListenerBrief("aside", address, 5 * moment, 2, 0) for address in ("one", "two")
        )
        usage = {"blog": Usage(), "shop": Usage()}
        found = seen.add(Brief(float(moment), (), "ready", listeners, apps), usage)
    return found


def test_ways_are_in_the_order_in_which_the_door_looks() -> None:
    assert ways(status()) == (
        Way("https", ("blog.example", "*.blog.example"), "app blog", "blog"),
        Way("https", (), "names in /srv/hosts", None),
        Way("shop", (), "app shop", "shop"),
        Way("aside", (), "to unix:/run/x", None),
    )


def test_what_is_counted_and_what_nobody_counts() -> None:
    now = view()
    known = {row.name: row for row in now.rows}
    blog, names, shop, aside = rows(ways(status()), known, now.listeners)
    assert (blog.active, blog.accepted, blog.connections) == (3, 20, 10.0)
    assert (blog.received, blog.sent) == (1000.0, 4000.0)
    assert (names.active, names.connections) == (None, None)
    assert (shop.active, shop.accepted) == (1, 2)
    # Two addresses of one listener with one way; bytes are counted for applications alone.
    assert (aside.active, aside.accepted, aside.connections) == (4, 20, 10.0)
    assert (aside.received, aside.sent) == (None, None)


def test_ways_are_asked_for_again_when_a_name_comes_or_time_has_passed() -> None:
    asked = 0
    clock = 0.0

    def tell() -> DaemonStatus:
        nonlocal asked
        asked += 1
        return status()

    reader = WayReader(tell, lambda: clock)
    for _ in range(3):
        assert len(reader.read(view())) == 4
    assert asked == 1
    clock = 59.0
    reader.read(view())
    assert asked == 1
    clock = 61.0
    reader.read(view())
    assert asked == 2
    now = view()
    reader.read(dataclasses.replace(now, rows=now.rows[:1]))
    assert asked == 3


def test_a_supervisor_that_is_gone_is_told() -> None:
    def gone() -> DaemonStatus:
        raise ConnectionRefusedError

    with pytest.raises(ConnectionRefusedError):
        WayReader(gone).read(view())
