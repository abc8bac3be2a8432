"""The table for people and docs/benchmarks.md."""

import dataclasses
import datetime
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from .measures import Measure
from .peers import BASELINE, DIRECT, HANDED_OFF, OURS, Peer
from .results import PROMISES, Promise, Results

TEMPLATE = Path(__file__).resolve().parent.parent / "benchmarks.template.md"


def _cell(results: Results, measure: Measure, peer: str) -> str:
    value = results.median(measure, peer)
    if value is None:
        return "-" if (measure.key, peer) not in results.samples else "failed"
    text = f"{value:,.{measure.digits}f}"
    ratio = results.ratio(measure, peer)
    return text if peer in {BASELINE, DIRECT} or ratio is None else f"{text} ({ratio:.2f}x)"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        return "| " + " | ".join(cells) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(head), rule, *(line(row) for row in rows)])


def main_table(results: Results, measures: Sequence[Measure], peers: Sequence[str]) -> str:
    """Medians, with the ratio to the baseline in brackets."""
    head = ["", *(f"{measure.key}: {measure.title}" for measure in measures)]
    return _table(
        head, [[peer, *(_cell(results, measure, peer) for measure in measures)] for peer in peers]
    )


def further_table(results: Results, measures: Sequence[Measure], peers: Sequence[str]) -> str:
    """What the same runs say besides."""
    columns = [(measure, title) for measure in measures for title in measure.also or {}]

    def cell(measure: Measure, title: str, peer: str) -> str:
        value = results.also(measure, peer, title)
        if value is None or value == 0:
            return "-"
        return f"{value:,.0f}" if value >= 1000 else f"{value:,.2f}"

    return _table(
        ["", *(title for _, title in columns)],
        [[peer, *(cell(measure, title, peer) for measure, title in columns)] for peer in peers],
    )


def promises(results: Results, measures: Sequence[Measure]) -> list[tuple[bool, str]]:
    """Each promise that was measured: whether it holds, and a line about it."""
    lines = []
    for promise in PROMISES:
        kept = results.kept(promise, measures)
        if kept is not None:
            holds, value = kept
            number = f"{value:.2f}x" if promise.relative else f"{value:,.0f} B"
            word = "kept" if holds else "NOT KEPT"
            line = f"{word}: {promise.key}, {promise.text} ({number})"
            lines.append(
                (holds, line + ("" if holds else _out_of_reach(results, promise, measures)))
            )
    return lines


def _out_of_reach(results: Results, promise: Promise, measures: Sequence[Measure]) -> str:
    """Whether no proxy at all would keep a promise on this machine."""
    without = results.kept(dataclasses.replace(promise, peer=DIRECT), measures)
    if not promise.relative or without is None or without[0]:
        return ""
    return f"; on this machine {without[1]:.2f}x without any proxy"


def better_elsewhere(
    results: Results, measures: Sequence[Measure], peers: Sequence[str]
) -> list[str]:
    """Where another proxy beats the door, said plainly."""
    lines = []
    for measure in measures:
        ours = _standing(results, measure, OURS)
        if ours is None:
            continue
        for peer in peers:
            theirs = _standing(results, measure, peer)
            if peer in {OURS, HANDED_OFF, DIRECT} or theirs is None:
                continue
            if theirs > ours if measure.larger_is_better else theirs < ours:
                shares = f"{theirs:.2f}x against {ours:.2f}x"
                lines.append(f"{measure.key}: {peer} is better than {OURS} ({shares})")
    return lines


def _standing(results: Results, measure: Measure, peer: str) -> float | None:
    """What peers are compared by: the ratio, which a machine that changes does not move."""
    return 1.0 if peer == BASELINE else results.ratio(measure, peer)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def machine() -> str:
    """Kernel, cores and how busy they were; no names of hosts."""
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    return (
        f"Linux {platform.release().split('-')[0]} on {platform.machine()}, {cores} cores"
        f" ({_processor()}), load average {load:.1f} at the end"
    )


def versions(peers: Sequence[Peer]) -> str:
    """One line per peer."""
    return "\n".join(
        f"- {peer.name}: {peer.version_text()}" + (f" ({peer.note})" if peer.note else "")
        for peer in peers
    )


def document(
    results: Results,
    measures: Sequence[Measure],
    peers: Sequence[Peer],
    rows: Sequence[str],
    command: str,
) -> str:
    """The whole of docs/benchmarks.md."""
    worse = better_elsewhere(results, measures, rows)
    values: Mapping[str, str] = {
        "COMMAND": command,
        "DATE": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "MACHINE": machine(),
        "VERSIONS": versions(peers),
        "TABLE": main_table(results, measures, rows),
        "FURTHER": further_table(results, measures, rows),
        "PROMISES": "\n".join(f"- {line}" for _, line in promises(results, measures)) or "None.",
        "WORSE": "\n".join(f"- {line}" for line in worse) or "On no measure.",
        "FAILURES": "\n".join(f"- {line}" for line in results.failures) or "None.",
    }
    text = TEMPLATE.read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text
