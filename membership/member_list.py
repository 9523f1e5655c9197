"""The membership list: the newest record of each member, and this node's opinion of its liveness.

Rules:
- a record replaces another of the same member only if it is newer;
- liveness is this node's own opinion and is never sent to others;
- the record version of a forgotten member is kept, so that a peer that has not forgotten it yet cannot bring the old
  record back. Only a newer record, written by the member itself, does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from ..identity import Identity
from .record import UNKNOWN_VERSION, MemberRecord, RecordVersion, Status, newer_record

OVERDUE_GAPS = 2.5
"""A heartbeat is overdue after this number of usual gaps. In idle simulated clusters of 5 to 50 nodes, fewer than one
healthy member in a hundred is then overdue."""
GAP_SMOOTHING = 0.2

MAX_FORGOTTEN = 4096
"""Maximum number of forgotten members whose versions are kept; the oldest are dropped."""


class Liveness(StrEnum):
    ALIVE = "alive"
    SUSPECT = "suspect"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Member:
    """The state of a member at one moment. Times are in seconds of this node's monotonic clock."""

    record: MemberRecord
    liveness: Liveness
    """Without meaning once the member has left."""
    since: float
    """When its liveness last changed, or when it became known or left."""
    heartbeat_at: float
    """When a newer heartbeat was last seen, directly or through others."""
    heartbeat_gap_s: float | None
    """Smoothed time between newer heartbeats; None until two were seen."""
    news_at: float
    """When its record last had an important change (see ``is_news``)."""

    @property
    def identity(self) -> Identity:
        return self.record.identity

    @property
    def left(self) -> bool:
        return self.record.status is Status.LEFT

    @property
    def alive(self) -> bool:
        return self.liveness is Liveness.ALIVE and not self.left

    @property
    def in_doubt_or_alive(self) -> bool:
        return self.liveness is not Liveness.DOWN and not self.left

    def heartbeat_age_s(self, now: float) -> float:
        return max(0.0, now - self.heartbeat_at)

    def overdue(self, now: float) -> bool:
        """Return True if its next heartbeat is late compared with earlier gaps: a reason to probe, not to suspect."""
        gap_s = self.heartbeat_gap_s
        return gap_s is not None and self.heartbeat_age_s(now) > OVERDUE_GAPS * gap_s


@dataclass(frozen=True, slots=True)
class RecordChange:
    """The change of the list by a merged record."""

    before: Member | None
    after: Member

    @property
    def joined(self) -> bool:
        came_back = self.before is not None and self.before.left and not self.after.left
        return self.before is None or came_back

    @property
    def left(self) -> bool:
        return self.after.left and self.before is not None and not self.before.left

    @property
    def news(self) -> bool:
        return self.before is None or is_news(self.before.record, self.after.record)


def is_news(before: MemberRecord, after: MemberRecord) -> bool:
    """Return True if the change is pushed; heartbeats, load and bytes handed off are only sent in exchanges."""
    return _essentials(before) != _essentials(after)


def _essentials(record: MemberRecord) -> tuple[object, ...]:
    handed_off = None if record.handoff is None else (record.handoff.epoch, record.handoff.done)
    place = (record.address, record.zone, record.weight, record.protocol)
    return (record.generation, record.status, record.epoch, handed_off, record.condition.in_sync, place)


class MembershipList:
    """All known members, this node included."""

    def __init__(self, me: MemberRecord, now: float) -> None:
        self._my_identity = me.identity
        self._members = {me.identity: _first_heard(me, now)}
        self._forgotten: dict[Identity, RecordVersion] = {}

    @property
    def me(self) -> Member:
        return self._members[self._my_identity]

    def get(self, identity: Identity) -> Member | None:
        return self._members.get(identity)

    def all(self) -> Iterable[Member]:
        """Return every member, this node included, in the order they became known."""
        return self._members.values()

    def others(self) -> list[Member]:
        return [member for member in self._members.values() if member.identity != self._my_identity]

    def size(self) -> int:
        """Return the number of members that have not left, reachable or not."""
        return sum(not member.left for member in self._members.values())

    def merge(self, record: MemberRecord, now: float) -> RecordChange | None:
        """Replace the known record if this one is newer; return the change, None if there is none."""
        if record.record_version <= self.record_version(record.identity):
            return None
        before = self._members.get(record.identity)
        if before is None and record.status is Status.LEFT:
            self._remember_forgotten(record.identity, record.record_version)
            return None
        self._forgotten.pop(record.identity, None)
        after = _first_heard(record, now) if before is None else _updated(before, record, now)
        self._members[record.identity] = after
        return RecordChange(before, after)

    def record_version(self, identity: Identity) -> RecordVersion:
        """Return the version that a record of the member must exceed to be merged."""
        member = self._members.get(identity)
        return (
            self._forgotten.get(identity, UNKNOWN_VERSION) if member is None else member.record.record_version
        )

    def set_liveness(self, identity: Identity, liveness: Liveness, now: float) -> Member:
        """Change this node's opinion of a known member."""
        updated = replace(self._members[identity], liveness=liveness, since=now)
        self._members[identity] = updated
        return updated

    def forget(self, identity: Identity, version: RecordVersion) -> None:
        """Drop a member; only a record newer than ``version`` brings it back."""
        del self._members[identity]
        self._remember_forgotten(identity, version)

    def _remember_forgotten(self, identity: Identity, record_version: RecordVersion) -> None:
        self._forgotten.pop(identity, None)
        self._forgotten[identity] = record_version
        if len(self._forgotten) > MAX_FORGOTTEN:
            del self._forgotten[next(iter(self._forgotten))]


def _first_heard(record: MemberRecord, now: float) -> Member:
    return Member(record, Liveness.ALIVE, since=now, heartbeat_at=now, heartbeat_gap_s=None, news_at=now)


def _updated(before: Member, record: MemberRecord, now: float) -> Member:
    """Return the member with a newer record; the failure detector decides whether that proves it alive."""
    old = before.record
    beat = (record.generation, record.heartbeat) > (old.generation, old.heartbeat)
    returned_or_left = before.left != (record.status is Status.LEFT)
    return Member(
        record=newer_record(old, record),
        liveness=Liveness.ALIVE if returned_or_left else before.liveness,
        since=now if returned_or_left else before.since,
        heartbeat_at=now if beat else before.heartbeat_at,
        heartbeat_gap_s=_smoothed(before, now) if beat else before.heartbeat_gap_s,
        news_at=now if is_news(old, record) else before.news_at,
    )


def _smoothed(before: Member, now: float) -> float:
    gap_s = before.heartbeat_age_s(now)
    known_s = before.heartbeat_gap_s
    return gap_s if known_s is None else known_s + GAP_SMOOTHING * (gap_s - known_s)
