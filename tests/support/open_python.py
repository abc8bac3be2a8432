"""A Python with Cloister that every user of the machine may execute.

The tests' own may be in somebody's home folder (pyenv, uv), which no other user enters.
"""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from cloister.cells import programs

SOURCES = Path(__file__).parents[2] / "src"


def open_python(folder: Path) -> str:
    """Its path; where one has to be made, that is in ``folder``. Skips the test where what it
    needs of the checkout is closed to others."""
    libraries = sysconfig.get_path("purelib")
    tools = [programs.find(name) for name in ("cloister-cell", "cloister-door")]
    for needed in (str(SOURCES), libraries, *tools):
        if not open_to_all(needed):
            pytest.skip(f"other users cannot reach {needed}")
    if open_to_all(os.path.realpath(sys.executable)):
        return sys.executable
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    system = f"/usr/bin/python{version}"
    if not Path(system).exists():
        pytest.skip(f"other users cannot reach {sys.executable}, and there is no {system}")
    home = folder / "python"
    subprocess.run([system, "-m", "venv", "--without-pip", str(home)], check=True)
    (packages,) = home.glob("lib/python*/site-packages")
    (packages / "tests.pth").write_text(f"{SOURCES}\n{libraries}\n")
    for tool in tools:
        (home / "bin" / Path(tool).name).symlink_to(tool)
    return str(home / "bin" / "python")


def virtual_environment(python: str, home: Path) -> Path:
    """An empty one below ``home``, whose interpreter everybody may execute if they may
    ``python``; its folder of packages."""
    subprocess.run([python, "-m", "venv", "--without-pip", str(home)], check=True)
    (packages,) = home.glob("lib/python*/site-packages")
    return packages


def open_to_all(path: str) -> bool:
    """Whether the permission bits let everybody come to ``path`` and read or execute it."""
    real = Path(os.path.realpath(path))
    return all(part.stat().st_mode & 0o001 for part in real.parents) and bool(
        real.stat().st_mode & 0o005
    )
