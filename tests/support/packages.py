"""Debian packages that a test needs beside what ``scripts/install`` brings."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "debian-packages"


def need(*names: str) -> None:
    """Installs what is missing as root; skips, with the names, where that cannot be."""
    done = subprocess.run([SCRIPT, *names], check=False, capture_output=True, text=True)
    if done.returncode == 0:
        return
    if os.geteuid() == 0:
        pytest.fail(f"{done.stdout}{done.stderr}")
    pytest.skip(done.stderr)
