"""Reads a configuration file. The only module of ``config`` that the rest needs."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from cloister.config import accounts, checks, files, json_text, source, validation
from cloister.config.resolve import resolve
from cloister.config.surroundings import Report, Surroundings
from cloister.config.unit_dialect import build as unit_dialect
from cloister.model.configuration import MAX_BYTES, Configuration
from cloister.model.errors import CloisterError, ConfigError
from cloister.model.snapshot import SYSTEM_FILE, Snapshot

LOCAL_FILE = "cloister.toml"
STANDARD_INPUT = "standard input"
"""What messages call it, in the place of a file's name."""
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
    return _resolve(source.read(path), PurePosixPath(Path.cwd(), path).parent, check_files)


def read(path: str) -> Configuration:
    """The text of a configuration file, unchecked. Raises :class:`ConfigError`."""
    return _configuration(source.read_text(path), path)


def read_standard_input() -> Configuration:
    """The text that is piped in, unchecked. Raises :class:`ConfigError`."""
    content = sys.stdin.buffer.read(MAX_BYTES + 1)
    return _configuration(source.decode_text(STANDARD_INPUT, content), STANDARD_INPUT)


def _configuration(text: str, path: str) -> Configuration:
    return Configuration(text, json_text.dialect_of(text), str(Path.cwd() / path))


def check(
    configuration: Configuration, *, check_files: bool = True, name: str | None = None
) -> Snapshot:
    """As :func:`load`, for a text that was read already. ``name`` is the file's in messages."""
    document = source.parse(name or configuration.source, configuration.text)
    return _resolve(document, PurePosixPath(configuration.source).parent, check_files)


def _resolve(document: source.Source, folder: PurePosixPath, check_files: bool) -> Snapshot:
    surroundings = Surroundings(
        folder=folder,
        uid=os.geteuid(),
        environment=os.environ,
        find_program=lambda name: shutil.which(name, path=SEARCH_PATH),
        find_user=accounts.find_user,
        find_group=accounts.find_group,
    )
    return build(document, surroundings, check_files=check_files)


def build(document: source.Source, surroundings: Surroundings, *, check_files: bool) -> Snapshot:
    """Checks and resolves a document that was read already. See :func:`load`."""
    if unit_dialect.is_unit(document):
        return unit_dialect.build(document, surroundings, check_files=check_files)
    checked = validation.check(document)
    report = Report(document)
    report.problems += checked.problems
    home = _home(surroundings.environment)
    snapshot = resolve(checked, document, surroundings, report)
    checks.check(snapshot, checked, report, home=home)
    if check_files:
        files.check(snapshot, report, uid=surroundings.uid, home=home)
    if report.problems:
        raise ConfigError(sorted(report.problems, key=checks.position))
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
