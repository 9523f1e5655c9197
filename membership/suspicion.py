"""Standing suspicions: who is accused, up to which freshness, and how long they have to refute.

Rules (SWIM, Das et al., DSN 2002, section 4.2, with (generation, version) in place of incarnations):
- a suspicion stands until a record of the accused that is newer than its freshness is seen, and no longer;
- every node runs its own timer from when it learned of the suspicion; what runs out is down;
- hearing of a suspicion again, even at a higher freshness, never gives the accused more time;
- a suspicion stands on after the accused is down, so that whoever joins later hears of it, and so that the
  accused, when it comes back, knows above what it has to rise.
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
    """How long a suspect has to refute: longer in a larger cluster, where news takes more rounds."""
    return settings.suspicion_rounds * settings.heartbeat_interval_s * max(1.0, math.log10(max(1, members)))


def newest_possible(member: Member, members: int, interval_s: float, now: float) -> RecordVersion:
    """A bound on the freshness that the member's own record can have by now.

    Generous on purpose (two changes per interval, and the rounds that news takes to come here), because it
    costs nothing: an accused that is alive rises above any bound, but survivors who hold slightly different
    records of a dead member would refute each other's suspicions of it if the bound was tight.
    """
    silent_intervals = math.ceil(member.heartbeat_age_s(now) / interval_s)
    rounds_of_news = math.ceil(math.log2(members + 1))
    generation, version = member.record.freshness
    return RecordVersion(generation, version + 2 * (1 + silent_intervals) + rounds_of_news)


@dataclass(frozen=True, slots=True)
class _Standing:
    suspicion: Suspicion
    expires_at: float | None
    """None once it has run out: the accused is down."""


class Suspicions:
    """The suspicions that stand in this node's view."""

    def __init__(self) -> None:
        self._standing: dict[Identity, _Standing] = {}

    def get(self, accused: Identity) -> Suspicion | None:
        standing = self._standing.get(accused)
        return None if standing is None else standing.suspicion

    def accuse(self, suspicion: Suspicion, expires_at: float) -> None:
        """Start the timer of a member that is not accused yet."""
        assert suspicion.accused not in self._standing, suspicion
        self._standing[suspicion.accused] = _Standing(suspicion, expires_at)

    def harden(self, suspicion: Suspicion) -> bool:
        """Take over a higher freshness for one already accused; False if it is no higher."""
        standing = self._standing[suspicion.accused]
        if suspicion.freshness <= standing.suspicion.freshness:
            return False
        self._standing[suspicion.accused] = replace(standing, suspicion=suspicion)
        return True

    def refute(self, record: MemberRecord) -> Suspicion | None:
        """Drop and return the suspicion that the record is newer than; None if there is none."""
        suspicion = self.get(record.identity)
        if suspicion is None or record.freshness <= suspicion.freshness:
            return None
        del self._standing[record.identity]
        return suspicion

    def drop(self, accused: Identity) -> None:
        self._standing.pop(accused, None)

    def expire(self, now: float) -> list[Identity]:
        """Those whose time ran out by ``now``, each once."""
        expired = [
            accused
            for accused, standing in self._standing.items()
            if standing.expires_at is not None and standing.expires_at <= now
        ]
        for accused in expired:
            self._standing[accused] = replace(self._standing[accused], expires_at=None)
        return expired

    def next_expiry(self) -> float | None:
        return min((s.expires_at for s in self._standing.values() if s.expires_at is not None), default=None)

    def postpone(self, by_s: float) -> None:
        """Give all more time: this node was away and may not have heard their answers."""
        for accused, standing in self._standing.items():
            if standing.expires_at is not None:
                self._standing[accused] = replace(standing, expires_at=standing.expires_at + by_s)

    def to_tell(self, listener: Identity, limit: int) -> tuple[Suspicion, ...]:
        """What to tell a member: about itself first, then running ones, then the down, the latest first."""
        latest_first: Iterable[_Standing] = reversed(list(self._standing.values()))
        ranked = sorted(latest_first, key=lambda s: (s.suspicion.accused != listener, s.expires_at is None))
        return tuple(standing.suspicion for standing in ranked[:limit])
