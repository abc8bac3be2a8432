"""The benchmark runs from end to end: a tiny load, without and with the door."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HARNESS = ROOT / "benches/harness"
DOOR = ROOT / ".venv/bin/cloister-door"

pytestmark = [
    pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo builds the load generator"),
    pytest.mark.skipif(shutil.which("taskset") is None, reason="util-linux is not installed"),
    pytest.mark.skipif(not DOOR.exists(), reason="the door is not installed: make install"),
]


@pytest.fixture(scope="module")
def harness() -> Path:
    """The load generator, built as ``scripts/bench`` builds it."""
    manifest = HARNESS / "Cargo.toml"
    command = ["cargo", "build", "--release", "--locked", "--quiet"]
    command += ["--manifest-path", str(manifest)]
    subprocess.run(command, check=True, timeout=110)
    return HARNESS / "target/release/cloister-bench"


def bench(harness: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, ROOT / "benches/run.py", "--tiny"]
    command += ["--harness", harness, "--door", DOOR, *arguments]
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=60, check=False
    )


def test_every_measure_has_a_value_and_a_report_is_written(harness: Path, tmp_path: Path) -> None:
    written, samples = tmp_path / "benchmarks.md", tmp_path / "samples.json"
    done = bench(
        harness, "--peers", "direct,cloister-door", "--write", str(written), "--json", str(samples)
    )
    assert done.returncode == 0, done.stderr + done.stdout
    values = {
        (entry["measure"], entry["peer"]): entry["samples"]
        for entry in json.loads(samples.read_text())
    }
    ours = {measure for measure, peer in values if peer == "cloister-door"}
    assert ours == {"M1", "M2", "M2u", "M3", "M3n", "M4"}
    assert values["M1", "cloister-door"][0]["connections"] == 100
    assert values["M1", "cloister-door"][0]["cpu_ns"] > 0
    assert values["M3", "direct"][0]["cpu_ns"] == 0
    text = written.read_text()
    assert "| cloister-door" in text
    assert "@" not in text
    assert "failed" not in text.partition("## What is measured")[0]


def test_a_program_that_is_no_proxy_fails_with_its_reason(harness: Path) -> None:
    done = bench(harness, "--peers", "cloister-door", "--measures", "M1", "--door", "/bin/false")
    assert done.returncode == 1
    assert "cloister-door did not start" in done.stderr
