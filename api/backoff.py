"""Exponential backoff with jitter: callers that failed at the same moment do not return at the same moment."""

from __future__ import annotations

from random import Random

Bounds = tuple[float, float]
"""The first pause and the longest one, in seconds."""

_MAX_DOUBLINGS = 62


def doubled_s(failures: int, bounds_s: Bounds) -> float:
    """Return the pause after this many failures beyond the first: each is twice the one before, up to the longest."""
    first_s, longest_s = bounds_s
    return min(longest_s, first_s * float(1 << min(failures, _MAX_DOUBLINGS)))


def jittered_s(pause_s: float, rng: Random) -> float:
    """Return a pause between half of this one and one and a half times this one."""
    return pause_s * (0.5 + rng.random())


def backoff_s(failures: int, bounds_s: Bounds, rng: Random) -> float:
    """Return the pause after this many failures beyond the first, with jitter."""
    return jittered_s(doubled_s(failures, bounds_s), rng)
