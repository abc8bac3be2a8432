"""The samples of all rounds, their medians and their ratios to the baseline."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from .measures import Measure, Sample
from .peers import BASELINE, DIRECT, HANDED_OFF, OURS


@dataclass(frozen=True)
class Promise:
    """A bound that the door keeps."""

    key: str
    bound: float
    #: Whether the bound is a share of the baseline's value; otherwise it is the value.
    relative: bool
    text: str
    peer: str = OURS
    #: What the value is a share of.
    baseline: str = BASELINE
    #: Whether the bound is the least value; otherwise it is the largest.
    least: bool = False


PROMISES = (
    Promise("M1", 0.9, True, "CPU per connection at most 0.90 of stock haproxy's"),
    Promise("M2", 0.55, True, "CPU per GiB down at most 0.55 of stock haproxy's"),
    Promise("M2u", 0.25, True, "CPU per GiB up at most 0.25 of stock haproxy's"),
    Promise("M3", 0.25, True, "p50 of a small round trip at most 0.25 of stock haproxy's"),
    Promise(
        "M3n", 1.05, True, "small round trips a second at least 1.05 of stock haproxy's", least=True
    ),
    Promise("M4", 320.0, False, "at most 320 bytes per idle connection"),
    Promise(
        "M1", 0.3, True, "CPU per handed-off connection at most 0.3 of stock haproxy's", HANDED_OFF
    ),
    Promise("M2", 0.01, True, "no CPU for a handed-off download", HANDED_OFF),
    Promise("M2u", 0.01, True, "no CPU for a handed-off upload", HANDED_OFF),
    Promise(
        "M3", 1.15, True, "p50 of a handed-off round trip as without the door", HANDED_OFF, DIRECT
    ),
)


@dataclass
class Results:
    """Samples by measure and peer, one list entry per round; a failed run is ``None``."""

    samples: dict[tuple[str, str], list[Sample | None]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, measure: str, peer: str, sample: Sample | None) -> None:
        """Appends one round's sample."""
        self.samples.setdefault((measure, peer), []).append(sample)

    def values(self, measure: Measure, peer: str) -> list[float | None]:
        """The measure's value in each round."""
        samples = self.samples.get((measure.key, peer), [])
        return [None if sample is None else measure.value(sample) for sample in samples]

    def median(self, measure: Measure, peer: str) -> float | None:
        """The median of all rounds; ``None`` where one of them failed or there is none."""
        return _median(self.values(measure, peer))

    def also(self, measure: Measure, peer: str, title: str) -> float | None:
        """The median of one of the measure's further values."""
        further = (measure.also or {})[title]
        samples = self.samples.get((measure.key, peer), [])
        return _median([None if sample is None else further(sample) for sample in samples])

    def ratio(self, measure: Measure, peer: str, baseline: str = BASELINE) -> float | None:
        """The median of the rounds' ratios to the baseline.

        The two runs of one ratio were made seconds apart, so what slows the machine for
        minutes does not count.
        """
        pairs = zip(self.values(measure, peer), self.values(measure, baseline), strict=False)
        return _median([a / b if a is not None and b else None for a, b in pairs])

    def kept(self, promise: Promise, measures: Sequence[Measure]) -> tuple[bool, float] | None:
        """Whether the promise holds, and the number that says so; ``None`` if not measured."""
        measure = next((one for one in measures if one.key == promise.key), None)
        if measure is None:
            return None
        if promise.relative:
            value = self.ratio(measure, promise.peer, promise.baseline)
        else:
            value = self.median(measure, promise.peer)
        if value is None:
            return None
        return (value >= promise.bound if promise.least else value <= promise.bound), value


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known and len(known) == len(values) else None
