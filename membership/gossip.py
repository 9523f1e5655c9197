"""The gossip state machine: who is in the cluster, how they fare, and what to do next to know it better.

It speaks in the words of SWIM (Das et al., DSN 2002) with scuttlebutt's digests and deltas (van Renesse et
al., LADIS 2008) in place of piggybacked updates. It does no I/O, knows no clock and draws no randomness of
its own: a shell calls it with the time and with what came in, and performs the directives it returns, in
order.

What it promises:
- every member hears of every other through any one contact, and holds its newest record after a few rounds;
- a member that crashed is down in every survivor's view a bounded time after the first of them probed it;
- a member that is alive and hears of its accusation within the suspicion time is not down in anyone's view;
- members that are down or suspect are tried several times per interval by all others together, so that the
  sides of a healed partition find each other, and a process that was started at such a member's address hears
  of the cluster at once;
- what one message carries and what one interval sends stays bounded however large the cluster is.

What must never happen: a record written by anyone but its member; an older record replacing a newer one; a
member that left coming back by an old record; an owner forgotten.

The shell's part. Every heartbeat interval: ``tick``. When ``next_expiry`` is due: ``expire``. An exchange
is ``ExchangeWith`` -> ``answer_exchange`` there -> ``receive`` here and ``records_newer_than`` for what is
wanted -> ``receive`` there. Its failure is ``exchange_failed``, whatever the reason, a refusal for the
wrong destination included.
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
from .member_list import Change, Liveness, Member, View, is_news
from .record import (
    Condition,
    DigestEntry,
    HandoffProgress,
    LoadReport,
    MemberRecord,
    Status,
    Suspicion,
    moved,
)
from .settings import GossipSettings

TWIN_LEAD = 1000
"""How far above a twin's version a node rises: the twin's own changes do not catch up before it has heard of it."""
LOAD_REFRESH_HEARTBEATS = 10
"""A load report that drifted by less than its threshold is told after so many heartbeats all the same."""


class OwnChanges(TypedDict, total=False):
    """What a node may change of its own record."""

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
        self._view = View(me, now)
        self._packer = DeltaPacker(settings.max_delta_bytes)
        self._schedule = ProbeSchedule(rng)
        self._pushes = Pushes(self._view, self._packer, settings, rng)
        self._detector = FailureDetector(self._view, self._schedule, self._pushes, settings, rng, now)
        self._owners: frozenset[Identity] = frozenset()
        self._load_told_at_heartbeat = me.heartbeat

    # --- what this node says of itself ---

    @property
    def me(self) -> MemberRecord:
        return self._view.me.record

    def update_self(
        self, now: float, also_to: Iterable[Identity] = (), **changes: Unpack[OwnChanges]
    ) -> list[Directive]:
        """Change this node's own record; push what is news to a few members, and to those of ``also_to``."""
        self._detector.awake(now)
        before = self.me
        after = replace(before, **changes)
        if not self._load_worth_telling(before, after):
            after = replace(after, load=before.load)
        if after == before:
            return []
        if after.load != before.load:
            self._load_told_at_heartbeat = after.heartbeat
        self._rewrite(replace(after, version=before.version + 1), now)
        return list(self._pushes.say([self._view.me], also_to=also_to)) if is_news(before, after) else []

    def set_owners(self, owners: Iterable[Identity]) -> None:
        """Those whom the epoch gives ranges to are never forgotten, however long they are down."""
        self._owners = frozenset(owners)

    def _load_worth_telling(self, before: MemberRecord, after: MemberRecord) -> bool:
        stale = after.heartbeat - self._load_told_at_heartbeat >= LOAD_REFRESH_HEARTBEATS
        return stale or moved(before.load, after.load)

    def _rewrite(self, record: MemberRecord, now: float) -> None:
        change = self._view.merge(record, now)
        assert change is not None, "a node's own record only grows fresher"

    # --- the round ---

    def tick(self, now: float) -> list[Directive]:
        """One heartbeat: expire, forget, and make an exchange with the next member of the round.

        Also with one that is down or suspect: the likelier, the more there are; at most one a tick.
        """
        self._detector.awake(now)
        self._pushes.next_interval()
        me = self.me
        self._rewrite(replace(me, version=me.version + 1, heartbeat=me.heartbeat + 1), now)
        directives = self.expire(now)
        self._forget_long_gone(now)
        self._detector.hurry(now)
        return [*directives, *self._exchange_with_next(), *self._exchange_with_one_unreachable()]

    def expire(self, now: float) -> list[Directive]:
        """Mark down whose suspicion ran out. Sooner seen at ``next_expiry`` than at the next tick."""
        self._detector.awake(now)
        return self._detector.expire(now)

    def next_expiry(self) -> float | None:
        """When the next suspicion runs out; None if none is running."""
        return self._detector.suspicions.next_expiry()

    def _exchange_with_next(self) -> list[Directive]:
        candidates = [member.identity for member in self._view.others() if member.in_doubt_or_alive]
        chosen = self._schedule.next(candidates)
        return [] if chosen is None else [self._exchange_with(chosen)]

    def _exchange_with_one_unreachable(self) -> list[Directive]:
        """Try one member that is not thought alive.

        All members together try each of them ``unreachable_probes`` times per interval, however many they are.
        """
        others = [member for member in self._view.others() if not member.left]
        unreachable = [member.identity for member in others if member.liveness is not Liveness.ALIVE]
        wanted = len(unreachable) * self._settings.unreachable_probes
        if not unreachable or self._rng.random() * len(others) >= wanted:
            return []
        return [self._exchange_with(self._rng.choice(unreachable))]

    def _exchange_with(self, identity: Identity) -> ExchangeWith:
        member = self._view.get(identity)
        assert member is not None, identity
        digest = digest_of(self._view, self._settings.max_digest_entries, self._rng)
        return ExchangeWith(identity, member.record.address, digest, self._suspicions_for(identity))

    def _suspicions_for(self, listener: Identity) -> tuple[Suspicion, ...]:
        return self._detector.suspicions.to_tell(listener, self._settings.max_suspicions)

    def _forget_long_gone(self, now: float) -> None:
        for member in self._view.others():
            gone = member.left or member.liveness is Liveness.DOWN
            long_ago = now - member.since >= self._settings.forget_after_s
            if gone and long_ago and member.identity not in self._owners:
                self._forget(member)

    def _forget(self, member: Member) -> None:
        suspicion = self._detector.suspicions.get(member.identity)
        freshness = member.record.freshness
        self._view.forget(
            member.identity, freshness if suspicion is None else max(freshness, suspicion.freshness)
        )
        self._detector.forget(member.identity)
        self._packer.forget(member.identity)

    # --- exchanges and pushes ---

    def answer_exchange(
        self, source: Identity, digest: Sequence[DigestEntry], suspicions: Sequence[Suspicion], now: float
    ) -> tuple[ExchangeAnswer, list[Directive]]:
        """The second step of an exchange that ``source`` began."""
        self._detector.awake(now)
        directives = self._hear_all(suspicions, source, now)
        self._detector.note_heard(source, now)
        accused = {suspicion.accused for suspicion in suspicions}
        answer = ExchangeAnswer(
            records=self._pack(newer_here(self._view, digest), first=accused),
            wanted=newer_there(self._view, digest),
            suspicions=self._suspicions_for(source),
        )
        return answer, directives

    def records_newer_than(self, wanted: Sequence[DigestEntry]) -> tuple[MemberRecord, ...]:
        """The third step: what the other side asked for, as far as it fits."""
        named = {entry.identity for entry in wanted}
        return self._pack([member for member in newer_here(self._view, wanted) if member.identity in named])

    def receive(
        self, source: Identity, records: Sequence[MemberRecord], suspicions: Sequence[Suspicion], now: float
    ) -> list[Directive]:
        """Merge what ``source`` told, in an answer, in a third step, in a push or at first contact."""
        self._detector.awake(now)
        directives: list[Directive] = []
        fresh: list[Member] = []
        for record in records:
            directives += self._merge(record, now, fresh)
        if fresh:
            directives += self._pushes.relay(fresh, (), heard_from=source)
        directives += self._hear_all(suspicions, source, now)
        return directives + self._detector.heard_from(source, now)

    def _pack(self, members: Iterable[Member], first: Collection[Identity] = ()) -> tuple[MemberRecord, ...]:
        return self._packer.pack(members, self._view.size(), first)

    def _merge(self, record: MemberRecord, now: float, fresh: list[Member]) -> list[Directive]:
        """Merge one record; what is worth passing on at once is added to ``fresh``."""
        if record.identity == self.me.identity:
            return self._meet_twin(record, now)
        change = self._view.merge(record, now)
        if change is None:
            return []
        events = self._events_of(change, now)
        if events or self._is_relayed(change):
            fresh.append(change.after)
        return events

    def _events_of(self, change: Change, now: float) -> list[Directive]:
        record = change.after.record
        if change.after.left:
            self._detector.forget(record.identity)
            return [MemberLeft(record)] if change.left else []
        if change.joined:
            return [MemberJoined(record)]
        return self._detector.acquit(record, now)

    def _is_relayed(self, change: Change) -> bool:
        """News is passed on, except a new epoch: all members adopt it at once, and each tells it itself."""
        before, after = change.before, change.after.record
        return before is not None and is_news(replace(before.record, epoch=after.epoch), after)

    def _meet_twin(self, record: MemberRecord, now: float) -> list[Directive]:
        """A record in this node's name: an echo, an earlier process's, or a twin's. A twin has to hear of this one."""
        mine = self.me
        echo = record.process == mine.process and record.freshness <= mine.freshness
        if echo or record.generation < mine.generation:
            return []
        if record.outranks(mine) or record.freshness < mine.freshness:
            return [DuplicateIdentity(record)]
        self._rewrite(replace(mine, version=record.version + TWIN_LEAD), now)
        return [DuplicateIdentity(record), *self._pushes.say([self._view.me])]

    # --- suspicions ---

    def _hear_all(self, suspicions: Sequence[Suspicion], source: Identity, now: float) -> list[Directive]:
        directives: list[Directive] = []
        spreading: list[Suspicion] = []
        for suspicion in suspicions:
            if suspicion.accused == self.me.identity:
                directives += self._refute(suspicion, source, now)
            elif self._view.freshness(suspicion.accused) > suspicion.freshness:
                directives += self._defend(suspicion, source)
            else:
                events, worth_passing_on = self._detector.hear(suspicion, now)
                directives += events
                spreading += [suspicion] if worth_passing_on else []
        if spreading:
            directives += self._pushes.relay((), tuple(spreading), heard_from=source)
        return directives

    def _refute(self, suspicion: Suspicion, source: Identity, now: float) -> list[Directive]:
        """This node is accused: rise above the suspicion and say so at once."""
        told_first = (source, suspicion.accuser)
        generation, version = suspicion.freshness
        if suspicion.freshness < self.me.freshness:
            return list(self._pushes.tell(told_first, [self._view.me]))
        if generation != self.me.generation:
            return []
        self._rewrite(replace(self.me, version=version + 1), now)
        return [
            Refuted(suspicion.accuser),
            *self._pushes.say([self._view.me], also_to=told_first),
        ]

    def _defend(self, suspicion: Suspicion, source: Identity) -> list[Directive]:
        """Someone is suspected on older knowledge than this node has: answer with that."""
        member = self._view.get(suspicion.accused)
        if member is None:
            return []
        return list(self._pushes.tell((source, suspicion.accuser), [member]))

    # --- outcomes of probes ---

    def exchange_failed(self, identity: Identity, now: float) -> list[Directive]:
        self._detector.awake(now)
        return self._detector.exchange_failed(identity, now)

    def probe_failed(self, identity: Identity, now: float) -> list[Directive]:
        """None of the helpers reached the member in time."""
        self._detector.awake(now)
        return self._detector.probe_failed(identity, now)

    def probe_succeeded(self, identity: Identity, now: float) -> None:
        """A helper reached the member."""
        self._detector.awake(now)
        self._detector.probe_succeeded(identity)

    def heard_from(self, identity: Identity, now: float) -> list[Directive]:
        """Any message came directly from the member, gossip or not."""
        self._detector.awake(now)
        return self._detector.heard_from(identity, now)

    # --- the view ---

    def members(self) -> list[Member]:
        """Every known member, this node among them, by identity."""
        return sorted(self._view.all(), key=lambda member: member.identity)

    def alive(self) -> list[Member]:
        """Members that are alive in this node's view, itself among them, by identity."""
        return [member for member in self.members() if member.alive]

    def member(self, identity: Identity) -> Member | None:
        return self._view.get(identity)

    def conflicting_name(self, identity: Identity) -> Member | None:
        """A member that is not down and has the same name on another disk."""
        return next(
            (m for m in self.members() if m.in_doubt_or_alive and _same_name(m.identity, identity)), None
        )

    def conflicting_identity(self, record: MemberRecord) -> Member | None:
        """The member of this very identity, if it is not down and known at another address.

        One of another generation is refused if the process known answers there.
        """
        known = self._view.get(record.identity)
        if known is None or not known.in_doubt_or_alive or known.record.address == record.address:
            return None
        return known


def _same_name(one: Identity, other: Identity) -> bool:
    return one.name == other.name and one.disk_id != other.disk_id
