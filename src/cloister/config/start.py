"""Which configuration a supervisor starts with: the file, or the one that was accepted last.

The accepted one, if it came from this file and one of these holds:

* the last supervisor ended without stopping (killed, power cut): what ran then runs again,
  whatever somebody has begun to write into the file since;
* nobody has edited the file since it was last read: a change that came through the control
  API stays.

Otherwise the file. After a stop, an edited file counts, as everybody expects.
"""

import os
import re
import time
from dataclasses import replace

from cloister.config import json_text, load, toml_text
from cloister.config.accepted import AcceptedStore
from cloister.model.configuration import Accepted, Configuration, Start
from cloister.model.errors import CloisterError, ConfigError
from cloister.model.snapshot import Snapshot, default_paths

_STATE = re.compile(
    r"""^[ \t]*"?(?:cloister\.)?state-directory"?\s*[=:]\s*["'](/[^"'\\]*)["']""", re.MULTILINE
)


def choose(path: str, *, file_only: bool = False) -> Start:
    """Reads and checks what is to be run. Blocks for the file system.

    ``file_only``: the file counts in any case. Raises :class:`ConfigError` for a file that
    counts and cannot be used.
    """
    configuration, snapshot, problem = _read(path)
    state = _state_directory(configuration) if snapshot is None else snapshot.paths.state
    folder = replace(default_paths(os.geteuid(), os.environ), state=state).accepted
    store = AcceptedStore(folder)
    found = store.read()
    stored = found.last
    remarks = [f"{error.what}: {error.why}" for error in found.damaged]
    if stored is not None and not file_only and stored.configuration.source == _absolute(path):
        edited = configuration is None or configuration.digest != stored.file
        if store.running or not edited:
            try:
                # A file that is missing by now is the trouble of the one who names it.
                run = load.check(stored.configuration, check_files=False)
            except ConfigError as error:
                remarks.append(f"the last accepted configuration cannot be read: {_first(error)}")
            else:
                if edited:
                    remarks.append(
                        f"{path} has been edited since it was last read, and is not in force: "
                        "the last accepted configuration runs, since the last supervisor did "
                        "not stop; SIGHUP takes the file"
                    )
                return Start(stored, run, True, tuple(remarks))
    if problem is not None or configuration is None or snapshot is None:
        raise problem or CloisterError(f"{path} cannot be read")
    version = 1 if stored is None else stored.version + 1
    accepted = Accepted(version, configuration, configuration.digest, time.time())
    return Start(accepted, snapshot, False, tuple(remarks))


def _read(path: str) -> tuple[Configuration | None, Snapshot | None, ConfigError | None]:
    configuration = None
    try:
        configuration = load.read(path)
        return configuration, load.check(configuration, name=path), None
    except ConfigError as error:
        return configuration, None, error


def _state_directory(configuration: Configuration | None) -> str:
    """What a configuration that cannot be used says of it. What is found there counts only
    if it names this very file."""
    default = default_paths(os.geteuid(), os.environ).state
    if configuration is None:
        return default
    try:
        text = configuration.text
        document = (
            json_text.parse(text)[0] if json_text.looks_like_json(text) else toml_text.parse(text)
        )
        named = document["cloister"]["state-directory"]
    except (ValueError, RecursionError, KeyError, TypeError):
        match = _STATE.search(configuration.text)
        named = match[1] if match else default
    return named if isinstance(named, str) and named.startswith("/") else default


def _absolute(path: str) -> str:
    return os.path.join(os.getcwd(), path)  # noqa: PTH109, PTH118 - as the text has it


def _first(error: ConfigError) -> str:
    problem = error.problems[0]
    return f"{problem.where}: {problem.what}"
