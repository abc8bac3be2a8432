"""What holds for every configuration file. The fuzzing target and the tests share this module."""

from pathlib import PurePosixPath

from cloister.config import load, source
from cloister.config.problems import Code
from cloister.config.surroundings import Surroundings
from cloister.model.errors import ConfigError
from cloister.model.snapshot import Snapshot

FILE = "fuzzed.toml"
CODES = {code.value for code in Code}
SURROUNDINGS = Surroundings(
    folder=PurePosixPath("/srv/site"),
    uid=0,
    environment={"HOME": "/root"},
    find_program=lambda name: f"/usr/bin/{name}",
)


def configuration(content: bytes) -> None:
    """A snapshot, or problems that say what is wrong and on which line. Twice the same."""
    first = outcome(content)
    assert outcome(content) == first, "the outcome depends on nothing else"
    if isinstance(first, Snapshot):
        return
    assert first, "a refusal names a problem"
    lines = content.count(b"\n") + 1
    for problem in first:
        assert problem.code in CODES
        assert problem.what, problem
        for text in (problem.what, problem.where.key, problem.why or "", problem.hint or ""):
            assert text.isprintable(), problem
        assert problem.where.file == FILE
        assert problem.where.line is None or 1 <= problem.where.line <= lines, problem


def outcome(content: bytes) -> Snapshot | list[object]:
    """What the file's content means; nothing on this machine is looked at."""
    try:
        document = source.decode(FILE, content)
        return load.build(document, SURROUNDINGS, check_files=False)
    except ConfigError as error:
        return list(error.problems)
