"""From counters to rates, order and history."""

import dataclasses

import pytest

from cloister.apps.brief import AppBrief, Brief, ListenerBrief
from cloister.observe.rates import HISTORY, ORDERS, Observation, Row, ordered, size, sparkline
from cloister.observe.usage import Usage

APP = AppBrief("blog", "ready", (7,), 0, 10, 2, 1000, 5000, ())


def brief(time: float, *apps: AppBrief, accepted: int = 10, refused: int = 0) -> Brief:
    listener = ListenerBrief("https", "[::]:443", accepted, 2, refused)
    return Brief(time, (8,), "ready", (listener,), apps)


def test_the_first_look_has_totals_and_no_rates() -> None:
    view = Observation().add(brief(100.0, APP), {"blog": Usage(5.0, 4096, 10, 20, 3, 0.5, 0)})
    (row,) = view.rows
    assert (row.cpu, row.throttled, row.io_read) == (None, None, None)
    assert (row.connections, row.received, row.sent) == (0.0, 0.0, 0.0)
    assert (row.accepted, row.usage.memory_bytes, view.seconds) == (10, 4096, 0.0)


def test_rates_are_by_the_second_of_the_supervisors_clock() -> None:
    seen = Observation()
    seen.add(brief(100.0, APP), {"blog": Usage(5.0, 4096, 10, 20, 3, 0.5, 0)})
    later = APP._replace(accepted=30, bytes_to_target=3000, bytes_to_client=5500)
    view = seen.add(
        brief(104.0, later, accepted=50, refused=2),
        {"blog": Usage(7.0, 8192, 810, 20, 3, 1.5, 1)},
    )
    (row,) = view.rows
    assert (row.cpu, row.throttled, row.io_read, row.io_write) == (0.5, 0.25, 200.0, 0.0)
    assert (row.connections, row.received, row.sent) == (5.0, 500.0, 125.0)
    (https,) = view.listeners
    assert (https.connections, https.refusals) == (10.0, 0.5)
    assert list(seen.history["blog"]) == [0.5]


def test_counters_that_began_anew_give_no_rate() -> None:
    """After a restart of the supervisor, or of an application without control groups."""
    seen = Observation()
    seen.add(brief(100.0, APP), {"blog": Usage(500.0)})
    view = seen.add(brief(101.0, APP._replace(accepted=1)), {"blog": Usage(1.0)})
    assert (view.rows[0].cpu, view.rows[0].connections) == (None, 0.0)


def test_an_application_that_goes_takes_its_history_along() -> None:
    seen = Observation()
    for moment in range(HISTORY + 10):
        seen.add(brief(float(moment), APP), {"blog": Usage(float(moment))})
    assert len(seen.history["blog"]) == HISTORY
    seen.add(brief(1000.0), {})
    assert seen.history == {}


def row(name: str, **changes: object) -> Row:
    seen = Observation()
    app = APP._replace(name=name)
    seen.add(brief(0.0, app), {name: Usage(0.0)})
    found = seen.add(brief(1.0, app), {name: Usage(0.0)}).rows[0]
    return dataclasses.replace(found, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("order", "more"),
    [
        ("cpu", {"cpu": 1.0}),
        ("memory", {"usage": Usage(memory_bytes=1)}),
        ("io", {"io_write": 1.0}),
        ("tasks", {"usage": Usage(tasks=1)}),
        ("open", {"active": 3}),
        ("connections", {"connections": 1.0}),
        ("bytes", {"sent": 1.0}),
        ("throttled", {"throttled": 0.1}),
        ("oom", {"usage": Usage(oom_kills=1)}),
        ("restarts", {"restarts": 1}),
        ("state", {"state": "backoff"}),
    ],
)
def test_every_order_puts_first_what_one_looks_for(order: str, more: dict[str, object]) -> None:
    rows = [row("a"), row("b", **more), row("c")]
    assert [one.name for one in ordered(rows, order)] == ["b", "a", "c"]
    assert [one.name for one in ordered(rows, order, backwards=True)] == ["c", "a", "b"]


def test_the_command_offers_the_orders_that_there_are() -> None:
    from cloister.cli.commands import top  # noqa: PLC0415

    assert tuple(ORDERS) == top.ORDERS


@pytest.mark.parametrize(
    ("count", "text"),
    [
        *((None, "-"), (0, "0"), (999, "999"), (1000, "1.0K"), (1024, "1.0K"), (10_000, "9.8K")),
        *((10_240, "10K"), (1_023_000, "999K"), (1 << 30, "1.0G"), (5 << 40, "5.0T")),
    ],
)
def test_sizes_fit_five_columns(count: float | None, text: str) -> None:
    assert size(count) == text
    assert len(text) <= 5


def test_a_sparkline_is_as_high_as_its_highest_value() -> None:
    assert sparkline([], 3) == "   "
    assert sparkline([0, 0], 4) == "  ▁▁"
    assert sparkline([9, 0, 1, 2], 3) == "▁▅█"
    assert sparkline([1, 2], 2, top=2.0) == "▅█"
