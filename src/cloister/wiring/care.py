"""What goes on beside the applications and the door while everything runs."""

import asyncio

from cloister.apps.configuration import RunningConfiguration
from cloister.apps.front_door import DRAIN_TIMEOUT
from cloister.apps.logs import Level, LogEvent, Sink
from cloister.apps.service_manager import ServiceManager
from cloister.apps.supervisor import Supervisor
from cloister.model.errors import CloisterError, ConfigError
from cloister.wiring.announcement import say
from cloister.wiring.companions import Companions


class Care:
    """What goes on while everything runs: reloads, and the watchdog of the supervisor's own
    supervisor."""

    def __init__(
        self,
        supervisor: Supervisor,
        configuration: RunningConfiguration,
        companions: Companions,
        manager: ServiceManager,
        sink: Sink,
    ) -> None:
        self.supervisor = supervisor
        self._configuration = configuration
        self._companions = companions
        self._manager = manager
        self._sink = sink
        self._watch: asyncio.Task[None] | None = None
        self._reloading: asyncio.Task[None] | None = None
        self._wanted = False

    def begin(self) -> None:
        """Everything had its first chance."""
        self._manager.ready("serving")
        if self._manager.watchdog is not None:
            self._watch = asyncio.create_task(self._answer_watchdog(self._manager.watchdog))

    def end(self) -> None:
        """A stop was asked for."""
        apps = self.supervisor.snapshot.apps
        longest = max((app.stop_timeout for app in apps), default=0.0)
        self._manager.stopping(DRAIN_TIMEOUT + longest + 10.0, "stopping")

    def cancel(self) -> None:
        """Nothing goes on."""
        for task in (self._watch, self._reloading):
            if task is not None:
                task.cancel()

    def reload(self) -> None:
        """Take what is on the disk by now: the configuration file, where somebody has edited
        it, the keys of stores, and the door's program. While that is under way the file may
        have been read already: then it is done once more, for all requests of meanwhile."""
        self._wanted = True
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.create_task(self._reload_as_wanted())

    async def _reload_as_wanted(self) -> None:
        while self._wanted:
            self._wanted = False
            await self._reload()

    async def _reload(self) -> None:
        self._manager.reloading()
        status = "serving"
        self._companions.refresh()
        try:
            await self._reread()
            await self.supervisor.replace_door()
        except ConfigError as error:
            status = f"serving; the configuration file was refused: {error}"
            for problem in error.problems:
                details = [
                    f"{name}: {text}"
                    for name, text in (("why", problem.why), ("next", problem.hint))
                    if text
                ]
                message = f"{problem.where}: {problem.what}"
                event = LogEvent("cloister", message, Level.ERROR, tuple(details))
                self._sink.emit(event)
            say(self._sink, f"the configuration stays as it is: {error}", Level.ERROR)
        except CloisterError as error:
            status = f"serving; not everything was reloaded: {error}"
            why = f" ({error.why})" if error.why else ""
            say(self._sink, f"not everything was reloaded: {error}{why}", Level.ERROR)
        self._manager.ready(status)

    async def _reread(self) -> None:
        accepted = await self._configuration.reread()
        if accepted is not None:
            say(self._sink, f"the configuration file is in force: version {accepted.version}")

    async def _answer_watchdog(self, period: float) -> None:
        """A supervisor that hangs says nothing and is ended; a door that hangs is replaced by
        the supervisor itself, which costs less."""
        while True:
            await asyncio.sleep(period)
            if not await self.supervisor.door_answers(period / 2):
                message = "a worker of the door does not answer: the door is ended"
                say(self._sink, message, Level.ERROR)
                self.supervisor.restart_door()
            self._manager.alive()
