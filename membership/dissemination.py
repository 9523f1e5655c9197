"""Dissemination of records: exchanges of digests and deltas, and pushes of important changes between them.

An exchange has three steps: the first node sends its digest; the second answers with a delta, and a digest of the
records that it lacks; the first sends a delta with those. A digest has the record version of each known member. A delta
has entire records and is bounded in bytes. A record that does not fit is not lost, because the next digest shows again
that it is missing. If not all records fit, recent changes are sent first, the latest first, until they were sent often
enough to have spread (SWIM, section 4.1). Then follow the records that were sent longest ago, so that none starves.

If a cluster has more members than a digest may have entries, each digest covers a random part of them. A member that
the digest omits counts as unknown to its sender. So some records are sent needlessly, and none is lost.

An important change is pushed at once to a few members, which relay it once. Changes that originate at a node (of its
record, its suspicions and refutations) are always pushed. Relays are limited per interval, so that messages do not
flood a cluster in which many nodes start or fail at once; the exchanges deliver the rest.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from ..identity import Identity
from .directives import Contact, Push
from .member_list import Member, MembershipList
from .record import UNKNOWN_VERSION, DigestEntry, MemberRecord, Suspicion
from .settings import GossipSettings

SCALARS_BYTES = 130
"""Approximate size of an encoded record without its texts."""
HANDOFF_BYTES = 24


@dataclass(frozen=True, slots=True)
class ExchangeAnswer:
    """The second step of an exchange: the records that the source lacks, and a digest of those it should send."""

    records: tuple[MemberRecord, ...]
    wanted: tuple[DigestEntry, ...]
    suspicions: tuple[Suspicion, ...]


def estimated_bytes(record: MemberRecord) -> int:
    """Return the approximate size of the record on the wire."""
    texts = len(record.identity.name.encode()) + len(record.address.encode()) + len(record.zone.encode())
    return SCALARS_BYTES + texts + (HANDOFF_BYTES if record.handoff is not None else 0)


def digest_of(members: MembershipList, max_entries: int, rng: random.Random) -> tuple[DigestEntry, ...]:
    entries = [DigestEntry(member.identity, member.record.record_version) for member in members.all()]
    if len(entries) > max_entries:
        entries = rng.sample(entries, max_entries)
    return tuple(entries)


def newer_here(members: MembershipList, digest: Sequence[DigestEntry]) -> list[Member]:
    """Return the members whose record here is newer than the digest's, or missing there."""
    theirs = dict(digest)
    return [m for m in members.all() if m.record.record_version > theirs.get(m.identity, UNKNOWN_VERSION)]


def newer_there(members: MembershipList, digest: Sequence[DigestEntry]) -> tuple[DigestEntry, ...]:
    """Return the members whose record is newer in ``digest``, each with the version known here."""
    return tuple(
        DigestEntry(
            identity, UNKNOWN_VERSION if members.get(identity) is None else members.record_version(identity)
        )
        for identity, record_version in digest
        if record_version > members.record_version(identity)
    )


@dataclass(slots=True)
class _Sent:
    news_at: float
    times: int
    turn: int


class DeltaPacker:
    """Chooses the records of a delta of bounded size, and keeps track of what was sent."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._sent: dict[Identity, _Sent] = {}
        self._turn = 0

    def pack(
        self, members: Iterable[Member], cluster_size: int, first: Collection[Identity] = ()
    ) -> tuple[MemberRecord, ...]:
        """Return as many records of ``members`` as fit, beginning with those of ``first``; at least one."""
        enough = 3 * math.ceil(math.log2(cluster_size + 1))
        packed: list[MemberRecord] = []
        room = self._max_bytes
        for member in sorted(members, key=lambda m: (m.identity not in first, self._rank(m, enough))):
            room -= estimated_bytes(member.record)
            if room < 0 and packed:
                break
            packed.append(member.record)
            self._record_sent(member)
        return tuple(packed)

    def forget(self, identity: Identity) -> None:
        self._sent.pop(identity, None)

    def _rank(self, member: Member, enough: int) -> tuple[bool, float]:
        sent = self._sent.get(member.identity)
        if sent is None or sent.news_at < member.news_at or sent.times < enough:
            return (False, -member.news_at)
        return (True, sent.turn)

    def _record_sent(self, member: Member) -> None:
        self._turn += 1
        sent = self._sent.get(member.identity)
        if sent is None or sent.news_at < member.news_at:
            self._sent[member.identity] = _Sent(member.news_at, 1, self._turn)
        else:
            sent.times += 1
            sent.turn = self._turn


MAX_RELAYED_RECORDS = 16
"""Maximum number of received records that are relayed; more at once are not recent changes."""


class Pushes:
    def __init__(
        self, members: MembershipList, packer: DeltaPacker, settings: GossipSettings, rng: random.Random
    ) -> None:
        self._members = members
        self._packer = packer
        self._settings = settings
        self._rng = rng
        self._relays_left = settings.relays_per_interval

    def next_interval(self) -> None:
        self._relays_left = self._settings.relays_per_interval

    def announce(
        self,
        members: Iterable[Member] = (),
        suspicions: tuple[Suspicion, ...] = (),
        also_to: Iterable[Identity] = (),
    ) -> list[Push]:
        """Return a push to a few random members and to the known members of ``also_to``."""
        certainly = self._contacts(also_to)
        chosen = self._choose({contact.identity for contact in certainly})
        return self._push((*certainly, *chosen), members, suspicions)

    def relay(
        self, members: Sequence[Member], suspicions: tuple[Suspicion, ...], source: Identity
    ) -> list[Push]:
        """Return the relay of what ``source`` sent, unless this interval's limit is reached.

        Many records at once are not relayed: this node is catching up, and others know them already.
        """
        if self._relays_left == 0 or len(members) > MAX_RELAYED_RECORDS:
            return []
        self._relays_left -= 1
        return self._push(self._choose({source}), members, suspicions)

    def send(
        self,
        receivers: Iterable[Identity],
        members: Iterable[Member] = (),
        suspicions: tuple[Suspicion, ...] = (),
    ) -> list[Push]:
        """Return a push to these members only."""
        return self._push(self._contacts(receivers), members, suspicions)

    def choose_alive(self, count: int, but: set[Identity]) -> tuple[Contact, ...]:
        """Return up to ``count`` random members that are alive."""
        alive = [member for member in self._members.others() if member.alive and member.identity not in but]
        chosen = self._rng.sample(alive, min(count, len(alive)))
        return tuple(Contact(member.identity, member.record.address) for member in chosen)

    def _choose(self, but: set[Identity]) -> tuple[Contact, ...]:
        return self.choose_alive(self._settings.push_fanout, but)

    def _contacts(self, identities: Iterable[Identity]) -> tuple[Contact, ...]:
        wanted = dict.fromkeys(identities)
        wanted.pop(self._members.me.identity, None)
        known = [member for identity in wanted if (member := self._members.get(identity)) is not None]
        return tuple(Contact(member.identity, member.record.address) for member in known)

    def _push(
        self, targets: tuple[Contact, ...], members: Iterable[Member], suspicions: tuple[Suspicion, ...]
    ) -> list[Push]:
        if not targets:
            return []
        records = self._packer.pack(members, self._members.size())
        if not records and not suspicions:
            return []
        return [Push(targets, records, suspicions[: self._settings.max_suspicions])]
