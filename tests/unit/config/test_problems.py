"""Every code of the catalogue has a configuration that brings it about and a pinned message."""

import io
from pathlib import Path, PurePosixPath

import pytest
from tests.conftest import Golden

from cloister.cli.output import print_error
from cloister.config import source
from cloister.config.load import build
from cloister.config.problems import Code
from cloister.config.surroundings import Surroundings
from cloister.model.configuration import MAX_BYTES
from cloister.model.errors import ConfigError

GOLDENS = Path(__file__).parents[2] / "golden" / "config"
NO_DOCUMENT = {Code.FILE_UNREADABLE, Code.FILE_TOO_LARGE}
"""Brought about without a document of their own."""
DOCUMENTS = {path.stem: path for kind in ("toml", "json") for path in GOLDENS.glob(f"*.{kind}")}
CASES = sorted({*DOCUMENTS, *NO_DOCUMENT})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the documents name, and the working directory there."""
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    for name in ("app", "data", "private"):
        Path(name).mkdir(mode=0o755)
    Path("private").chmod(0o700)
    for name, mode in (
        ("certificate.pem", 0o644),
        ("key.pem", 0o640),
        ("exposed.pem", 0o644),
        ("password", 0o600),
        ("app/program", 0o644),
    ):
        Path(name).touch()
        Path(name).chmod(mode)
    Path("root").symlink_to("/")
    with Path("large").open("wb") as large:
        large.truncate(1024 * 1024 + 1)
    return tmp_path


def prepare(case: str) -> None:
    target = Path("cloister.toml")
    if case == Code.FILE_TOO_LARGE:
        target.write_text("#" * (MAX_BYTES + 1))
    elif case != Code.FILE_UNREADABLE:
        target.write_bytes(DOCUMENTS[case].read_bytes())


def problems(folder: Path) -> ConfigError:
    surroundings = Surroundings(
        folder=PurePosixPath(folder),
        uid=0,
        environment={"HOME": "/root"},
        find_program=lambda name: None,
    )
    with pytest.raises(ConfigError) as caught:
        build(source.read("cloister.toml"), surroundings, check_files=True)
    return caught.value


@pytest.mark.parametrize("case", CASES)
def test_message(case: str, folder: Path, golden: Golden) -> None:
    prepare(case)
    error = problems(folder)
    stream = io.StringIO()
    print_error(error, stream)
    golden.check(GOLDENS / f"{case}.txt", stream.getvalue().replace(str(folder), "{folder}"))
    if case in list(Code):
        assert {problem.code for problem in error.problems} == {case}
    for problem in error.problems:
        assert problem.what[-1] not in ".!"
        assert problem.hint or problem.why, f"{problem.what}: says neither why nor what to do"


def test_every_code_has_a_case_and_every_case_a_message() -> None:
    assert {code.value for code in Code} <= set(CASES)
    assert {path.stem for path in GOLDENS.glob("*.txt")} == set(CASES)


def test_the_catalogue_is_pinned() -> None:
    """Scripts know these codes: add to them, and rename or remove none."""
    assert {code.name.lower().replace("_", "-") for code in Code} == {code.value for code in Code}
    assert len(Code) == 49
