"""Figures of many samples, and how they are written."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of all values are not above; 0 when there are none."""
    if not values:
        return 0.0
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


@dataclass(frozen=True)
class Spread:
    """The median of what several rounds measured, and the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    def text(self) -> str:
        if self.least == self.most:
            return written(self.median)
        median, least, most = (written(value) for value in (self.median, self.least, self.most))
        return f"{median} ({least}..{most})"


def written(value: float) -> str:
    """Three digits that count, or whole numbers."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
