"""Stages: a record's lists, quorums, pulls and finish condition, computed by the product's own code.

A stage is one record under one set of rules. Its results are cached, since a search asks for them again and again. Sets
of nodes are bit masks; node 0 is ``a``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from itertools import combinations

from covey.identity import Identity
from covey.node.coordinator.context import live_rings
from covey.node.epoch.epochs import Epoch
from covey.node.storage.interface import Entry
from covey.quorum.consistency import QUORUM, plan_read, plan_write
from covey.quorum.counter import Requirement, replicas_of, satisfied
from covey.quorum.read_replies import ReadReplies
from covey.quorum.version import Version
from covey.ring.epoch import ALLOW_WEAK_QUORUMS, EpochRecord, Owner, Quorums, RingSpec
from covey.ring.moves import FinishCondition, RangeMove, RingChange
from covey.ring.succession import Step, check_succession
from covey.ring.tokens import TOKEN_SPACE, token_of

from .rules import Rules

KEY = b"key"
TOKEN = token_of(KEY)
NAMES = "abcdef"
IDENTITIES = tuple(Identity(name, number) for number, name in enumerate(NAMES))
PLACE = {identity: place for place, identity in enumerate(IDENTITIES)}


def ring_of(names: str, quorums: Quorums) -> RingSpec:
    """Return a ring with one token per node, clockwise from the key's token in alphabetical order."""
    places = (NAMES.index(name) for name in names)
    return RingSpec(
        {IDENTITIES[place]: Owner(((TOKEN + 1 + place) % TOKEN_SPACE,)) for place in places}, quorums
    )


def first_record(names: str, quorums: Quorums) -> EpochRecord:
    return EpochRecord(1, "model", ring_of(names, quorums), settings={ALLOW_WEAK_QUORUMS: True})


def mask_of(identities: Iterable[Identity]) -> int:
    return sum(1 << PLACE[identity] for identity in set(identities))


def places_in(mask: int) -> tuple[int, ...]:
    return tuple(place for place in range(len(NAMES)) if mask >> place & 1)


@cache
def nodes_in(mask: int) -> tuple[Identity, ...]:
    return tuple(IDENTITIES[place] for place in places_in(mask))


@cache
def entry_of(version: int) -> Entry:
    return Entry(Version(version, 0, 0), b"")


class Stage:
    """One record, under one set of rules."""

    def __init__(self, record: EpochRecord, rules: Rules) -> None:
        epoch = Epoch(record)
        rings = live_rings(epoch, KEY)
        asked = plan_read(rings, QUORUM)
        written = plan_write(rings, QUORUM)
        self.record = record
        self.rules = rules
        self.stable = not record.changing
        self.floor = record.floor
        self.acks_needed = _asked(
            written.acknowledgements, rules.writes_ask_owners, rules.writes_ask_successors
        )
        self.replies_needed = _asked(asked.replies, rules.reads_ask_owners, rules.reads_ask_successors)
        self.holders_needed = _asked(asked.holders, rules.reads_ask_owners, rules.reads_ask_successors)
        self.writers_ask = mask_of(replicas_of(self.acks_needed))
        self.readers_ask = mask_of(replicas_of(self.replies_needed))
        self.lists = tuple(mask_of(ring.replicas) for ring in rings)
        self.replicas = mask_of(written.receivers)
        self.moves = _moves_of_the_key(record, rules)
        self.pulls = {PLACE[pull.gainer]: pull for move in self.moves for pull in move.pulls}
        self.gainers = _gainers(record)
        self.write_reached = cache(self._write_reached)
        self.judge = cache(self._judge)
        self.returns = cache(self._returns)
        self.pulled_enough = cache(self._pulled_enough)
        self.may_finish = cache(self._may_finish)
        self.smallest_read_quorums = self._smallest_read_quorums()

    def _write_reached(self, acks: int) -> bool:
        return satisfied(self.acks_needed, nodes_in(acks))

    def _read_replies(self, replies: tuple[int, ...]) -> ReadReplies[Entry]:
        """Return the replies, by node: a version, 0 for absent, -1 for no reply."""
        read: ReadReplies[Entry] = ReadReplies(self.holders_needed)
        for place, version in enumerate(replies):
            if version >= 0:
                read.entries[IDENTITIES[place]] = entry_of(version) if version else None
        return read

    def _judge(self, replies: tuple[int, ...]) -> tuple[bool, int, bool]:
        """Return whether the replies are a quorum, the newest version, and whether it needs no write-back."""
        read = self._read_replies(replies)
        reached = satisfied(self.replies_needed, read.entries)
        newest = read.newest
        if newest is None:
            return reached, 0, True
        agreed = not self.rules.read_knows_w_holders and len({v for v in replies if v >= 0}) == 1
        settled = read.settled(newest) or agreed or not self.rules.read_waits_for_write_back
        return reached, newest.version.timestamp, settled

    def _returns(self, replies: tuple[int, ...], reachable: int) -> int:
        """Return the version that a read returns after writing back to ``reachable``; -1 if it cannot return."""
        reached, newest, settled = self.judge(replies)
        read = self._read_replies(replies)
        lost = nodes_in(self.replicas & ~reachable)
        if reached and (settled or read.can_settle(entry_of(newest), lost)):
            return newest
        return -1

    def _smallest_read_quorums(self) -> tuple[tuple[int, ...], ...]:
        """Return all minimal read quorums."""
        found: list[int] = []
        asked = places_in(self.readers_ask)
        for size in range(1, len(asked) + 1):
            for places in combinations(asked, size):
                mask = sum(1 << place for place in places)
                replies = tuple(0 if mask >> place & 1 else -1 for place in range(len(NAMES)))
                if self.judge(replies)[0] and not any(mask & smaller == smaller for smaller in found):
                    found.append(mask)
        return tuple(places_in(mask) for mask in found)

    def _pulled_enough(self, place: int, sources: int) -> bool:
        """Return whether pulling from ``sources`` is enough for the node."""
        if place not in self.pulls:
            return True
        if not self.rules.pulls_from_enough:
            return sources > 0
        return self.pulls[place].complete(nodes_in(sources))

    def _may_finish(self, done: int, adopted: int) -> bool:
        everyone = set(IDENTITIES)
        return not FinishCondition.of(self.moves).obstacles(
            set(nodes_in(done)) if self.rules.finish_waits_for_done else everyone,
            set(nodes_in(adopted)) if self.rules.finish_waits_for_adoption else everyone,
            self.record.owners,
        )


def _asked(parts: tuple[Requirement, ...], owners: bool, successors: bool) -> tuple[Requirement, ...]:
    """Return the live rings that an operation asks; in a stable epoch, the only one."""
    if owners and successors:
        return parts
    return parts[:1] if owners else parts[-1:]


def _moves_of_the_key(record: EpochRecord, rules: Rules) -> tuple[RangeMove, ...]:
    if record.successors is None:
        return ()
    found = [
        move
        for move in RingChange.between(record.owners, record.successors).moves
        if move.token_range.contains(TOKEN)
    ]
    if rules.shrinking_merges:
        return tuple(found)
    gained = (replace(move, pulls=tuple(p for p in move.pulls if p.gainer not in move.old)) for move in found)
    return tuple(move for move in gained if move.pulls)


def _gainers(record: EpochRecord) -> int:
    """Return the nodes that drop their copy of the key when they adopt ``record``."""
    if record.successors is None:
        return 0
    return mask_of(
        identity
        for identity in record.successors.owners
        if any(
            span.contains(TOKEN)
            for span in RingChange.between(record.owners, record.successors).gained_ranges(identity)
        )
    )


def followed(record: EpochRecord, step: Callable[[EpochRecord], EpochRecord], expected: Step) -> EpochRecord:
    """Return the record that ``step`` makes, after an acceptor's check."""
    proposed = step(record)
    assert check_succession(record, proposed) is expected
    return proposed
