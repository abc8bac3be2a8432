#!/usr/bin/env python3
"""How long ``cloister audit --all`` takes among many processes: median of five runs."""

import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

COUNT = 500
RUNS = 5
PROGRAM = Path(__file__).resolve().parent.parent / ".venv/bin/cloister"


def main() -> None:
    with ExitStack() as stack:
        for _ in range(COUNT):
            process = stack.enter_context(subprocess.Popen(["sleep", "300"]))
            stack.callback(process.kill)
        times = []
        for _ in range(RUNS):
            begin = time.perf_counter()
            done = subprocess.run(
                [PROGRAM, "audit", "--all"], check=True, capture_output=True, text=True
            )
            times.append(time.perf_counter() - begin)
    rows = len(done.stdout.splitlines()) - 1
    if rows < COUNT:
        sys.exit(f"bench: only {rows} processes were audited")
    median = f"{statistics.median(times):.2f} s"
    print(f"{rows} processes: {median} (from {min(times):.2f} to {max(times):.2f})")


if __name__ == "__main__":
    main()
