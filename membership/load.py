"""When a load report differs enough from the one that was told to be worth telling."""

from __future__ import annotations

from .record import LoadReport

RELATIVE_STEP = 0.2
"""A fifth of the larger value, for what goes up and down."""
HOLDINGS_STEP = 0.01
"""A hundredth, for keys and bytes: people read these."""

SMALLEST_STEP = LoadReport(in_flight=8, queue_depth=4, service_time_ms=1.0, cpu=0.1, keys=1, bytes=1)
"""Differences below these are noise, however large they are relative to a small value."""


def moved(told: LoadReport, measured: LoadReport) -> bool:
    """Whether any part of the load moved by its threshold."""
    return (
        _stepped(told.in_flight, measured.in_flight, SMALLEST_STEP.in_flight)
        or _stepped(told.queue_depth, measured.queue_depth, SMALLEST_STEP.queue_depth)
        or _stepped(told.service_time_ms, measured.service_time_ms, SMALLEST_STEP.service_time_ms)
        or _stepped(told.cpu, measured.cpu, SMALLEST_STEP.cpu)
        or _stepped(told.keys, measured.keys, SMALLEST_STEP.keys, HOLDINGS_STEP)
        or _stepped(told.bytes, measured.bytes, SMALLEST_STEP.bytes, HOLDINGS_STEP)
    )


def _stepped(told: float, measured: float, smallest: float, relative: float = RELATIVE_STEP) -> bool:
    return abs(measured - told) >= max(smallest, relative * max(told, measured))
