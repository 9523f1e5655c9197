"""Skewed draws: some are drawn much more often than others, as in most real loads."""

from __future__ import annotations

import random


class Zipfian:
    """Ranks from 0 to ``count - 1``; rank i is drawn in proportion to 1 / (i + 1) ** theta.

    The method of Gray et al., "Quickly generating billion-record synthetic databases" (SIGMOD 1994), section 3.2,
    as in YCSB. 0 < theta < 1.
    """

    def __init__(self, count: int, theta: float, rng: random.Random) -> None:
        self._draw = rng.random
        self._count = count
        self._zeta = sum(1 / i**theta for i in range(1, count + 1))
        self._alpha = 1 / (1 - theta)
        self._second = 1 + 0.5**theta
        self._eta = (1 - (2 / count) ** (1 - theta)) / (1 - self._second / self._zeta)

    def rank(self) -> int:
        drawn = self._draw()
        scaled = drawn * self._zeta
        if scaled < 1:
            return 0
        if scaled < self._second:
            return 1
        return min(self._count - 1, int(self._count * (self._eta * drawn - self._eta + 1) ** self._alpha))
