"""Where the lines of an application are kept."""

import os
from collections.abc import Callable, Mapping

from cloister.apps import journal
from cloister.apps.log_files import LogFiles
from cloister.apps.logs import Keeper, Level
from cloister.apps.output_files import OutputKeeper
from cloister.model.app import App
from cloister.model.lifecycle import LogTarget
from cloister.model.snapshot import Paths


def target(app: App) -> LogTarget:
    """Where they go on this machine: never ``AUTO``."""
    if app.log.target is not LogTarget.AUTO:
        return app.log.target
    return LogTarget.JOURNAL if journal.is_there() else LogTarget.FILES


def keeper(
    app: App,
    paths: Paths,
    say: Callable[[str, Level], None],
    environment: Mapping[str, str] = os.environ,
) -> Keeper | None:
    """What keeps them; ``None`` where nothing does. ``say`` is told, in any thread, what is
    wrong with files that the configuration names."""
    kept = _log_keeper(app, paths, environment)
    return kept if app.log.output is None else OutputKeeper(app.log.output, kept, say)


def _log_keeper(app: App, paths: Paths, environment: Mapping[str, str]) -> Keeper | None:
    match target(app):
        case LogTarget.JOURNAL:
            # Where the supervisor's own output is the journal, each line would be in it twice.
            return journal.Journal(alone=journal.is_output(environment))
        case LogTarget.FILES:
            path = paths.app_log(app.name)
            return LogFiles(path, size=app.log.size, files=app.log.files)
        case _:
            return None
