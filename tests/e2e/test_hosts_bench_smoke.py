"""The benchmark of the hosts directory runs, and its time does not grow with the folders."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

KINDS = ["new", "remembered", "any", "unknown"]


@pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo builds the benchmark")
@pytest.mark.timeout(400)
def test_ten_thousand_folders_are_looked_up_as_fast_as_ten() -> None:
    command = ["cargo", "bench", "--locked", "--quiet", "--profile", "dev", "-p", "cloister-door"]
    command += ["--bench", "hosts_directory", "--", "10", "10000"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=380, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    medians = {(int(row[0]), row[1]): float(row[2]) for row in rows}
    assert list(medians) == [(number, kind) for number in (10, 10_000) for kind in KINDS]
    for kind in ("new", "remembered", "unknown"):
        # A scan would take hundreds of times as long.
        assert medians[10_000, kind] < 10 * medians[10, kind], medians
