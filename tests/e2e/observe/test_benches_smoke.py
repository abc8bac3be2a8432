"""The measurements that promises name run from end to end, over as little as will do."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.usefixtures("as_root")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-m", "benches.doctor", "2", "1"), r"2 apps: [\d.]+ s, [\d.]+ s of processor time"),
        (
            ("benches/top.py", "--apps", "2", "--seconds", "1"),
            r"top: [\d.]+% of a core, a look every [\d.]+ s",
        ),
    ],
    ids=["doctor", "top"],
)
def test_it_measures(arguments: tuple[str, ...], said: str) -> None:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(said, done.stdout)
