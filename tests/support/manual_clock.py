"""A clock that is set by the test."""

from __future__ import annotations


class ManualClock:
    def __init__(self, wall_ms: int = 1_700_000_000_000) -> None:
        self.now_s = 0.0
        self.wall = wall_ms
        self.cpu_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def wall_ms(self) -> int:
        return self.wall

    def process_cpu_s(self) -> float:
        return self.cpu_s
