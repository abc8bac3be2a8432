#!/usr/bin/env python3
"""Compares the door with other proxies: interleaved rounds, medians, ratios.

Needs the load generator (``cargo build --release`` in ``benches/harness``), the door, and the
Debian packages that ``scripts/bench`` installs.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import shlex
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn, TypeVar

from compare import report
from compare.measures import FULL, MEASURES, QUICK, TINY, Effort, Measure
from compare.peers import BASELINE, DIRECT, Peer, all_peers
from compare.processes import Bench, BenchError
from compare.results import Results

ROOT = Path(__file__).resolve().parent.parent
T = TypeVar("T")
SETTLED_SECONDS = 4


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=None, help="default 5, or ROUNDS=")
    effort = parser.add_mutually_exclusive_group()
    effort.add_argument("--quick", action="store_true", help="two short rounds, under a minute")
    effort.add_argument("--tiny", action="store_true", help="one round of almost nothing")
    parser.add_argument("--peers", help="names with commas between; default all")
    parser.add_argument("--measures", help="keys with commas between; default all")
    parser.add_argument("--door", type=Path, default=ROOT / ".venv/bin/cloister-door")
    parser.add_argument(
        "--harness", type=Path, default=ROOT / "benches/harness/target/release/cloister-bench"
    )
    parser.add_argument("--write", type=Path, help="write the report to this file")
    parser.add_argument("--json", type=Path, help="write every sample to this file")
    parser.add_argument("--check", action="store_true", help="fail where a promise is not kept")
    return parser.parse_args()


def _effort(arguments: argparse.Namespace) -> Effort:
    effort = TINY if arguments.tiny else QUICK if arguments.quick else FULL
    rounds = arguments.rounds or int(os.environ.get("ROUNDS", "0"))
    return dataclasses.replace(effort, rounds=rounds) if rounds else effort


def _chosen(what: str, wanted: str | None, known: dict[str, T]) -> list[T]:
    names = list(known) if wanted is None else [name.strip() for name in wanted.split(",")]
    for name in names:
        if name not in known:
            sys.exit(f"bench: there is no {what} {name!r}; there are: {', '.join(known)}")
    return [known[name] for name in names]


def _sample(
    bench: Bench, measure: Measure, effort: Effort, address: str, pid: int | None
) -> dict[str, int]:
    sample: dict[str, int] = json.loads(bench.load(measure.load(effort), address, pid))
    return sample


def _compare(
    bench: Bench, effort: Effort, measures: list[Measure], peers: list[Peer], *, direct: bool
) -> Results:
    results = Results()
    with contextlib.ExitStack() as stack:
        backend = stack.enter_context(bench.backend())
        running = {peer.name: stack.enter_context(bench.running(peer)) for peer in peers}
        # Hosts' folders are older than this wherever people measure: the door looks twice at
        # one that changed in the last seconds.
        time.sleep(SETTLED_SECONDS)
        for number in range(1, effort.rounds + 1):
            for measure in measures:
                if direct and measure.direct:
                    sample = _sample(bench, measure, effort, backend, None)
                    results.add(measure.key, DIRECT, sample)
                for peer in peers:
                    try:
                        if measure.fresh:
                            with bench.running(peer) as (address, pid):
                                taken = _sample(bench, measure, effort, address, pid)
                        else:
                            taken = _sample(bench, measure, effort, *running[peer.name])
                    except BenchError as error:
                        results.failures.append(
                            f"{measure.key}, {peer.name}, round {number}: {error}"
                        )
                        results.add(measure.key, peer.name, None)
                    else:
                        results.add(measure.key, peer.name, taken)
            print(f"bench: round {number} of {effort.rounds}", file=sys.stderr)
    return results


def _stop(number: int, _frame: object) -> NoReturn:
    """Unwinds, so that every process that was started is ended."""
    sys.exit(128 + number)


def main() -> int:
    """Runs the comparison; 1 if a run failed, or a promise is not kept with ``--check``."""
    arguments = _arguments()
    effort = _effort(arguments)
    known: dict[str, Peer | None] = {DIRECT: None}
    known |= {peer.name: peer for peer in all_peers(arguments.door.resolve())}
    chosen = _chosen("peer", arguments.peers, known)
    peers = [peer for peer in chosen if peer is not None]
    measures = _chosen("measure", arguments.measures, {one.key: one for one in MEASURES})
    if not arguments.harness.exists():
        sys.exit(f"bench: {arguments.harness} is missing; run scripts/bench, which builds it")
    signal.signal(signal.SIGTERM, _stop)

    with tempfile.TemporaryDirectory(prefix="cloister-bench-") as scratch:
        bench = Bench(arguments.harness.resolve(), Path(scratch))
        try:
            results = _compare(bench, effort, measures, peers, direct=None in chosen)
        except BenchError as error:
            sys.exit(f"bench: {error}")

    rows = [DIRECT] * (None in chosen) + [peer.name for peer in peers]
    promised = report.promises(results, measures) if BASELINE in rows else []
    print(report.main_table(results, measures, rows))
    print()
    print(report.further_table(results, measures, rows))
    print()
    for line in (*(line for _, line in promised), *results.failures):
        print(line)
    for line in report.better_elsewhere(results, measures, rows):
        print(line)
    if arguments.json is not None:
        samples = [
            {"measure": measure, "peer": peer, "samples": list(taken)}
            for (measure, peer), taken in results.samples.items()
        ]
        arguments.json.write_text(json.dumps(samples, indent=1) + "\n")
    if arguments.write is not None:
        command = os.environ.get("BENCH_COMMAND") or shlex.join(["benches/run.py", *sys.argv[1:]])
        arguments.write.write_text(report.document(results, measures, peers, rows, command))
    broken = arguments.check and not all(holds for holds, _ in promised)
    return 1 if results.failures or broken else 0


if __name__ == "__main__":
    sys.exit(main())
