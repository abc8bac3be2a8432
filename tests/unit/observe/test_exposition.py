"""The text format, byte by byte."""

import math

import pytest

from cloister.observe.exposition import counter, gauge, histogram, labels, number, render


def test_families_with_help_type_and_samples() -> None:
    families = (
        counter("a_total", "What\nit is \\ does.", [((), 1), (labels(x="y"), 2.5)]),
        gauge("b", "Nothing is known.", []),
        gauge("c_bytes", "Now.", [(labels(app="a", path='x"\\\n'), 2**63)]),
    )
    assert render(families) == (
        "# HELP a_total What\\nit is \\\\ does.\n"
        "# TYPE a_total counter\n"
        "a_total 1\n"
        'a_total{x="y"} 2.5\n'
        "# HELP c_bytes Now.\n"
        "# TYPE c_bytes gauge\n"
        'c_bytes{app="a",path="x\\"\\\\\\n"} 9223372036854775808\n'
    )


def test_a_histogram_counts_what_is_below_each_bound() -> None:
    assert render([histogram("h_seconds", "H.", (0.1, 1.0), (3, 0, 2), 7.25)]) == (
        "# HELP h_seconds H.\n"
        "# TYPE h_seconds histogram\n"
        'h_seconds_bucket{le="0.1"} 3\n'
        'h_seconds_bucket{le="1.0"} 3\n'
        'h_seconds_bucket{le="+Inf"} 5\n'
        "h_seconds_sum 7.25\n"
        "h_seconds_count 5\n"
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0"),
        (1.5e-7, "1.5e-07"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
        (1_700_000_000.5, "1700000000.5"),
    ],
)
def test_numbers_as_the_format_writes_them(value: float, written: str) -> None:
    assert number(value) == written
