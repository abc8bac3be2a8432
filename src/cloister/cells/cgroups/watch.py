"""Tells when an application meets its limits, without asking again and again.

The kernel wakes who waits for ``memory.events`` and ``pids.events`` of version 2, and by an
eventfd for memory of version 1 (``cgroup.event_control``). Throttling wakes nobody, nor does
``pids.events`` of version 1 since Linux 6.11, where the file that is woken is another one
(pids_event() in kernel/cgroup/pids.c): these are looked at now and then.
"""

import asyncio
import contextlib
import os
import select
from collections.abc import Callable
from dataclasses import fields

from cloister.cells.cgroups.app_group import AppGroup
from cloister.cells.cgroups.counters import Counters

SETTLING = 0.2
"""Seconds between a wake-up and the look at the counters: what wakes is told before the kernel
has killed anybody, and a storm of refusals is one line."""
PAUSE = 10.0
"""Seconds in which one application is told of once, however often it meets its limits."""
SLOW = 10.0
"""Seconds between looks at what wakes nobody."""

Tell = Callable[[str, Counters], None]
"""An application's name, and what has come since the last call."""


class Watcher:
    """Watches groups on the running event loop, whose thread alone may call it."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        # Files of control groups wake by POLLPRI, which loops do not wait for: an epoll of our
        # own does, and is itself something that a loop can wait for.
        self._epoll = select.epoll()
        self._loop.add_reader(self._epoll.fileno(), self._woken)
        self._watches: dict[str, _Watch] = {}
        self._slow = self._loop.call_later(SLOW, self._look_at_all)

    def add(self, group: AppGroup) -> None:
        """Watch the group of one more application; again is once."""
        if group.name not in self._watches:
            watch = self._watches[group.name] = _Watch(group)
            watch.register(self._epoll)

    def remove(self, name: str) -> None:
        """Watch it no longer."""
        watch = self._watches.pop(name, None)
        if watch is not None:
            watch.close(self._epoll)

    def close(self) -> None:
        """Watch nothing any more. Idempotent."""
        for name in list(self._watches):
            self.remove(name)
        self._slow.cancel()
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

    def _woken(self) -> None:
        for descriptor, _ in self._epoll.poll(0):
            for watch in self._watches.values():
                if descriptor in watch.descriptors and watch.timer is None:
                    watch.timer = self._loop.call_later(SETTLING, self._look, watch)

    def _look(self, watch: "_Watch") -> None:
        news = watch.news()
        if news is not None:
            self._tell(watch.group.name, news)
        # Each descriptor is good for one wake-up (EPOLLONESHOT): the next one may come when
        # enough time has passed that a storm of them is no storm of lines.
        pause = PAUSE if news is not None else 0.0
        watch.timer = self._loop.call_later(pause, self._rearm, watch)

    def _rearm(self, watch: "_Watch") -> None:
        watch.timer = None
        if watch.closed:
            return
        watch.rearm(self._epoll)
        if watch.has_news():
            watch.timer = self._loop.call_later(SETTLING, self._look, watch)

    def _look_at_all(self) -> None:
        self._slow = self._loop.call_later(SLOW, self._look_at_all)
        for watch in self._watches.values():
            if watch.timer is None and watch.has_news():
                self._look(watch)


class _Watch:
    """One application's descriptors, and the counters that were told."""

    def __init__(self, group: AppGroup) -> None:
        self.group = group
        self.timer: asyncio.TimerHandle | None = None
        self.closed = False
        self._told = group.counters()
        self._files: list[int] = []
        self._eventfd: int | None = None
        self._open()

    @property
    def descriptors(self) -> list[int]:
        """Those that wake."""
        return [*self._files, *(() if self._eventfd is None else (self._eventfd,))]

    def has_news(self) -> bool:
        """Whether a limit was met since the last :meth:`news`."""
        return self.group.counters() != self._told

    def news(self) -> Counters | None:
        """What has come since the last call."""
        now = self.group.counters()
        before, self._told = self._told, now
        if now == before:
            return None
        names = [one.name for one in fields(Counters)]
        return Counters(*(max(0, getattr(now, one) - getattr(before, one)) for one in names))

    def register(self, epoll: select.epoll) -> None:
        """Have them wake for the first time."""
        for descriptor in self.descriptors:
            epoll.register(descriptor, self._events(descriptor))
        self._drain()

    def rearm(self, epoll: select.epoll) -> None:
        """Have them wake once more."""
        self._drain()
        for descriptor in self.descriptors:
            epoll.modify(descriptor, self._events(descriptor))

    def close(self, epoll: select.epoll) -> None:
        """Let go of everything."""
        self.closed = True
        if self.timer is not None:
            self.timer.cancel()
        for descriptor in self.descriptors:
            epoll.unregister(descriptor)
            os.close(descriptor)

    def _events(self, descriptor: int) -> int:
        kind = select.EPOLLIN if descriptor == self._eventfd else select.EPOLLPRI
        return kind | select.EPOLLONESHOT

    def _drain(self) -> None:
        """A file of control groups wakes for what comes after it was read (kernfs)."""
        for descriptor in self._files:
            with contextlib.suppress(OSError):
                os.pread(descriptor, 4096, 0)
        if self._eventfd is not None:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._eventfd)

    def _open(self) -> None:
        for controller, file in (("memory", "memory.events"), ("pids", "pids.events")):
            found = self.group.folder(controller)
            if found is None:
                continue
            folder, version = found
            # Without it the slow look finds the same, later.
            with contextlib.suppress(OSError):
                if version == 1 and controller == "memory":
                    self._open_version_1(folder)
                else:
                    self._files.append(os.open(f"{folder}/{file}", os.O_RDONLY | os.O_CLOEXEC))

    def _open_version_1(self, folder: str) -> None:
        eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            control = os.open(f"{folder}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
            try:
                with open(f"{folder}/cgroup.event_control", "wb", buffering=0) as register:  # noqa: PTH123
                    register.write(f"{eventfd} {control}".encode())
            finally:
                os.close(control)
        except OSError:
            os.close(eventfd)
            raise
        self._eventfd = eventfd
