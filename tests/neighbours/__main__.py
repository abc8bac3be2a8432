"""Measures the quiet application's response times beside each attack, against those of quiet
moments of the same run.

``NEIGHBOURS_ROUNDS`` (default 5), ``NEIGHBOURS_SECONDS`` (default 4) for each measurement,
``NEIGHBOURS_REPORT``: a file that is written anew.
"""

import os
import platform
import statistics
import sys
import time
from pathlib import Path

from tests.neighbours.scene import ATTACKS, MEMORY, Latencies, Visitor, attack, both, calm

PROMISE = 2.0
"""The p99 beside an attack is at most this much of the quiet one."""


def main() -> int:
    rounds = int(os.environ.get("NEIGHBOURS_ROUNDS", "5"))
    seconds = float(os.environ.get("NEIGHBOURS_SECONDS", "4"))
    measured: dict[str, list[tuple[Latencies, Latencies]]] = {name: [] for name in ATTACKS}
    with both() as up:
        visitor = Visitor(up)
        visitor.ask_for(seconds)  # every path was walked once
        for number in range(rounds):
            for name in ATTACKS:
                quiet = visitor.ask_for(seconds)
                attack(up, name)
                beside = visitor.ask_for(seconds)
                calm(up)
                measured[name].append((quiet, beside))
                print(
                    f"neighbours: round {number + 1}, {name}:"
                    f" p99 {quiet.percentile(0.99) * 1000:.2f} ms quiet,"
                    f" {beside.percentile(0.99) * 1000:.2f} ms beside it",
                    flush=True,
                )
        visitor.close()
    table, kept = summary(measured)
    print(table)
    report = os.environ.get("NEIGHBOURS_REPORT")
    if report:
        Path(report).write_text(document(table, rounds, seconds))
    print(
        "neighbours: " + ("kept" if kept else f"NOT KEPT: p99 at most {PROMISE:g} times the quiet")
    )
    return 0 if kept or not report else 1


def summary(measured: dict[str, list[tuple[Latencies, Latencies]]]) -> tuple[str, bool]:
    """A table of medians over the rounds, and whether the promise is kept."""
    lines = [
        "| in the application beside | quiet p50 | p50 | quiet p99 | p99 | p99 ratio | |",
        "|---|---|---|---|---|---|---|",
    ]
    all_kept = True
    for name, pairs in measured.items():
        values = [
            statistics.median(pair[side].percentile(share) for pair in pairs) * 1000
            for share in (0.5, 0.99)
            for side in (0, 1)
        ]
        ratio = statistics.median(
            beside.percentile(0.99) / quiet.percentile(0.99) for quiet, beside in pairs
        )
        kept = ratio <= PROMISE
        all_kept = all_kept and kept
        cells = " | ".join(f"{value:.2f} ms" for value in values)
        lines.append(f"| {name} | {cells} | {ratio:.2f} | {'kept' if kept else 'NOT KEPT'} |")
    return "\n".join(lines), all_kept


def document(table: str, rounds: int, seconds: float) -> str:
    date = time.strftime("%Y-%m-%d", time.gmtime())
    load = os.getloadavg()[0]
    return f"""\
# Noisy neighbours

Written by `make bench-neighbours` on {date}; do not edit: run it again.

Linux {platform.release()} on {platform.machine()}, {os.cpu_count()} cores, load average \
{load:.1f} at the end.

One supervisor runs two applications with TLS behind the door. One does what its row says, with
all that its limits let it have: the defaults of every application, and `memory = "{MEMORY}M"`. The
other one is asked, on one connection, one request after the other, by a client that waits for no
processor (SCHED_FIFO), as one on another machine would not. Medians of {rounds} rounds,
in each of which every attack is measured for {seconds:g} s right after as many quiet seconds; the
ratio is the median of the rounds' own ratios. An attack is measured from the moment in which it
has come to where it is stopped: it is refused, or killed, or its lines are lost, and a fork bomb
and a processor spinner give way to the others, a second after they began.

{table}

Promised: a p99 of at most {PROMISE:g} times the quiet one.
"""


if __name__ == "__main__":
    sys.exit(main())
