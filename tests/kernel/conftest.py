"""What several tests of cells need."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import packages
from tests.support.cell_rootfs import STRANGER


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


@pytest.fixture(scope="session")
def busybox() -> str:
    """A static program: it runs in a root without any library."""
    packages.need("busybox-static")
    return "/usr/bin/busybox" if Path("/usr/bin/busybox").exists() else "/bin/busybox"


@pytest.fixture
def image(open_folder: Path, busybox: str) -> Path:
    """A root folder of root's with one program and a few files, and no folders for mounts."""
    folder = open_folder / "image"
    (folder / "bin").mkdir(parents=True)
    shutil.copy(busybox, folder / "bin" / "busybox")
    (folder / "etc").mkdir()
    (folder / "etc" / "release").write_text("image\n")
    (folder / "etc" / "link").symlink_to("release")
    (folder / "lib").symlink_to("etc")
    (folder / "data").mkdir()
    return folder


@pytest.fixture
def hostile(image: Path) -> Path:
    for path in (image, *image.rglob("*")):
        os.chown(path, STRANGER, STRANGER, follow_symlinks=False)
    return image


@pytest.fixture
def canary() -> Iterator[Path]:
    """A folder of the host into which nothing may ever be put."""
    folder = Path("/etc/cloister-canary")
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    try:
        yield folder
        assert list(folder.iterdir()) == []
    finally:
        shutil.rmtree(folder)
