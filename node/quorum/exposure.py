"""Where a write may have been applied: what decides whether a failed one may have happened."""

from __future__ import annotations

from dataclasses import dataclass

from ..messages import MergeResult
from .pipes import Outcome, Undelivered


@dataclass
class Exposure:
    """Of one write, over all its attempts."""

    unanswered: int = 0
    applied: int = 0

    @property
    def maybe_applied(self) -> bool:
        return self.unanswered > 0 or self.applied > 0

    def note(self, outcome: Outcome) -> None:
        """What came of one that was unanswered."""
        if applied(outcome):
            self.unanswered -= 1
            self.applied += 1
        elif not remains_open(outcome):
            self.unanswered -= 1


def applied(outcome: Outcome) -> bool:
    """Whether the replica holds the write now, or a newer one."""
    return isinstance(outcome, MergeResult) and not outcome.below_floor


def remains_open(outcome: Outcome) -> bool:
    """Whether the replica may have applied the write although it did not say so."""
    return isinstance(outcome, Undelivered) and outcome.maybe_applied
