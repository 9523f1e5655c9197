"""Seeds that have found bugs: their options, and the bug that each found."""

from __future__ import annotations

from typing import NamedTuple

from .faults import Schedule
from .random_run import RunOptions


class Regression(NamedTuple):
    options: RunOptions
    found: str
    """One sentence."""
    schedule: Schedule | None = None
    """The shrunk schedule; None for the one that the seed draws."""


REGRESSIONS = [
    Regression(
        RunOptions(8), "nodes that started again on two sides of a cut never heard of each other after it"
    ),
    Regression(
        RunOptions(4),
        "a handoff that takes longer over one chunk than a change waits for progress never ends",
    ),
    Regression(
        RunOptions(1795551960, lasts_s=40.0), "a change waits for a joiner that left before it heard of it"
    ),
    Regression(
        RunOptions(11),
        "a write that was lost at a node whose clock had been far ahead hides what its client saw later",
    ),
]
