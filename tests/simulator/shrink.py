"""Shrinks a failing schedule by delta debugging: removes halves, quarters, single faults while it still fails."""

from __future__ import annotations

from collections.abc import Callable

from .random_run import RunResult, run


def shrink(failed: RunResult, show: Callable[[str], None]) -> RunResult:
    """Return the result of the shortest schedule found that breaks one of the same rules; ``show`` gets progress."""
    broken = {violation.rule for violation in failed.violations}
    best, length = failed, max(1, len(failed.schedule) // 2)
    while True:
        begin, shorter = 0, False
        while begin < len(best.schedule):
            kept = best.schedule[:begin] + best.schedule[begin + length :]
            result = run(failed.options, kept)
            if broken & {violation.rule for violation in result.violations}:
                best, shorter = result, True
                show(f"{len(best.schedule)} faults left")
            else:
                begin += length
        if length == 1 and not shorter:
            return best
        length = max(1, length // 2)
