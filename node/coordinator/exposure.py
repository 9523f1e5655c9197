"""Where a write may have been applied: what decides whether a failed one may have happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...quorum.version import Version
from ..messages.data import MergeResult
from .replica_queue import Outcome, Undelivered


@dataclass
class Exposure:
    """Of one write, over all its attempts."""

    unanswered: int = 0
    applied: int = 0
    """Replicas that hold the write, or a newer one."""
    taken: int = 0
    """Those of them that held nothing newer when the write came, so that a read may have returned it."""
    ahead: Version | None = None
    """The version from ahead of all clocks that an acknowledging replica holds instead (see ``write_above``)."""
    on_answered: Callable[[], None] | None = None
    """Callback for when no answer is missing any more."""

    @property
    def maybe_applied(self) -> bool:
        return self.unanswered > 0 or self.applied > 0

    @property
    def maybe_read(self) -> bool:
        """Return whether a read may have returned the write, or may do so later."""
        return self.unanswered > 0 or self.taken > 0

    def note(self, outcome: Outcome) -> None:
        """What came of one that was unanswered."""
        if applied(outcome):
            self.unanswered -= 1
            self.applied += 1
            self.taken += not outrun(outcome)
        elif not remains_open(outcome):
            self.unanswered -= 1
        if not self.unanswered and self.on_answered is not None:
            self.on_answered()


def applied(outcome: Outcome) -> bool:
    """Whether the replica holds the write now, or a newer one."""
    return isinstance(outcome, MergeResult) and not outcome.below_floor


def outrun(outcome: Outcome) -> bool:
    """Return whether the replica took nothing, because it holds a newer version."""
    return isinstance(outcome, MergeResult) and outcome.newer is not None


def remains_open(outcome: Outcome) -> bool:
    """Whether the replica may have applied the write although it did not say so."""
    return isinstance(outcome, Undelivered) and outcome.maybe_applied
