"""Measurement of this node's load, which is gossiped and part of every reply."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from ...membership.record import LoadReport
from ..ports import Clock
from ..storage.interface import Usage

EWMA_WEIGHT = 0.1


class LoadMeter:
    """Counts operations in flight, and averages how long one takes on this replica."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.queue_depth = 0
        """Replica operations being served."""
        self.in_flight = 0
        """Client operations being coordinated."""
        self.idle = asyncio.Event()
        """Set while no client operation is being coordinated."""
        self.idle.set()
        self.service_time_ms = 0.0
        """Moving average of a batch's time on this replica, divided by its operations."""
        self._cpu_share = 0.0
        self._cpu_at = (clock.monotonic(), clock.process_cpu_s())

    @contextmanager
    def serving(self, operations: int) -> Iterator[None]:
        began = self._clock.monotonic()
        self.queue_depth += operations
        try:
            yield
        finally:
            self.queue_depth -= operations
            took_ms = (self._clock.monotonic() - began) * 1000 / max(1, operations)
            self.service_time_ms += EWMA_WEIGHT * (took_ms - self.service_time_ms)

    def began(self, operations: int) -> None:
        """Record that this number of operations begin to be coordinated."""
        self.in_flight += operations
        if self.in_flight:
            self.idle.clear()

    def ended(self, operations: int) -> None:
        self.in_flight -= operations
        if self.in_flight == 0:
            self.idle.set()

    def report(self, usage: Usage) -> LoadReport:
        """Return the report to gossip; CPU is averaged since the previous report."""
        then, cpu_then = self._cpu_at
        now, cpu_now = self._clock.monotonic(), self._clock.process_cpu_s()
        if now > then:
            self._cpu_share = (cpu_now - cpu_then) / (now - then)
            self._cpu_at = (now, cpu_now)
        return LoadReport(
            in_flight=self.in_flight,
            queue_depth=self.queue_depth,
            service_time_ms=round(self.service_time_ms, 3),
            cpu=round(self._cpu_share, 3),
            keys=usage.keys,
            bytes=usage.bytes,
        )
