"""A soak: mixed traffic through doors that are killed and replaced all the time.

Every byte of every stream is checked. A conversation that a killed process carried may end
early; none may carry a wrong byte or look complete without being so, nobody may be refused,
and what stays must not grow. ``SOAK_SECONDS`` (default 1800), ``SOAK_CLIENTS`` (default 24),
``SOAK_SEED`` (default: another one each time, which is printed).
"""

import asyncio
import collections
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.soak.systems import Size, Supervised, System, kept_hosts, kept_relay
from tests.soak.traffic import Traffic
from tests.support.keyed import Outcome
from tests.support.waiting import wait_until

WARM_UP = 0.1
"""The part of the time after which memory is compared with: every path was walked once."""

GROWTH = 6 * 1024 * 1024
"""Bytes that a process may have grown since then: an allocator gives little back."""

PIPES = 64
"""Descriptors of pipes that a door keeps at most for its next bursts (pipes.rs)."""


async def misfortune(
    systems: list[System], until: float, dice: random.Random, happened: collections.Counter[str]
) -> None:
    """One accident after the other, up to a second and a half apart."""
    while time.monotonic() < until:
        system = dice.choice(systems)
        name = dice.choice(sorted(system.accidents))
        await asyncio.to_thread(system.accidents[name])
        happened[f"{system.name}: {name}"] += 1
        await asyncio.sleep(dice.uniform(0.05, 1.5))


async def report(traffic: Traffic, begun: float, until: float) -> None:
    """A line every half a minute."""
    while time.monotonic() < until:
        await asyncio.sleep(min(30.0, max(0.1, until - time.monotonic())))
        tally = traffic.tally
        say(
            f"{time.monotonic() - begun:6.0f} s: {tally.outcomes.total()} conversations,"
            f" {tally.bytes / 1e6:.0f} MB, {len(tally.faults)} faults"
        )


def say(text: str) -> None:
    print(f"soak: {text}", flush=True)


def settle(systems: list[System]) -> dict[str, Size]:
    """What each process takes once nothing is under way."""
    sizes = {}
    for system in systems:
        wait_until(system.settled, what=f"rest in {system.name}", seconds=60)
        for role, size in system.sizes().items():
            sizes[f"{system.name}: {role}"] = size
    return sizes


def compare(before: dict[str, Size], after: dict[str, Size]) -> list[str]:
    """What has grown."""
    faults = []
    for name, size in after.items():
        old = before[name]
        say(
            f"{name}: {old.descriptors} -> {size.descriptors} descriptors,"
            f" {old.resident >> 10} -> {size.resident >> 10} KiB"
        )
        pool = PIPES if name.endswith("door") else 0
        if size.descriptors > old.descriptors + pool:
            faults.append(f"{name} has {size.descriptors - old.descriptors} descriptors more")
        if size.resident > old.resident + GROWTH:
            faults.append(f"{name} has grown by {(size.resident - old.resident) >> 10} KiB")
    return faults


async def soak(
    systems: list[System], seconds: float, clients: int, seed: int
) -> tuple[list[str], int]:
    """Runs the traffic in two parts around the first measurement; faults and conversations."""
    traffic = Traffic(systems, clients, seed)
    dice = random.Random(seed + 1)
    happened: collections.Counter[str] = collections.Counter()
    sizes = []
    begun = time.monotonic()
    for part in (WARM_UP, 1 - WARM_UP):
        until = time.monotonic() + seconds * part
        async with asyncio.TaskGroup() as group:
            group.create_task(traffic.run(until))
            group.create_task(misfortune(systems, until, dice, happened))
            group.create_task(report(traffic, begun, until))
        sizes.append(await asyncio.to_thread(settle, systems))
    for name, count in sorted(happened.items()):
        say(f"{count:5} x {name}")
    for (name, outcome), count in sorted(
        traffic.tally.outcomes.items(), key=lambda item: (item[0][0], item[0][1].value)
    ):
        say(f"{name}: {count} {outcome.value}")
    complete = sum(
        count
        for (_, outcome), count in traffic.tally.outcomes.items()
        if outcome is Outcome.COMPLETE
    )
    return traffic.tally.faults + compare(*sizes), complete


def main() -> int:
    seconds = float(os.environ.get("SOAK_SECONDS", "1800"))
    clients = int(os.environ.get("SOAK_CLIENTS", "24"))
    seed = int(os.environ.get("SOAK_SEED", str(random.randrange(1 << 30))))
    say(f"{seconds:g} s with {clients} clients, SOAK_SEED={seed}")
    with tempfile.TemporaryDirectory(prefix="cloister-soak-") as folder:
        path = Path(folder)
        path.chmod(0o755)
        systems: list[System] = []
        try:
            (path / "up").mkdir()
            systems.append(Supervised(path / "up"))
            systems += [kept_hosts(path), kept_relay()]
            faults, complete = asyncio.run(soak(systems, seconds, clients, seed))
        finally:
            ends = [system.close() for system in systems]
    say(f"{complete} complete conversations")
    faults += [fault for fault in ends if fault is not None]
    if complete < seconds:
        faults.append("hardly any conversation was complete")
    for fault in faults[:50]:
        say(f"FAULT: {fault}")
    say(f"{len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
