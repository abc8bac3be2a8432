"""What several tests of cells need."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def root() -> None:
    """Skips the test unless it runs as root: it gives cells users of their own."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes cells under other users, mounts and device files")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder on the host that every user may enter, as tmp_path is not."""
    folder = Path(tempfile.mkdtemp(prefix="cloister-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
