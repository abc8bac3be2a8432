"""What a configuration of Unit's names has to be there, in the root that it is looked for in."""

import json
import os
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from cloister.config import source
from cloister.config.load import build
from cloister.config.surroundings import Surroundings
from cloister.model.errors import ConfigError


def found(folder: Path, **application: Any) -> list[tuple[str, str]]:
    surroundings = Surroundings(PurePosixPath(folder), os.geteuid(), {}, lambda name: None)
    text = json.dumps({"applications": {"a": application}})
    try:
        build(source.parse("unit.json", text), surroundings, check_files=True)
    except ConfigError as error:
        return [
            (one.code, one.where.key.removeprefix("/applications/a/")) for one in error.problems
        ]
    return []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("bin", "root/bin", "venv/bin", "empty"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("bin/program", "root/bin/program", "venv/bin/python"):
        (tmp_path / name).touch(mode=0o755)
    (tmp_path / "bin" / "data").touch(mode=0o644)
    return tmp_path


def test_a_program(folder: Path) -> None:
    def external(executable: str, **more: Any) -> list[tuple[str, str]]:
        return found(folder, type="external", executable=executable, **more)

    assert external("bin/program") == []
    assert external("program", working_directory="bin") == []
    assert external("bin/none") == [("missing-file", "executable")]
    assert external("bin/program/none") == [("missing-file", "executable")]
    assert external("bin") == [("wrong-file-type", "executable")]
    assert external("bin/data") == [("wrong-file-type", "executable")]
    assert external("bin/program", working_directory="none") == [
        ("missing-file", "working_directory"),
        ("missing-file", "executable"),
    ]


def test_a_program_in_a_root_of_its_own(folder: Path) -> None:
    def rooted(root: str) -> list[tuple[str, str]]:
        isolation = {"rootfs": root}
        return found(folder, type="external", executable="/bin/program", isolation=isolation)

    assert rooted(f"{folder}/root") == []
    assert rooted(f"{folder}/root/") == []
    assert rooted(f"{folder}/empty") == [("missing-file", "executable")]
    assert rooted(f"{folder}/none") == [("missing-file", "isolation/rootfs")]


def test_python(folder: Path) -> None:
    def python(**more: Any) -> list[tuple[str, str]]:
        return found(folder, type="python", module="web", **more)

    assert python(path=["bin"], home="venv") == []
    assert python(home="empty") == [("missing-file", "home")]
    assert python(path=["bin", "none"]) == [("missing-file", "path/1")]
    assert python(path="none") == [("missing-file", "path")]
    # In a root its own folders count, and a link there may lead to the host's interpreter.
    (folder / "root" / "app").mkdir()
    (folder / "root" / "venv" / "bin").mkdir(parents=True)
    (folder / "root" / "venv" / "bin" / "python").symlink_to("/usr/bin/python3")
    rooted = {"rootfs": f"{folder}/root"}
    assert python(path="/app", home="/venv", isolation=rooted) == []
    assert python(path=str(folder), isolation=rooted) == [("missing-file", "path")]
    bare = {**rooted, "automount": {"language_deps": False}}
    assert python(path="/app", isolation=bare) == [
        ("missing-file", "isolation/automount/language_deps")
    ]
