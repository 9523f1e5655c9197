"""Single-decree Paxos over epoch records: how record k + 1 is chosen (Lamport, "Paxos Made Simple", 2).

Every record k has one instance, which decides its successor. Its acceptors are the owners O of record k, also
while k has successors S: were S to vote too, two majorities need not meet, and two records k + 1 could be
chosen.

What the driver of these state machines must do:

1. A granted reply is sent only once the current ``Acceptor.state`` is synced to disk, even if the call did not change
   it (an earlier call's change may not be synced yet). An acceptor that forgets a
   promise lets an older proposal win beside a newer one.
2. Adopting a record has consequences in the node (it may drop ranges) and needs a separate durable step, so
   an acceptor never adopts by itself. On a prepare with a base beyond its record, the node adopts the base first, and
   then calls ``prepare``; until then it is refused as ``BEHIND``.
3. A chosen record is adopted by its proposer like any other and pushed to everyone at once.

What must never happen, with messages lost, repeated, late or reordered, and nodes restarting from what they synced:
two different records are chosen with one number.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

from ..identity import Identity
from .epoch import EpochRecord, EpochStamp
from .succession import IllegalSuccession, check_succession, evicted

BEHIND = "behind"
"""The reason of an acceptor that has not adopted the base yet."""


class Ballot(NamedTuple):
    """Paxos proposal number; unique because the proposer's identity is part of it.

    A proposer that restarts may draw a ballot again. No acceptor promises one ballot twice, so at most one of
    the attempts that share it reaches a majority and proposes.
    """

    round: int
    proposer: Identity


def next_ballot(seen: Ballot | None, proposer: Identity) -> Ballot:
    """Return the lowest ballot of ``proposer`` above the highest ``seen`` (None: none)."""
    return Ballot(1 if seen is None else seen.round + 1, proposer)


class DivergedRecord(ValueError):
    """A record of another cluster, or a second one with this number. It is never adopted, and always reported."""


@dataclass(frozen=True, slots=True)
class AcceptorState:
    """The persistent state of an acceptor; all but ``record`` concern the instance whose base that is."""

    record: EpochRecord | None = None
    """The newest adopted record; None while the node belongs to no cluster."""
    promised: Ballot | None = None
    accepted_ballot: Ballot | None = None
    accepted: EpochRecord | None = None

    def encode(self) -> bytes:
        state = {
            "record": None if self.record is None else self.record.encoded.decode(),
            "promised": _ballot_to_json(self.promised),
            "accepted_ballot": _ballot_to_json(self.accepted_ballot),
            "accepted": None if self.accepted is None else self.accepted.encoded.decode(),
        }
        return json.dumps(state, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, encoded: bytes) -> AcceptorState:
        """Decode what ``encode`` wrote. Raise ValueError for anything else."""
        try:
            state = json.loads(encoded)
            return cls(
                record=_record_from_json(state["record"]),
                promised=_ballot_from_json(state["promised"]),
                accepted_ballot=_ballot_from_json(state["accepted_ballot"]),
                accepted=_record_from_json(state["accepted"]),
            )
        except (LookupError, TypeError, AttributeError, RecursionError, ValueError) as error:
            raise ValueError(f"not an acceptor's state: {error}") from error


@dataclass(frozen=True, slots=True)
class AcceptorReply:
    """An acceptor's reply to prepare or accept."""

    granted: bool
    promised: Ballot | None = None
    """The highest ballot promised, if that is why the request was refused."""
    accepted_ballot: Ballot | None = None
    accepted: EpochRecord | None = None
    """The last accepted record, under ``accepted_ballot``; set for a granted prepare."""
    newer: EpochRecord | None = None
    """Set when the acceptor knows a later record than the base: the instance is decided."""
    reason: str = ""
    """Why it was refused."""


class Acceptor:
    """One acceptor. Its ``state`` must be synced before a granted reply is sent."""

    def __init__(self, identity: Identity, state: AcceptorState) -> None:
        self.identity = identity
        self.state = state

    def adopt(self, record: EpochRecord) -> bool:
        """Take a higher record as the base of a new instance; return False when it is not higher.

        Numbers may be skipped: what this node promised or accepted concerned a record that is decided.
        """
        mine = self.state.record
        if mine is not None:
            _check_history(mine, record)
            if record.number <= mine.number:
                return False
        self.state = AcceptorState(record)
        return True

    def prepare(self, base: EpochRecord, ballot: Ballot) -> AcceptorReply:
        """Promise to accept nothing below ``ballot``, and return what was accepted."""
        if (refusal := self._refuse_base(base.stamp)) is not None:
            return refusal
        state = self.state
        # Not even an equal ballot is promised again, see Ballot.
        if state.promised is not None and ballot <= state.promised:
            return _outbid(state.promised)
        self.state = replace(state, promised=ballot)
        return AcceptorReply(True, accepted_ballot=state.accepted_ballot, accepted=state.accepted)

    def accept(
        self,
        base: EpochStamp,
        ballot: Ballot,
        proposal: EpochRecord,
        bound: bool,
        alive: Collection[Identity],
        leaving: Collection[Identity],
    ) -> AcceptorReply:
        """Vote for ``proposal`` unless a higher ballot was promised or it must not follow the base.

        ``alive`` and ``leaving`` are this node's view of the members. They count only while nothing was
        accepted before (``bound`` false): what may have been chosen already must be accepted, or agreement
        would block.
        """
        if (refusal := self._refuse_base(base)) is not None:
            return refusal
        state = self.state
        if state.promised is not None and ballot < state.promised:
            return _outbid(state.promised)
        if ballot == state.accepted_ballot and proposal != state.accepted:
            return AcceptorReply(False, reason=f"{_describe(ballot)} came with another proposal before")
        protected = (
            frozenset[Identity]() if bound else (frozenset(alive) | {self.identity}) - frozenset(leaving)
        )
        if (objection := _object_to(state.record, proposal, protected)) is not None:
            return AcceptorReply(False, reason=objection)
        self.state = replace(state, promised=ballot, accepted_ballot=ballot, accepted=proposal)
        return AcceptorReply(True)

    def _refuse_base(self, base: EpochStamp) -> AcceptorReply | None:
        """Return the refusal of a request for another instance, or for one in which this node has no vote."""
        record = self.state.record
        if record is None or record.number < base.number:
            return AcceptorReply(False, reason=BEHIND)
        if record.number > base.number:
            return AcceptorReply(False, newer=record, reason=f"record {record.number} is chosen already")
        if record.stamp != base:
            return AcceptorReply(
                False, reason=f"another record {base.number} is adopted here: the histories diverge"
            )
        if self.identity not in record.owners.owners:
            return AcceptorReply(False, reason=f"{self.identity} is not an owner in record {base.number}")
        return None


def _outbid(promised: Ballot) -> AcceptorReply:
    return AcceptorReply(False, promised=promised, reason=f"{_describe(promised)} was promised")


def _object_to(
    base: EpochRecord | None, proposal: EpochRecord, protected: Collection[Identity]
) -> str | None:
    """Return why an acceptor must not accept ``proposal``; ``protected`` are the nodes it may not evict."""
    if base is None:
        return BEHIND
    try:
        check_succession(base, proposal)
    except IllegalSuccession as illegal:
        return str(illegal)
    for identity in evicted(base, proposal):
        if identity in protected:
            return f"{identity} is alive and not leaving: it is not to be evicted"
    return None


class Phase(StrEnum):
    PREPARING = "preparing"
    ACCEPTING = "accepting"
    CHOSEN = "chosen"
    LOST = "lost"
    """This attempt can no longer win. Adopt ``newer`` if set, else back off and try above ``lost_to``."""


class Proposer:
    """One attempt, under one ballot, to have a record follow ``base``; never reused for a second one.

    Send prepare to every owner of ``base`` and pass the replies to ``on_promise``; once ``phase`` is
    ACCEPTING, send accept with ``value`` and ``bound`` to every owner and pass the replies to ``on_accept``;
    once it is CHOSEN, ``chosen`` is record k + 1. Replies may be repeated, late, or missing.
    """

    def __init__(self, base: EpochRecord, ballot: Ballot, proposal: EpochRecord) -> None:
        check_succession(base, proposal)
        self.base = base
        self.ballot = ballot
        self.phase = Phase.PREPARING
        self.value = proposal
        """What accept carries, final once ACCEPTING."""
        self.bound = False
        """Whether ``value`` is what an acceptor had accepted before, rather than this attempt's proposal."""
        self.lost_to: Ballot | None = None
        """The highest ballot, not below this one, that an acceptor had promised before."""
        self.newer: EpochRecord | None = None
        """The highest later record that an acceptor returned."""
        self.refusals: dict[Identity, str] = {}
        """Why acceptors did not grant the current phase."""
        self._granted: set[Identity] = set()
        self._bound_by: Ballot | None = None

    @property
    def chosen(self) -> EpochRecord | None:
        return self.value if self.phase is Phase.CHOSEN else None

    def on_promise(self, acceptor: Identity, reply: AcceptorReply) -> None:
        if not self._counts(acceptor, reply, Phase.PREPARING):
            return
        ballot = reply.accepted_ballot
        if (
            ballot is not None
            and reply.accepted is not None
            and (self._bound_by is None or ballot > self._bound_by)
        ):
            # It may have been chosen already; only the highest one can have been.
            self._bound_by, self.value, self.bound = ballot, reply.accepted, True
        if len(self._granted) >= self.base.majority:
            self.phase = Phase.ACCEPTING
            self._granted.clear()
            self.refusals.clear()

    def on_accept(self, acceptor: Identity, reply: AcceptorReply) -> None:
        if self._counts(acceptor, reply, Phase.ACCEPTING) and len(self._granted) >= self.base.majority:
            self.phase = Phase.CHOSEN

    def _counts(self, acceptor: Identity, reply: AcceptorReply, phase: Phase) -> bool:
        """Record a reply to the current phase; return whether it is a vote. Only owners of the base have one."""
        if acceptor not in self.base.owners.owners or self.phase is not phase:
            return False
        if reply.granted:
            self._granted.add(acceptor)
            self.refusals.pop(acceptor, None)
        elif acceptor not in self._granted:
            self._record_refusal(acceptor, reply)
        return reply.granted

    def _record_refusal(self, acceptor: Identity, reply: AcceptorReply) -> None:
        self.refusals[acceptor] = reply.reason
        # An equal ballot counts: it was drawn in an earlier attempt, which failed.
        if reply.promised is not None and reply.promised >= max(self.ballot, self.lost_to or self.ballot):
            self.lost_to = reply.promised
        if reply.newer is not None and (self.newer is None or reply.newer.number > self.newer.number):
            self.newer = reply.newer
        still_possible = len(self.base.owners.owners) - len(self.refusals)
        if self.newer is not None or still_possible < self.base.majority:
            self.phase = Phase.LOST


def _check_history(mine: EpochRecord, other: EpochRecord) -> None:
    if other.cluster_id != mine.cluster_id:
        raise DivergedRecord(f"record {other.number} is of cluster {other.cluster_id}, not {mine.cluster_id}")
    if other.number == mine.number and other != mine:
        raise DivergedRecord(
            f"there are two records {mine.number}: {mine.stamp.digest}, {other.stamp.digest}"
        )


def _describe(ballot: Ballot) -> str:
    return f"ballot {ballot.round} of {ballot.proposer}"


def _ballot_to_json(ballot: Ballot | None) -> list[Any] | None:
    return None if ballot is None else [ballot.round, str(ballot.proposer)]


def _ballot_from_json(data: Any) -> Ballot | None:
    if data is None:
        return None
    round_number, proposer = data
    return Ballot(int(round_number), Identity.parse(proposer))


def _record_from_json(data: str | None) -> EpochRecord | None:
    return None if data is None else EpochRecord.decode(data.encode())
