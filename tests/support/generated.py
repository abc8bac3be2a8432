"""Comparing what a generator makes with the files under ``tests/golden/generate``."""

from pathlib import Path

from tests.conftest import Golden

from cloister.generate.file import Generated

GOLDENS = Path(__file__).parents[1] / "golden" / "generate"


def check_goldens(golden: Golden, case: str, generated: Generated) -> None:
    """Compares each file, below ``case/`` at its own path, and ``case/next`` with the modes,
    owners and next steps; a file that is no longer generated is an error."""
    folder = GOLDENS / case
    places = [folder / file.path.lstrip("/") for file in generated.files]
    summary = [f"{file.mode:04o} {file.owner}:{file.group} {file.path}" for file in generated.files]
    golden.check(folder / "next", "\n".join([*summary, "", *generated.next_steps, ""]))
    for place, file in zip(places, generated.files, strict=True):
        golden.check(place, file.text)
    found = {path for path in folder.rglob("*") if path.is_file()}
    assert found == {folder / "next", *places}
