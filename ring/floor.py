"""When the floor rises, and to what (docs/ring-changes.md, rules 11 and 12).

Tombstones that are confirmed on all their replicas can be purged once the floor is at or above them, and what was
found damaged can be healed in a later epoch, which any rise brings. Any floor keeps data safe, but not any is wise:

- Every rise is an epoch of its own, under which all running operations start counting anew. So it takes up all
  that is wanted at once, and the next one waits.
- A client's write below the floor is refused. So the floor stays below everything that may still be under way.

Floors and what is wanted of them are timestamps of versions, as the record has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..identity import Identity
from .changes import MemberView
from .epoch import EpochRecord


@dataclass(frozen=True, slots=True)
class FloorWatch:
    """Since when the floor has been where it is; kept by the steward from decision to decision."""

    floor: int = -1
    since: float = 0.0

    def observe(self, record: EpochRecord, now: float) -> FloorWatch:
        return self if record.floor == self.floor else FloorWatch(record.floor, now)


def floor_wanted(record: EpochRecord, members: Mapping[Identity, MemberView], settled: int) -> int | None:
    """The highest floor that a live member waits for, of those at or below ``settled``; None when none does."""
    wanted = (member.floor_wanted for member in members.values() if member.alive)
    return max((floor for floor in wanted if record.floor < floor <= settled), default=None)


LONGEST_INTERVAL_S = 60.0


def floor_interval_s(tombstone_age_s: float, handoff_grace_s: float) -> float:
    """How long a floor stands at least.

    A tenth of the age after which tombstones are collected, so that they are kept little longer than that; but
    no more than LONGEST_INTERVAL_S, since what waits for the floor is kept in memory. And at least twice the
    grace after a handoff: the clean-up waits for it anew in every epoch, and must come to its turn.
    """
    return max(min(tombstone_age_s / 10, LONGEST_INTERVAL_S), 2 * handoff_grace_s)
