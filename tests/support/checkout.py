"""This checkout as a guest's second disk: its tests run there as they run here.

The disk is laid out as the repository, with a virtual environment of the guest's own Python in
front of copies of the libraries and programs of this one.
"""

import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.guest import REPOSITORY, Guest

PLACE = Path("/mnt")
"""Where the guest has it, read-only."""
PYTHON = PLACE / ".venv/bin/python"

GUEST_PYTHON = (3, 11)
"""Debian 12's. Compiled libraries are for one version."""

_HOST_ONLY = (
    "uv",
    "uv-*",
    "ruff*",
    "maturin*",
    "mypy*",
    "*__mypyc*",
    "pip*",
    "setuptools*",
    "grimp*",
)
"""Libraries that no test in a guest needs, most of the whole by size."""
_PROGRAMS = ("cloister-door", "cloister-cell")
_COMMAND = f"""\
#!{PYTHON}
import sys

from cloister.cli.main import main

sys.exit(main())
"""


@dataclass(frozen=True)
class Run:
    """What a run of pytest in the guest said."""

    passed: int
    output: str


def payload(folder: Path) -> Path:
    """Collects it in ``folder``, which it makes and returns; skips where this Python's libraries
    are not for the guest's."""
    if sys.version_info[:2] != GUEST_PYTHON:
        pytest.skip("the guest's Python is 3.11, and compiled libraries are for one version")
    folder.mkdir()
    for name in ("src", "tests", "scripts"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    programs = folder / ".venv/bin"
    libraries = folder / ".venv/lib/python3.11/site-packages"
    ignored = shutil.ignore_patterns("__pycache__", *_HOST_ONLY)
    shutil.copytree(sysconfig.get_path("purelib"), libraries, ignore=ignored)
    (libraries / "cloister.pth").write_text(f"{PLACE}/src\n")
    (folder / ".venv/pyvenv.cfg").write_text("home = /usr/bin\n")
    programs.mkdir()
    (programs / "python").symlink_to("/usr/bin/python3")
    for name in _PROGRAMS:
        shutil.copy(REPOSITORY / ".venv/bin" / name, programs)
    (programs / "cloister").write_text(_COMMAND)
    (programs / "cloister").chmod(0o755)
    # Users of the guest go through it; pytest's folders are their owner's alone.
    folder.chmod(0o755)
    return folder


def run_tests(guest: Guest, *arguments: str, limit: float = 1200) -> Run:
    """Runs pytest in the guest; what fails there, or is skipped, fails here.

    ``arguments`` are pytest's; ``limit`` is in seconds.
    """
    options = "-B -m pytest -q -rsfE -p no:cacheprovider --timeout 600"
    answer = guest.run(
        f"cd {PLACE} && PATH={PLACE}/.venv/bin:$PATH {PYTHON} {options} {' '.join(arguments)}",
        limit,
    )
    assert answer.status == 0, answer.output
    print(answer.output)
    summary = answer.output.strip().splitlines()[-1]
    assert "skipped" not in summary, answer.output
    words = summary.replace("=", " ").replace(",", " ").split()
    return Run(int(words[words.index("passed") - 1].strip()), answer.output)
