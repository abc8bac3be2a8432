"""``cloister top`` on a terminal."""

import asyncio
import time
from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Footer, Input, Static

from cloister.apps.status import AppStatus, DaemonStatus
from cloister.model.errors import CloisterError
from cloister.observe.rates import ORDERS, Observation, View, ordered, size
from cloister.observe.routes import Way, WayReader
from cloister.observe.routes import rows as rows_of
from cloister.observe.top_app import app_text
from cloister.observe.top_routes import door_text
from cloister.observe.top_table import AppTable

SHARE = 0.025
"""Of a core, that watching may take: it looks less often where a look costs more."""

Look = Callable[[Observation], View]


class TopApp(App[None]):
    """Looks again and again, and shows what there is."""

    CSS = """
    Screen { background: transparent; }
    #summary { height: auto; padding: 0 1; }
    #door, #detail { height: auto; max-height: 40%; padding: 0 1; display: none; overflow-y: auto; }
    #filter { display: none; height: 3; }
    AppTable { height: 1fr; background: transparent; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("c", "sort('cpu')", "cpu"),
        Binding("m", "sort('memory')", "memory"),
        Binding("i", "sort('io')", "io"),
        Binding("t", "sort('tasks')", "tasks"),
        Binding("o", "sort('open')", "open"),
        Binding("n", "sort('connections')", "conn/s"),
        Binding("b", "sort('bytes')", "bytes"),
        Binding("a", "sort('name')", "name"),
        Binding("s", "next_order", "next order"),
        Binding("r", "reverse", "reverse"),
        Binding("d", "door", "door"),
        Binding("enter", "detail", "detail"),
        Binding("slash", "filter", "filter", key_display="/"),
        Binding("space", "pause", "pause"),
        Binding("escape", "clear_filter", show=False),
    ]

    def __init__(
        self,
        look: Look,
        *,
        status: Callable[[], DaemonStatus],
        app: Callable[[str], AppStatus],
        interval: float,
        order: str,
    ) -> None:
        """``look``, ``status`` and ``app`` block; they are called in a thread, one call at a
        time. ``status`` is asked for routes, while somebody looks at them, and ``app`` for the
        marked application likewise."""
        super().__init__()
        self._look = look
        self._ways = WayReader(status)
        self._routes: tuple[Way, ...] = ()
        self._ask = app
        self._interval = interval
        self._order = order
        self._backwards = False
        self._paused = False
        self._filter = ""
        self._observation = Observation()
        self._view: View | None = None
        self._pause = interval
        self._failure: str | None = None
        # Kept, not looked up: a look may end when the screen has gone already.
        self._sums = Static(id="summary")
        self._door = Static(id="door")
        self._detail = Static(id="detail")
        self._field = Input(placeholder="part of a name; Enter keeps, Escape clears", id="filter")
        self._table = AppTable()

    def compose(self) -> ComposeResult:
        """The parts of the screen, from the top down."""
        yield self._sums
        yield self._door
        yield self._detail
        yield self._field
        yield self._table
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        self._table.focus()
        self.run_worker(self._watch())

    async def _watch(self) -> None:
        # Two looks in a row, so that there are rates at once.
        pauses = iter((0.0, min(0.5, self._interval)))
        before = time.process_time()
        while True:
            if not self._paused:
                try:
                    self._view = await asyncio.to_thread(self._look, self._observation)
                    if self._door.display:
                        self._routes = await asyncio.to_thread(self._ways.read, self._view)
                    marked = self._table.marked_name
                    if self._detail.display and marked is not None:
                        self._detail.update(app_text(await asyncio.to_thread(self._ask, marked)))
                    self._failure = None
                except CloisterError as error:
                    self._failure = str(error)
                self._show()
            # From one look to the next: what drawing it took came after the one before.
            cost = time.process_time() - before
            before += cost
            self._pause = next(pauses, max(self._interval, cost / SHARE))
            await asyncio.sleep(self._pause)

    def _show(self) -> None:
        view = self._view
        self._sums.update(self._summary(view))
        if view is None:
            return
        rows = [row for row in view.rows if self._filter in row.name]
        rows = ordered(rows, self._order, backwards=self._backwards)
        self._table.show(rows, self._observation.history, self._order)
        if self._door.display:
            known = {row.name: row for row in view.rows}
            routes = rows_of(self._routes, known, view.listeners)
            self._door.update(door_text(view.listeners, routes))

    def _summary(self, view: View | None) -> Text:
        text = Text()
        if self._failure is not None:
            text.append(f"{self._failure}\n", "bold red")
        if view is None:
            return text.append("waiting for the first look")
        ready = sum(row.state == "ready" for row in view.rows)
        door = "green" if view.door_state == "ready" else "bold red"
        text.append("door ").append(view.door_state, door)
        text.append("   apps ").append(
            f"{ready}/{len(view.rows)} ready", "green" if ready == len(view.rows) else "yellow"
        )
        cpu = sum(row.cpu or 0.0 for row in view.rows)
        memory = sum(row.usage.memory_bytes or 0 for row in view.rows)
        text.append(f"   cpu {cpu * 100:.1f}%   mem {size(memory)}")
        connections = sum(one.connections for one in view.listeners)
        refusals = sum(one.refusals for one in view.listeners)
        active = sum(one.active for one in view.listeners)
        text.append(f"   open {active}   {connections:.1f} conn/s")
        text.append(f"   {refusals:.1f} refused/s", "red" if refusals else "")
        received = sum(row.received for row in view.rows)
        sent = sum(row.sent for row in view.rows)
        text.append(f"   in {size(received)}/s   out {size(sent)}/s")
        notes = [f"every {self._pause:.1f} s", f"by {self._order}"]
        notes += ["backwards"] if self._backwards else []
        notes += ["paused"] if self._paused else []
        notes += [f"only *{self._filter}*"] if self._filter else []
        return text.append("   " + ", ".join(notes), "dim")

    def action_sort(self, order: str) -> None:
        """Sort by one of :data:`ORDERS`."""
        self._order, self._backwards = order, False
        self._show()

    def action_next_order(self) -> None:
        """Sort by the next of them."""
        orders = list(ORDERS)
        self.action_sort(orders[(orders.index(self._order) + 1) % len(orders)])

    def action_reverse(self) -> None:
        """Turn the order round."""
        self._backwards = not self._backwards
        self._show()

    def action_pause(self) -> None:
        """Stop looking, or go on."""
        self._paused = not self._paused
        self._show()

    def action_door(self) -> None:
        """Show or hide the door's listeners and routes; these come with the next look."""
        self._door.display = not self._door.display
        self._show()

    def action_detail(self) -> None:
        """Show or hide the marked application's ways out; they come with the next look."""
        self._detail.display = not self._detail.display
        self._show()

    def action_filter(self) -> None:
        """Ask for a part of names."""
        self._field.display = True
        self._field.focus()

    def action_clear_filter(self) -> None:
        """Show all names."""
        self._field.value = ""
        self.on_input_submitted()

    def on_input_changed(self, event: Input.Changed) -> None:
        """While it is typed."""
        self._filter = event.value
        self._show()

    def on_input_submitted(self) -> None:
        """It is complete."""
        self._field.display = False
        self._table.focus()
