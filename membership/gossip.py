"""The gossip state machine: the members of the cluster, which of them are alive, and what to do next.

It follows SWIM (Das et al., DSN 2002), with scuttlebutt's digests and deltas (van Renesse et al., LADIS 2008) in place
of piggybacked updates. It does no I/O and reads no clock. A driver passes in the time, a random source and received
messages, and performs the returned directives in order.

Promises:
- every member learns of every other through any one contact, and holds its newest record after a few rounds;
- a crashed member is down in the view of every survivor within a bounded time after the first of them probed it;
- a live member that learns of a suspicion within the suspicion timeout is not down in any view;
- each member that is down or suspect is contacted several times per interval, by all other members in total. So the
  sides of a healed partition find each other, and a new process at such a member's address learns of the cluster at
  once;
- the size of a message, and the number of messages per interval, are bounded in a cluster of any size.

What must never happen: a node writes the record of another member; an older record replaces a newer one; an old record
brings back a member that left; an owner is forgotten.

What the driver must do: call ``tick`` every heartbeat interval, and ``expire`` at the time of ``next_expiry``. An
exchange is ``ExchangeWith`` here, ``answer_exchange`` there, ``receive`` here with the answer, ``records_newer_than``
here for what the answer wants, and ``receive`` there with that. When an exchange fails for any reason, including a
refusal because the message was for another node, call ``exchange_failed``.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TypedDict, Unpack

from ..identity import Identity
from .detector import FailureDetector, ProbeSchedule
from .directives import (
    Directive,
    DuplicateIdentity,
    ExchangeWith,
    MemberJoined,
    MemberLeft,
    Refuted,
)
from .dissemination import DeltaPacker, ExchangeAnswer, Pushes, digest_of, newer_here, newer_there
from .member_list import Liveness, Member, MembershipList, RecordChange, is_news
from .record import (
    Condition,
    DigestEntry,
    HandoffProgress,
    LoadReport,
    MemberRecord,
    Status,
    Suspicion,
    differs_notably,
)
from .settings import GossipSettings

DUPLICATE_VERSION_LEAD = 1000
"""Distance by which a node raises its version above that of a duplicate, so that changes of the duplicate do not exceed
it before the duplicate has received this record."""
LOAD_REFRESH_HEARTBEATS = 10
"""Heartbeats after which a load report that changed by less than its threshold is sent anyway."""


class OwnChanges(TypedDict, total=False):
    """The fields of its record that a node may change."""

    status: Status
    address: str
    zone: str
    weight: float
    epoch: int
    load: LoadReport
    handoff: HandoffProgress | None
    condition: Condition
    mark: int


class Gossip:
    """One node's part in the gossip. All times are monotonic seconds."""

    def __init__(self, me: MemberRecord, settings: GossipSettings, rng: random.Random, now: float) -> None:
        self._settings = settings
        self._rng = rng
        self._members = MembershipList(me, now)
        self._packer = DeltaPacker(settings.max_delta_bytes)
        self._schedule = ProbeSchedule(rng)
        self._pushes = Pushes(members=self._members, packer=self._packer, settings=settings, rng=rng)
        self._detector = FailureDetector(
            members=self._members,
            schedule=self._schedule,
            pushes=self._pushes,
            settings=settings,
            rng=rng,
            now=now,
        )
        self._owners: frozenset[Identity] = frozenset()
        self._load_sent_at_heartbeat = me.heartbeat

    # --- this node's own record ---

    @property
    def me(self) -> MemberRecord:
        return self._members.me.record

    @property
    def heartbeat_interval_s(self) -> float:
        return self._settings.heartbeat_interval_s

    def update_self(
        self, now: float, also_to: Iterable[Identity] = (), **changes: Unpack[OwnChanges]
    ) -> list[Directive]:
        """Change this node's record; push important changes to a few members and to ``also_to``."""
        self._detector.note_activity(now)
        before = self.me
        after = replace(before, **changes)
        if not self._load_changed(before, after):
            after = replace(after, load=before.load)
        if after == before:
            return []
        if after.load != before.load:
            self._load_sent_at_heartbeat = after.heartbeat
        self._rewrite(replace(after, version=before.version + 1), now)
        return (
            list(self._pushes.announce([self._members.me], also_to=also_to)) if is_news(before, after) else []
        )

    def set_owners(self, owners: Iterable[Identity]) -> None:
        """Set the owners of the current epoch, which are never forgotten, even if they are down for long."""
        self._owners = frozenset(owners)

    def _load_changed(self, before: MemberRecord, after: MemberRecord) -> bool:
        stale = after.heartbeat - self._load_sent_at_heartbeat >= LOAD_REFRESH_HEARTBEATS
        return stale or differs_notably(before.load, after.load)

    def _rewrite(self, record: MemberRecord, now: float) -> None:
        change = self._members.merge(record, now)
        assert change is not None, "a node's own record only becomes newer"

    # --- the round ---

    def tick(self, now: float) -> list[Directive]:
        """Run one heartbeat: expire suspicions, forget members, and exchange with the next member of the round.

        At most one further exchange is with a member that is down or suspect, with a probability that grows with their
        number.
        """
        self._detector.note_activity(now)
        self._pushes.next_interval()
        me = self.me
        self._rewrite(replace(me, version=me.version + 1, heartbeat=me.heartbeat + 1), now)
        directives = self.expire(now)
        self._forget_long_gone(now)
        self._detector.probe_overdue(now)
        return [*directives, *self._exchange_with_next(), *self._exchange_with_one_unreachable()]

    def expire(self, now: float) -> list[Directive]:
        """Mark the members down whose suspicion has expired. Call it at ``next_expiry``, not only at a tick."""
        self._detector.note_activity(now)
        return self._detector.expire(now)

    def next_expiry(self) -> float | None:
        """Return when the next suspicion expires; None if none does."""
        return self._detector.suspicions.next_expiry()

    def _exchange_with_next(self) -> list[Directive]:
        candidates = [member.identity for member in self._members.others() if member.in_doubt_or_alive]
        chosen = self._schedule.next(candidates)
        return [] if chosen is None else [self._exchange_with(chosen)]

    def _exchange_with_one_unreachable(self) -> list[Directive]:
        """Return at most one exchange, with a random member that is suspect or down.

        The probability is such that all members together contact each of these ``unreachable_probes`` times per
        interval.
        """
        others = [member for member in self._members.others() if not member.left]
        unreachable = [member.identity for member in others if member.liveness is not Liveness.ALIVE]
        wanted = len(unreachable) * self._settings.unreachable_probes
        if not unreachable or self._rng.random() * len(others) >= wanted:
            return []
        return [self._exchange_with(self._rng.choice(unreachable))]

    def _exchange_with(self, identity: Identity) -> ExchangeWith:
        member = self._members.get(identity)
        assert member is not None, identity
        digest = digest_of(self._members, self._settings.max_digest_entries, self._rng)
        return ExchangeWith(
            identity=identity,
            address=member.record.address,
            digest=digest,
            suspicions=self._suspicions_for(identity),
        )

    def _suspicions_for(self, receiver: Identity) -> tuple[Suspicion, ...]:
        return self._detector.suspicions.most_relevant(receiver, self._settings.max_suspicions)

    def _forget_long_gone(self, now: float) -> None:
        for member in self._members.others():
            gone = member.left or member.liveness is Liveness.DOWN
            long_ago = now - member.since >= self._settings.forget_after_s
            if gone and long_ago and member.identity not in self._owners:
                self._forget(member)

    def _forget(self, member: Member) -> None:
        suspicion = self._detector.suspicions.get(member.identity)
        record_version = member.record.record_version
        self._members.forget(
            member.identity,
            record_version if suspicion is None else max(record_version, suspicion.record_version),
        )
        self._detector.forget(member.identity)
        self._packer.forget(member.identity)

    # --- exchanges and pushes ---

    def answer_exchange(
        self, source: Identity, digest: Sequence[DigestEntry], suspicions: Sequence[Suspicion], now: float
    ) -> tuple[ExchangeAnswer, list[Directive]]:
        """Return the second step of an exchange that ``source`` began."""
        self._detector.note_activity(now)
        directives = self._receive_suspicions(suspicions, source, now)
        self._detector.note_contact(source, now)
        accused = {suspicion.accused for suspicion in suspicions}
        answer = ExchangeAnswer(
            records=self._pack(newer_here(self._members, digest), first=accused),
            wanted=newer_there(self._members, digest),
            suspicions=self._suspicions_for(source),
        )
        return answer, directives

    def records_newer_than(self, wanted: Sequence[DigestEntry]) -> tuple[MemberRecord, ...]:
        """Return the third step: the records that the other side asked for, as far as they fit."""
        named = {entry.identity for entry in wanted}
        return self._pack(
            [member for member in newer_here(self._members, wanted) if member.identity in named]
        )

    def receive(
        self, source: Identity, records: Sequence[MemberRecord], suspicions: Sequence[Suspicion], now: float
    ) -> list[Directive]:
        """Merge what ``source`` sent, whether in an answer, a third step, a push, or at first contact."""
        self._detector.note_activity(now)
        directives: list[Directive] = []
        fresh: list[Member] = []
        for record in records:
            directives += self._merge(record, now, fresh)
        if fresh:
            directives += self._pushes.relay(fresh, (), source=source)
        directives += self._receive_suspicions(suspicions, source, now)
        return directives + self._detector.note_message(source, now)

    def _pack(self, members: Iterable[Member], first: Collection[Identity] = ()) -> tuple[MemberRecord, ...]:
        return self._packer.pack(members, self._members.size(), first)

    def _merge(self, record: MemberRecord, now: float, fresh: list[Member]) -> list[Directive]:
        """Merge one record; append the member to ``fresh`` if the change is to be relayed at once."""
        if record.identity == self.me.identity:
            return self._receive_own_record(record, now)
        change = self._members.merge(record, now)
        if change is None:
            return []
        events = self._events_of(change, now)
        if events or self._is_relayed(change):
            fresh.append(change.after)
        return events

    def _events_of(self, change: RecordChange, now: float) -> list[Directive]:
        record = change.after.record
        if change.after.left:
            self._detector.forget(record.identity)
            return [MemberLeft(record)] if change.left else []
        if change.joined:
            return [MemberJoined(record)]
        return self._detector.clear(record, now)

    def _is_relayed(self, change: RecordChange) -> bool:
        """Return True if the change is to be relayed; an epoch is not, since every member reports its epoch itself."""
        before, after = change.before, change.after.record
        return before is not None and is_news(replace(before.record, epoch=after.epoch), after)

    def _receive_own_record(self, record: MemberRecord, now: float) -> list[Directive]:
        """Handle a record of this node's identity: its own, that of an earlier process, or that of a duplicate."""
        mine = self.me
        echo = record.process == mine.process and record.record_version <= mine.record_version
        if echo or record.generation < mine.generation:
            return []
        if record.outranks(mine) or record.record_version < mine.record_version:
            return [DuplicateIdentity(record)]
        self._rewrite(replace(mine, version=record.version + DUPLICATE_VERSION_LEAD), now)
        return [DuplicateIdentity(record), *self._pushes.announce([self._members.me])]

    # --- suspicions ---

    def _receive_suspicions(
        self, suspicions: Sequence[Suspicion], source: Identity, now: float
    ) -> list[Directive]:
        directives: list[Directive] = []
        relayed: list[Suspicion] = []
        for suspicion in suspicions:
            if suspicion.accused == self.me.identity:
                directives += self._refute(suspicion, source, now)
            elif self._members.record_version(suspicion.accused) > suspicion.record_version:
                directives += self._defend(suspicion, source)
            else:
                events, is_new = self._detector.receive(suspicion, now)
                directives += events
                relayed += [suspicion] if is_new else []
        if relayed:
            directives += self._pushes.relay((), tuple(relayed), source=source)
        return directives

    def _refute(self, suspicion: Suspicion, source: Identity, now: float) -> list[Directive]:
        """Refute a suspicion of this node: raise its version above that of the suspicion, and push its record."""
        direct = (source, suspicion.accuser)
        generation, version = suspicion.record_version
        if suspicion.record_version < self.me.record_version:
            return list(self._pushes.send(direct, [self._members.me]))
        if generation != self.me.generation:
            return []
        self._rewrite(replace(self.me, version=version + 1), now)
        return [
            Refuted(suspicion.accuser),
            *self._pushes.announce([self._members.me], also_to=direct),
        ]

    def _defend(self, suspicion: Suspicion, source: Identity) -> list[Directive]:
        """Send the newer record held here to the sender and the accuser of an outdated suspicion."""
        member = self._members.get(suspicion.accused)
        if member is None:
            return []
        return list(self._pushes.send((source, suspicion.accuser), [member]))

    # --- outcomes of probes ---

    def exchange_failed(self, identity: Identity, now: float) -> list[Directive]:
        self._detector.note_activity(now)
        return self._detector.exchange_failed(identity, now)

    def probe_failed(self, identity: Identity, now: float) -> list[Directive]:
        """Report that no helper reached the member in time."""
        self._detector.note_activity(now)
        return self._detector.probe_failed(identity, now)

    def probe_succeeded(self, identity: Identity, now: float) -> None:
        """Report that a helper reached the member."""
        self._detector.note_activity(now)
        self._detector.probe_succeeded(identity)

    # --- the view ---

    def members(self) -> list[Member]:
        """Return every known member, this node included, by identity."""
        return sorted(self._members.all(), key=lambda member: member.identity)

    def alive(self) -> list[Member]:
        """Return the members that are alive in this node's view, itself included, by identity."""
        return [member for member in self.members() if member.alive]

    def member(self, identity: Identity) -> Member | None:
        return self._members.get(identity)

    def conflicting_name(self, identity: Identity) -> Member | None:
        """Return a member that is not down and has the same name on another disk."""
        return next(
            (
                m
                for m in self.members()
                if m.in_doubt_or_alive
                and m.identity.name == identity.name
                and m.identity.disk_id != identity.disk_id
            ),
            None,
        )

    def conflicting_identity(self, record: MemberRecord) -> Member | None:
        """Return the member of this identity if it is not down and its known address is another one.

        If the known process still answers there, a process of another generation is refused.
        """
        known = self._members.get(record.identity)
        if known is None or not known.in_doubt_or_alive or known.record.address == record.address:
            return None
        return known
