"""Prometheus' text format, version 0.0.4, written.

By hand: the client library takes 1 MiB of a supervisor that has 40 and uses most of them, for
a registry of its own beside the counters that there are already. ``promtool check metrics``
holds this module to the format and to its conventions.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[tuple[str, str], ...]

_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})


@dataclass(frozen=True, slots=True)
class Sample:
    """One line."""

    value: float
    labels: Labels = ()
    suffix: str = ""
    """What follows the family's name: ``_bucket``, ``_sum``, ``_count`` of a histogram."""


@dataclass(frozen=True, slots=True)
class Family:
    """All samples of one name."""

    name: str
    kind: str
    """``counter``, ``gauge`` or ``histogram``."""
    help: str
    samples: tuple[Sample, ...]


def counter(name: str, text: str, samples: Iterable[tuple[Labels, float]]) -> Family:
    """A number that goes up; its name ends in ``_total``."""
    return Family(name, "counter", text, _samples(samples))


def gauge(name: str, text: str, samples: Iterable[tuple[Labels, float]]) -> Family:
    """A number that goes up and down."""
    return Family(name, "gauge", text, _samples(samples))


def histogram(
    name: str, text: str, bounds: Iterable[float], counts: Iterable[int], total: float
) -> Family:
    """Durations by size. ``counts`` are those of each bucket by itself, one more than bounds."""
    samples = []
    below = 0
    for bound, count in zip((*bounds, math.inf), counts, strict=True):
        below += count
        samples.append(Sample(below, (("le", number(bound)),), "_bucket"))
    samples += [Sample(total, suffix="_sum"), Sample(below, suffix="_count")]
    return Family(name, "histogram", text, tuple(samples))


def labels(**values: str) -> Labels:
    """Labels in the order in which they are given."""
    return tuple(values.items())


def by(
    label: str, values: Mapping[str, float], *, beside: Labels = ()
) -> Iterator[tuple[Labels, float]]:
    """One sample for each key, which becomes the label's value."""
    for key, value in values.items():
        yield (*beside, (label, key)), value


def render(families: Iterable[Family]) -> str:
    """The text; families without a sample are left out."""
    lines: list[str] = []
    for family in families:
        if not family.samples:
            continue
        lines.append(f"# HELP {family.name} {family.help.translate(_HELP_ESCAPES)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        lines += [_line(family.name, sample) for sample in family.samples]
    return "\n".join([*lines, ""])


def number(value: float) -> str:
    """A number as the format writes it; whole ones in full, however large."""
    if isinstance(value, int):
        return str(value)
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    return repr(value)


def _samples(pairs: Iterable[tuple[Labels, float]]) -> tuple[Sample, ...]:
    return tuple(Sample(value, names) for names, value in pairs)


def _line(name: str, sample: Sample) -> str:
    inner = ",".join(f'{key}="{value.translate(_ESCAPES)}"' for key, value in sample.labels)
    return f"{name}{sample.suffix}{f'{{{inner}}}' if inner else ''} {number(sample.value)}"
