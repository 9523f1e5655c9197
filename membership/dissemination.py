"""Digests and deltas: how two nodes bring each other up to date without sending all they know.

An exchange has three steps: my digest; your delta and what you want; my delta. A digest names the freshness
of every member one knows. A delta carries whole records and is bounded in bytes. What does not fit is not
lost: the next digest shows it missing again. When not all fit, news goes first, the latest first, until it
was told often enough to have spread (SWIM, section 4.1); then the records that were told longest ago, so
none starves.

A cluster larger than one digest may name is digested in parts, a random part each time. What a digest does
not name counts as unknown to its sender, which costs some records told in vain but never loses one.

News that cannot wait for the next round is pushed to a few members at once, who pass it on once.

What a node says itself (its own news, its own suspicions, its refutation) is always pushed. Passing on what
others said is limited per interval, so that a cluster that starts or falls all at once does not drown in it;
the exchanges bring the rest.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from ..identity import Identity
from .directives import Contact, Push
from .member_list import Member, View
from .record import UNHEARD, DigestEntry, MemberRecord, Suspicion
from .settings import GossipSettings

SCALARS_BYTES = 130
"""About what an encoded record takes besides its texts."""
HANDOFF_BYTES = 24


@dataclass(frozen=True, slots=True)
class ExchangeAnswer:
    """The second step: what the source lacks, and what it should send."""

    records: tuple[MemberRecord, ...]
    wanted: tuple[DigestEntry, ...]
    suspicions: tuple[Suspicion, ...]


def estimated_bytes(record: MemberRecord) -> int:
    """About how large the record is on the wire."""
    texts = len(record.identity.name.encode()) + len(record.address.encode()) + len(record.zone.encode())
    return SCALARS_BYTES + texts + (HANDOFF_BYTES if record.handoff is not None else 0)


def digest_of(view: View, max_entries: int, rng: random.Random) -> tuple[DigestEntry, ...]:
    entries = [DigestEntry(member.identity, member.record.freshness) for member in view.all()]
    if len(entries) > max_entries:
        entries = rng.sample(entries, max_entries)
    return tuple(entries)


def newer_here(view: View, digest: Sequence[DigestEntry]) -> list[Member]:
    """Members of whom the digest knows less than this node, or nothing."""
    theirs = dict(digest)
    return [m for m in view.all() if m.record.freshness > theirs.get(m.identity, UNHEARD)]


def newer_there(view: View, digest: Sequence[DigestEntry]) -> tuple[DigestEntry, ...]:
    """What to ask for: the members of whom the digest knows more, with the freshness that is known here."""
    return tuple(
        DigestEntry(identity, UNHEARD if view.get(identity) is None else view.freshness(identity))
        for identity, freshness in digest
        if freshness > view.freshness(identity)
    )


@dataclass(slots=True)
class _Telling:
    news_at: float
    times: int
    turn: int


class DeltaPacker:
    """Chooses which records go into a bounded delta, and remembers what was told."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._tellings: dict[Identity, _Telling] = {}
        self._turn = 0

    def pack(
        self, members: Iterable[Member], cluster_size: int, first: Collection[Identity] = ()
    ) -> tuple[MemberRecord, ...]:
        """As many records of ``members`` as fit, those of ``first`` before all; one even if too large."""
        enough = 3 * math.ceil(math.log2(cluster_size + 1))
        packed: list[MemberRecord] = []
        room = self._max_bytes
        for member in sorted(members, key=lambda m: (m.identity not in first, self._rank(m, enough))):
            room -= estimated_bytes(member.record)
            if room < 0 and packed:
                break
            packed.append(member.record)
            self._note(member)
        return tuple(packed)

    def forget(self, identity: Identity) -> None:
        self._tellings.pop(identity, None)

    def _rank(self, member: Member, enough: int) -> tuple[bool, float]:
        telling = self._tellings.get(member.identity)
        if telling is None or telling.news_at < member.news_at or telling.times < enough:
            return (False, -member.news_at)
        return (True, telling.turn)

    def _note(self, member: Member) -> None:
        self._turn += 1
        telling = self._tellings.get(member.identity)
        if telling is None or telling.news_at < member.news_at:
            self._tellings[member.identity] = _Telling(member.news_at, 1, self._turn)
        else:
            telling.times += 1
            telling.turn = self._turn


MOST_NEWS_AT_ONCE = 16
"""Records of one message that can be news to pass on."""


class Pushes:
    def __init__(self, view: View, packer: DeltaPacker, settings: GossipSettings, rng: random.Random) -> None:
        self._view = view
        self._packer = packer
        self._settings = settings
        self._rng = rng
        self._relays_left = settings.relays_per_interval

    def next_interval(self) -> None:
        self._relays_left = self._settings.relays_per_interval

    def say(
        self,
        members: Iterable[Member] = (),
        suspicions: tuple[Suspicion, ...] = (),
        also_to: Iterable[Identity] = (),
    ) -> list[Push]:
        """Tell a few members, and certainly those of ``also_to`` that are known."""
        certainly = self._contacts(also_to)
        chosen = self._choose({contact.identity for contact in certainly})
        return self._push((*certainly, *chosen), members, suspicions)

    def relay(
        self, members: Sequence[Member], suspicions: tuple[Suspicion, ...], heard_from: Identity
    ) -> list[Push]:
        """Pass on what ``heard_from`` told, unless this interval has seen enough of that.

        What comes in bulk is no news: this node was catching up, and others know it already.
        """
        if self._relays_left == 0 or len(members) > MOST_NEWS_AT_ONCE:
            return []
        self._relays_left -= 1
        return self._push(self._choose({heard_from}), members, suspicions)

    def tell(
        self,
        listeners: Iterable[Identity],
        members: Iterable[Member] = (),
        suspicions: tuple[Suspicion, ...] = (),
    ) -> list[Push]:
        """Tell these and nobody else."""
        return self._push(self._contacts(listeners), members, suspicions)

    def choose_alive(self, count: int, but: set[Identity]) -> tuple[Contact, ...]:
        """Up to ``count`` members at random that are not in doubt."""
        alive = [member for member in self._view.others() if member.alive and member.identity not in but]
        chosen = self._rng.sample(alive, min(count, len(alive)))
        return tuple(Contact(member.identity, member.record.address) for member in chosen)

    def _choose(self, but: set[Identity]) -> tuple[Contact, ...]:
        return self.choose_alive(self._settings.push_fanout, but)

    def _contacts(self, identities: Iterable[Identity]) -> tuple[Contact, ...]:
        wanted = dict.fromkeys(identities)
        wanted.pop(self._view.me.identity, None)
        known = [member for identity in wanted if (member := self._view.get(identity)) is not None]
        return tuple(Contact(member.identity, member.record.address) for member in known)

    def _push(
        self, targets: tuple[Contact, ...], members: Iterable[Member], suspicions: tuple[Suspicion, ...]
    ) -> list[Push]:
        if not targets:
            return []
        records = self._packer.pack(members, self._view.size())
        if not records and not suspicions:
            return []
        return [Push(targets, records, suspicions[: self._settings.max_suspicions])]
