"""The active suspicions: the accused, the record version that they must exceed, and the time they have to do so.

Rules (SWIM, Das et al., DSN 2002, section 4.2, with (generation, version) in place of incarnations):
- a suspicion ends when a record of the accused is received that is newer than the suspicion's record version;
- every node starts a timer when it learns of the suspicion; when its timer expires, it considers the accused down;
- a suspicion that is received again, even with a higher record version, never gives the accused more time;
- a suspicion is kept after the accused is down, so that later joiners receive it, and so that the accused, when it
  returns, knows which version it has to exceed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..identity import Identity
from .member_list import Member
from .record import MemberRecord, RecordVersion, Suspicion
from .settings import GossipSettings


def suspicion_timeout_s(settings: GossipSettings, members: int) -> float:
    """Return the time that a suspect has to refute; more in a larger cluster, where news spreads in more rounds."""
    return settings.suspicion_rounds * settings.heartbeat_interval_s * max(1.0, math.log10(max(1, members)))


def newest_possible(member: Member, members: int, interval_s: float, now: float) -> RecordVersion:
    """Return an upper bound on the version that the member's own record can have now.

    The bound is generous: it allows for two changes per interval and for the rounds in which news spreads. A live
    member exceeds any bound, so a high one does no harm. With a tight bound, survivors that have slightly different
    records of a dead member would refute each other's suspicions of it.
    """
    silent_intervals = math.ceil(member.heartbeat_age_s(now) / interval_s)
    rounds_of_news = math.ceil(math.log2(members + 1))
    generation, version = member.record.record_version
    return RecordVersion(generation, version + 2 * (1 + silent_intervals) + rounds_of_news)


@dataclass(frozen=True, slots=True)
class _ActiveSuspicion:
    suspicion: Suspicion
    expires_at: float | None
    """None once it has expired: the accused is down."""


class Suspicions:
    """The suspicions that this node knows and that are not refuted."""

    def __init__(self) -> None:
        self._active: dict[Identity, _ActiveSuspicion] = {}

    def get(self, accused: Identity) -> Suspicion | None:
        active = self._active.get(accused)
        return None if active is None else active.suspicion

    def start(self, suspicion: Suspicion, expires_at: float) -> None:
        """Start the timer of a member that is not suspected yet."""
        assert suspicion.accused not in self._active, suspicion
        self._active[suspicion.accused] = _ActiveSuspicion(suspicion, expires_at)

    def raise_version(self, suspicion: Suspicion) -> bool:
        """Raise the record version of an active suspicion; return False if the given one is no higher."""
        active = self._active[suspicion.accused]
        if suspicion.record_version <= active.suspicion.record_version:
            return False
        self._active[suspicion.accused] = replace(active, suspicion=suspicion)
        return True

    def refute(self, record: MemberRecord) -> Suspicion | None:
        """Remove and return the suspicion that the record refutes; None if there is none."""
        suspicion = self.get(record.identity)
        if suspicion is None or record.record_version <= suspicion.record_version:
            return None
        del self._active[record.identity]
        return suspicion

    def drop(self, accused: Identity) -> None:
        self._active.pop(accused, None)

    def expire(self, now: float) -> list[Identity]:
        """Return the members whose timers have expired by ``now``; each is returned once."""
        expired = [
            accused
            for accused, active in self._active.items()
            if active.expires_at is not None and active.expires_at <= now
        ]
        for accused in expired:
            self._active[accused] = replace(self._active[accused], expires_at=None)
        return expired

    def next_expiry(self) -> float | None:
        return min((s.expires_at for s in self._active.values() if s.expires_at is not None), default=None)

    def postpone(self, by_s: float) -> None:
        """Extend all timers: this node was paused and may have missed the refutations."""
        for accused, active in self._active.items():
            if active.expires_at is not None:
                self._active[accused] = replace(active, expires_at=active.expires_at + by_s)

    def most_relevant(self, receiver: Identity, limit: int) -> tuple[Suspicion, ...]:
        """Return suspicions to send to a member.

        A suspicion of the receiver comes first, then those whose timers run, then those of members that are down; the
        latest come first within each group.
        """
        latest_first: Iterable[_ActiveSuspicion] = reversed(list(self._active.values()))
        ranked = sorted(latest_first, key=lambda s: (s.suspicion.accused != receiver, s.expires_at is None))
        return tuple(active.suspicion for active in ranked[:limit])
