"""Fixtures for every kind of test."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# How long one example takes says more about the machine than about the code.
settings.register_profile("project", deadline=None)
settings.load_profile("project")

WriteConfig = Callable[[str], Path]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite-goldens",
        action="store_true",
        help="write what the code makes now into tests/golden, to be reviewed as a diff",
    )


class Golden:
    """Compares with a file under version control, or rewrites it."""

    def __init__(self, rewrite: bool) -> None:
        self._rewrite = rewrite

    def check(self, path: Path, text: str) -> None:
        if self._rewrite:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            return
        assert path.exists(), f"{path} is missing; run: pytest --rewrite-goldens"
        assert text == path.read_text(), f"{path} is stale; run: pytest --rewrite-goldens"


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(request.config.getoption("--rewrite-goldens"))


@pytest.fixture
def write_config(tmp_path: Path) -> WriteConfig:
    """Writes a configuration into a folder of its own, with the supervisor's folders apart.

    The text may say ``{folder}`` for the configuration file's own folder.
    """

    def write(text: str) -> Path:
        folder = tmp_path / "configuration"
        folder.mkdir(exist_ok=True)
        path = folder / "cloister.toml"
        path.write_text(text.replace("{folder}", str(folder)))
        return path

    return write


@pytest.fixture
def as_root() -> None:
    """Skips the test unless it runs as root."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes users, namespaces or mounts")
