"""Listeners and routes of the door, as `cloister top` shows them."""

from collections.abc import Sequence

from rich.text import Text

from cloister.observe.columns import Columns
from cloister.observe.rates import ListenerRow, size
from cloister.observe.routes import WayRow

HEADINGS = ("LISTENER", "NAMES", "TO", "OPEN", "CONN/s", "ALL", "IN/s", "OUT/s")
_COLUMNS = Columns((16, 40, 24, 7, 8, 10, 6, 6), numbers=3)
_LINES = 200
"""Routes on the screen."""
_NAMES = 3
"""Of one route."""


def way_cells(row: WayRow) -> tuple[str, ...]:
    """One route under :data:`HEADINGS`."""
    way = row.way
    names = ", ".join(way.hosts[:_NAMES])
    if len(way.hosts) > _NAMES:
        names += f" and {len(way.hosts) - _NAMES} more"
    return (
        way.listener,
        names or "all",
        way.target,
        _number(row.active),
        "-" if row.connections is None else f"{row.connections:.1f}",
        _number(row.accepted),
        size(row.received),
        size(row.sent),
    )


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def door_text(listeners: Sequence[ListenerRow], routes: Sequence[WayRow]) -> Text:
    """Both tables."""
    text = Text()
    heading = (
        f"{'LISTENER':<16} {'ADDRESS':<32} {'OPEN':>7} {'CONN/s':>8} {'REFUSED/s':>9} {'ALL':>10}"
    )
    text.append(heading, "bold")
    for one in listeners:
        line = f"{one.name:<16} {one.address:<32} {one.active:>7} {one.connections:>8.1f} "
        text.append(f"\n{line}{one.refusals:>9.1f} {one.accepted:>10}")
    if routes:
        text.append(f"\n\n{_COLUMNS.line(HEADINGS)}", "bold")
    for row in routes[:_LINES]:
        text.append(f"\n{_COLUMNS.line(way_cells(row))}")
    if len(routes) > _LINES:
        text.append(f"\nand {len(routes) - _LINES} more: cloister top --once --routes", "dim")
    return text
