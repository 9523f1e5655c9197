"""Seeds that found something, kept so that it stays found: what they were run with, and what it was."""

from __future__ import annotations

from typing import NamedTuple

from .faults import Schedule
from .trial import Options


class Regression(NamedTuple):
    options: Options
    found: str
    """One sentence."""
    schedule: Schedule | None = None
    """The shrunk one; None: what the seed draws."""


REGRESSIONS: list[Regression] = []
