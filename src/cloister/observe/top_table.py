"""The table of applications on the screen: only the lines that are seen are made."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from cloister.observe.rates import Row, size, sparkline

SPARK = 20
COLUMNS: tuple[tuple[str, str, int], ...] = (
    # The order that the column shows, its heading, its width; the name is as wide as it has to be.
    ("state", "STATE", 9),
    ("cpu", "CPU%", 7),
    ("throttled", "THR%", 5),
    ("memory", "MEM", 6),
    ("io", "IO/s", 6),
    ("tasks", "TASKS", 6),
    ("open", "OPEN", 6),
    ("connections", "CONN/s", 7),
    ("bytes", "IN/s", 6),
    ("bytes", "OUT/s", 6),
    ("restarts", "RST", 4),
    ("oom", "OOM", 4),
)

_HEADING = Style(bold=True, reverse=True)
_SORTED = Style(bold=True, reverse=True, underline=True)
_CURSOR = Style(reverse=True)
_STATES = {"ready": Style(color="green"), "failed": Style(color="red", bold=True)}
_WAITING = Style(color="yellow")
_SPARKS = Style(color="cyan")
_ALARM = Style(color="red", bold=True)


def cells(row: Row) -> tuple[str, ...]:
    """A row's texts under :data:`COLUMNS`."""
    cpu = "-" if row.cpu is None else f"{row.cpu * 100:.1f}"
    throttled = "-" if row.throttled is None else f"{row.throttled * 100:.0f}"
    return (
        row.state,
        cpu,
        throttled,
        size(row.usage.memory_bytes),
        "-" if row.io_read is None and row.io_write is None else size(row.io),
        _number(row.usage.tasks),
        str(row.active),
        f"{row.connections:.1f}",
        size(row.received),
        size(row.sent),
        str(row.restarts),
        _number(row.usage.oom_kills),
    )


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


class AppTable(ScrollView, can_focus=True):
    """Rows under fixed headings, with one marked."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key, f"mark({by})", show=False)
        for key, by in (
            *(("up", -1), ("down", 1), ("k", -1), ("j", 1)),
            *(("pageup", -20), ("pagedown", 20), ("home", -(10**6)), ("end", 10**6)),
        )
    ]

    marked: reactive[int] = reactive(0)
    """The marked row's place."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: Sequence[Row] = ()
        self._history: Mapping[str, Sequence[float]] = {}
        self._order = "cpu"
        self._name_width = 12

    @property
    def marked_name(self) -> str | None:
        """The marked application; ``None`` where there is none."""
        return self._rows[self.marked].name if self.marked < len(self._rows) else None

    def show(self, rows: Sequence[Row], history: Mapping[str, Sequence[float]], order: str) -> None:
        """Shows these rows from now on. The mark stays on its application, but for one on the
        first row: whoever looks there looks for whatever is first."""
        known = 0 < self.marked < len(self._rows)
        name = self._rows[self.marked].name if known else None
        self._rows, self._history, self._order = rows, history, order
        self._name_width = max([12, *(len(row.name) for row in rows)])
        width = self._name_width + sum(column[2] + 1 for column in COLUMNS) + SPARK + 1
        self.virtual_size = Size(width, len(rows) + 1)
        places = {row.name: place for place, row in enumerate(rows)}
        self.marked = places.get(name or "", min(self.marked, max(0, len(rows) - 1)))
        self.refresh()

    def watch_marked(self) -> None:
        """Keeps the marked row in sight."""
        height = max(1, self.size.height - 1)
        top = self.scroll_offset.y
        if self.marked < top:
            self.scroll_to(y=self.marked, animate=False)
        elif self.marked >= top + height:
            self.scroll_to(y=self.marked - height + 1, animate=False)
        self.refresh()

    def action_mark(self, by: int) -> None:
        """Marks another row."""
        self.marked = max(0, min(len(self._rows) - 1, self.marked + by))

    def render_line(self, y: int) -> Strip:
        """One line of what is seen; the headings stay where they are."""
        width = self.size.width
        if y == 0:
            return self._headings().crop_extend(0, width, _HEADING)
        place = self.scroll_offset.y + y - 1
        if place >= len(self._rows):
            return Strip.blank(width)
        row = self._rows[place]
        base = _CURSOR if place == self.marked else Style()
        return self._line(row, base).crop_extend(0, width, base)

    def _headings(self) -> Strip:
        name = _SORTED if self._order == "name" else _HEADING
        segments = [Segment("APP".ljust(self._name_width), name)]
        for order, heading, width in COLUMNS:
            style = _SORTED if order == self._order else _HEADING
            text = heading.ljust(width) if order == "state" else heading.rjust(width)
            segments += [Segment(" ", _HEADING), Segment(text, style)]
        segments.append(Segment(" " + "CPU HISTORY".ljust(SPARK), _HEADING))
        return Strip(segments)

    def _line(self, row: Row, base: Style) -> Strip:
        segments = [Segment(row.name.ljust(self._name_width), base + Style(bold=True))]
        for (order, _, width), text in zip(COLUMNS, cells(row), strict=True):
            style = base
            if order == "state":
                style = base + _STATES.get(row.state, _WAITING)
            elif order == "oom" and row.usage.oom_kills:
                style = base + _ALARM
            aligned = text[:width].ljust(width) if order == "state" else text.rjust(width)
            segments += [Segment(" ", base), Segment(aligned, style)]
        history = sparkline(self._history.get(row.name, ()), SPARK)
        segments += [Segment(" ", base), Segment(history, base + _SPARKS)]
        return Strip(segments)
