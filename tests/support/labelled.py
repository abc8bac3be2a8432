"""Cells whose application has a label, and tells of it."""

import subprocess
import sysconfig
from pathlib import Path

from tests.support.cell_spec import Outcome, python
from tests.support.default_cell import DEFAULT, run_default

from cloister.model.fences import Fences
from cloister.model.isolation import Bind

TELL = """
print(open('/proc/self/attr/current').read().rstrip('\\0\\n'))
for name in ('open', 'secret'):
    try:
        print(name, open('/shown/' + name).read())
    except PermissionError:
        print(name, 'denied')
"""


def write_files(folder: Path) -> None:
    """Two that everybody may read by their modes."""
    for name in ("open", "secret"):
        (folder / name).write_text("words")
        (folder / name).chmod(0o644)


def tell(folder: Path, fences: Fences = DEFAULT) -> Outcome:
    """What the application is called, and which of the files it reads."""
    return run_default(*python(TELL), fences=fences, binds=(Bind(str(folder), "/shown"),))


def lines(outcome: Outcome) -> list[str]:
    """What it said, in a cell that was made and ended well."""
    assert outcome.failure is None, outcome.failure
    assert outcome.status == 0, outcome
    return outcome.output.splitlines()


def run(*options: str) -> subprocess.CompletedProcess[str]:
    """The same question to ``cloister run``."""
    cloister = str(Path(sysconfig.get_path("scripts")) / "cloister")
    command = [cloister, "run", *options, "--", "cat", "/proc/self/attr/current"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
