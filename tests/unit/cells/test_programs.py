"""Finding the programs."""

from pathlib import Path

import pytest

from cloister.cells import programs
from cloister.model.errors import CloisterError


def make(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_beside_the_scripts_first_then_in_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts, elsewhere = tmp_path / "scripts", tmp_path / "elsewhere"
    monkeypatch.setattr(programs.sysconfig, "get_path", lambda _: str(scripts))
    monkeypatch.setenv("PATH", str(elsewhere))
    with pytest.raises(CloisterError, match="cloister-x is not installed") as caught:
        programs.find("cloister-x")
    assert "make install" in str(caught.value.hint)
    second = make(elsewhere, "cloister-x")
    assert programs.find("cloister-x") == str(second)
    first = make(scripts, "cloister-x")
    assert programs.find("cloister-x") == str(first)
    first.chmod(0o644)
    assert programs.find("cloister-x") == str(second)
