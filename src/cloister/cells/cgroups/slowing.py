"""Which application is slowed down since its processes are killed for memory again and again.

Pure: time is an argument.

To kill a process takes the kernel some milliseconds in which a processor does nothing else: it
looks for the victim, and writes about it to the console, which may be a slow one
(oom_kill_process() in mm/oom_kill.c, console_unlock() in kernel/printk/printk.c). Nothing that
wakes up meanwhile can interrupt that, whatever gives way to it. So what makes processes as fast as
they are killed is bounded in how fast it makes them, and that is by processor time.
"""

OFTEN = 5
"""Kills within :data:`WINDOW` that are too many: a server whose few processes all meet a request
that is too large has fewer, once."""
WINDOW = 2.0
"""Seconds."""
CALM = 5.0
"""Seconds without a kill after which it is over."""


class Slowing:
    """Decides for one application, from one look to the next."""

    def __init__(self, kills: int, now: float) -> None:
        """``kills`` have been until ``now``, in seconds of a clock that does not go back."""
        self._seen = [(now, kills)]
        """Looks within the window, and the last one before it."""
        self._last = now
        """When a kill was seen last."""
        self.slowed = False

    def look(self, kills: int, now: float) -> bool:
        """Whether it is slowed down from now on. ``kills`` are all that have been."""
        if kills > self._seen[-1][1]:
            self._last = now
        self._seen.append((now, kills))
        while now - self._seen[1][0] > WINDOW:
            del self._seen[0]
        if kills - self._seen[0][1] >= OFTEN:
            self.slowed = True
        elif self.quiet(now) >= CALM:
            self.slowed = False
        return self.slowed

    def quiet(self, now: float) -> float:
        """Seconds without a kill."""
        return now - self._last
