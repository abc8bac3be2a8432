"""Columns of fixed widths, for tables within a text of `cloister top`."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Columns:
    """How wide each column is; the last ones have numbers, to the right."""

    widths: tuple[int, ...]
    numbers: int
    """The first column of numbers."""

    def line(self, cells: Sequence[str]) -> str:
        """One cell for each column. What is too long is cut off, but for numbers."""
        fitted = [
            cell.rjust(width) if place >= self.numbers else cell[:width].ljust(width)
            for place, (cell, width) in enumerate(zip(cells, self.widths, strict=True))
        ]
        return " ".join(fitted)
