"""Reads a configuration file. The only module of ``config`` that the rest needs."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from cloister.config import checks, files, source, validation
from cloister.config.resolve import Report, Surroundings, resolve
from cloister.model.errors import CloisterError, ConfigError, Problem
from cloister.model.snapshot import Snapshot

SYSTEM_FILE = "/etc/cloister/cloister.toml"
LOCAL_FILE = "cloister.toml"
SEARCH_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
"""Where programs are that every cell sees."""


def load(path: str, *, check_files: bool = True) -> Snapshot:
    """Reads, checks and resolves the configuration in ``path``. Blocks for the file system.

    Args:
        path: the file; messages name it as given here.
        check_files: whether everything that the file names has to be there and readable.
            Without it the snapshot serves those who only look, such as ``cloister status``.

    Raises:
        ConfigError: with every problem that was found, in the order of their lines.
    """
    document = source.read(path)
    return build(
        document,
        Surroundings(
            folder=PurePosixPath(Path.cwd(), path).parent,
            uid=os.geteuid(),
            environment=os.environ,
            find_program=lambda name: shutil.which(name, path=SEARCH_PATH),
        ),
        check_files=check_files,
    )


def build(document: source.Source, surroundings: Surroundings, *, check_files: bool) -> Snapshot:
    """Checks and resolves a document that was read already. See :func:`load`."""
    checked = validation.check(document)
    report = Report(document)
    report.problems += checked.problems
    home = _home(surroundings.environment)
    snapshot = resolve(checked, document, surroundings, report)
    checks.check(snapshot, checked, report, home=home)
    if check_files:
        files.check(snapshot, report, uid=surroundings.uid, home=home)
    if report.problems:
        raise ConfigError(sorted(report.problems, key=_position))
    return snapshot


def find(explicit: str | None) -> str:
    """The configuration file to use: the given one, ``./cloister.toml``, or the system's.

    Raises:
        CloisterError: none was given and none is there.
    """
    if explicit is not None:
        return explicit
    for path in (LOCAL_FILE, SYSTEM_FILE):
        if Path(path).exists():
            return path
    raise CloisterError(
        "there is no configuration",
        why=f"neither ./{LOCAL_FILE} nor {SYSTEM_FILE} is there",
        hint="write one with `cloister init`, or name one on the command line",
    )


def _home(environment: Mapping[str, str]) -> str | None:
    home = environment.get("HOME")
    return os.path.normpath(home) if home and home.startswith("/") else None


def _position(problem: Problem) -> int:
    return problem.where.line or 0
