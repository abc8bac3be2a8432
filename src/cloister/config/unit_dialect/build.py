"""The way from a JSON document to a snapshot, where the document is Unit's."""

from collections.abc import Iterable, Iterator

from cloister.config import checks
from cloister.config.problems import Code
from cloister.config.source import JSON, Source
from cloister.config.surroundings import Report, Surroundings
from cloister.config.unit_dialect import files, recognise
from cloister.config.unit_dialect.resolve import parts, resolve
from cloister.config.unit_dialect.syntax import UnitFile
from cloister.config.validation import CheckedAs, check_as
from cloister.model.errors import ConfigError, Problem
from cloister.model.snapshot import Snapshot


def is_unit(document: Source) -> bool:
    """Whether a document is to be read as Unit's."""
    return document.notation is JSON and recognise.is_unit(document.document)


def build(document: Source, surroundings: Surroundings, *, check_files: bool) -> Snapshot:
    """Checks and resolves a document of Unit's.

    Raises:
        ConfigError: with every problem that was found, in the order of their lines.
    """
    checked = check_as(document, UnitFile)
    report = Report(document)
    report.problems += checked.problems
    snapshot = resolve(checked, document.file, surroundings, report)
    _check_listeners(checked, snapshot, report)
    _check_roots(checked, snapshot, report)
    if check_files:
        files.check(checked.file, snapshot, report)
    if report.problems:
        raise ConfigError(sorted(_essential(report.problems), key=checks.position))
    return snapshot


def _check_listeners(checked: CheckedAs[UnitFile], snapshot: Snapshot, report: Report) -> None:
    taken = checks.Taken()
    for key, listener in zip(checked.file.listeners, snapshot.listeners, strict=True):
        (address,) = listener.addresses
        taken.add(address, ("listeners", key.text), report)


def _check_roots(checked: CheckedAs[UnitFile], snapshot: Snapshot, report: Report) -> None:
    for part in parts(checked.file):
        rootfs = part.application.isolation.rootfs
        if rootfs is not None:
            path = (*part.path, "isolation", "rootfs")
            checks.overlap("/" + rootfs.strip("/"), "rootfs", path, snapshot.paths, report)


def _essential(problems: Iterable[Problem]) -> Iterator[Problem]:
    """The problems without what follows from another: of an application of a type that is not
    run, its type alone is told; and each once, though an application may have several parts."""
    problems = list(dict.fromkeys(problems))
    untold = tuple(
        f"{problem.where.key.removesuffix('/type')}/"
        for problem in problems
        if problem.code == Code.UNSUPPORTED and problem.where.key.endswith("/type")
    )
    for problem in problems:
        key = problem.where.key
        if key.endswith("/type") or not key.startswith(untold):
            yield problem
