"""Single-decree Paxos, which chooses record k + 1 after record k (Lamport, "Paxos Made Simple", section 2).

For every record k there is one instance, which chooses its successor. Its acceptors are the owners O of record k, even
while k has successors S. If S voted too, two majorities might not overlap, and two records k + 1 could be chosen.

The driver of these state machines must obey:

1. Send a granted reply only after the current ``Acceptor.state`` is synced to disk, even if the call did not change it
   (a change by an earlier call may not be synced yet). If an acceptor forgot a promise, an older proposal could be
   chosen besides a newer proposal.
2. Adopt records outside of this module. To adopt a record has consequences in the node (it may drop ranges) and needs a
   separate durable step, so an acceptor never adopts a record by itself. On a prepare whose base is newer than its
   record, the node adopts the base and then calls ``prepare``, which refuses an unknown base as ``BEHIND``.
3. The proposer adopts a chosen record like any other node, and pushes it to all nodes at once.

What must never happen, even if messages are lost, repeated, late or reordered and nodes restart from what they synced:
two different records with the same number are chosen.
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
"""The reason for a refusal by an acceptor that has not adopted the base yet."""


class Ballot(NamedTuple):
    """A Paxos proposal number; no two proposers share one, because it contains the proposer's identity.

    A proposer that restarts may use a ballot a second time. No acceptor promises a ballot twice, so at most one of the
    attempts with that ballot is promised by a majority and then proposes.
    """

    round: int
    proposer: Identity


def next_ballot(seen: Ballot | None, proposer: Identity) -> Ballot:
    """Return the lowest ballot of ``proposer`` above ``seen``, the highest known; None if none is known."""
    return Ballot(1 if seen is None else seen.round + 1, proposer)


class DivergedRecord(ValueError):
    """A record of another cluster, or a second record with this number. It is never adopted, and always reported."""


@dataclass(frozen=True, slots=True)
class AcceptorState:
    """The persistent state of an acceptor. All fields but ``record`` belong to the instance with that base."""

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
        """Decode bytes that ``encode`` returned. Raise ValueError for any others."""
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
    """If the request was refused because of a promise, the highest ballot promised."""
    accepted_ballot: Ballot | None = None
    accepted: EpochRecord | None = None
    """In a granted prepare, the last record accepted, under ``accepted_ballot``."""
    newer: EpochRecord | None = None
    """A later record than the base, if the acceptor has one; it shows that the instance is decided."""
    reason: str = ""
    """Why it was refused."""


class Acceptor:
    """One acceptor. Its ``state`` must be synced before a granted reply is sent."""

    def __init__(self, identity: Identity, state: AcceptorState) -> None:
        self.identity = identity
        self.state = state

    def adopt(self, record: EpochRecord) -> bool:
        """Make a higher record the base of a new instance; return False if it is not higher.

        Numbers may be skipped: this node's promises were for instances that are decided. Raise DivergedRecord if
        the two records cannot belong to one history.
        """
        mine = self.state.record
        if mine is not None:
            _check_history(mine, record)
            if record.number <= mine.number:
                return False
        self.state = AcceptorState(record)
        return True

    def prepare(self, base: EpochRecord, ballot: Ballot) -> AcceptorReply:
        """Promise to accept nothing below ``ballot``; the reply has what was accepted before."""
        if (refusal := self._refuse_base(base.stamp)) is not None:
            return refusal
        state = self.state
        # An equal ballot is not promised again either; see Ballot.
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
        """Accept ``proposal`` unless a higher ballot was promised or the proposal must not follow the base.

        ``alive`` and ``leaving`` are this node's view of the members. They matter only if the proposer is free in its
        choice (``bound`` is false). A proposal that may have been chosen already must be accepted; otherwise no record
        could be chosen any more.
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
    """Return why an acceptor must not accept ``proposal``, None if it may; no ``protected`` node may be evicted."""
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
    """This attempt can no longer succeed. Adopt ``newer`` if set; else back off and use a ballot above ``lost_to``."""


class Proposer:
    """One attempt, with one ballot, to have a record chosen as the successor of ``base``. Use it for one attempt only.

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
        """The proposal that accept carries; final once ``phase`` is ACCEPTING."""
        self.bound = False
        """True if ``value`` is a record that an acceptor had accepted before, not this attempt's own proposal."""
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
            # It may have been chosen already. Of several, only the one with the highest ballot can have been.
            self._bound_by, self.value, self.bound = ballot, reply.accepted, True
        if len(self._granted) >= self.base.majority:
            self.phase = Phase.ACCEPTING
            self._granted.clear()
            self.refusals.clear()

    def on_accept(self, acceptor: Identity, reply: AcceptorReply) -> None:
        if self._counts(acceptor, reply, Phase.ACCEPTING) and len(self._granted) >= self.base.majority:
            self.phase = Phase.CHOSEN

    def _counts(self, acceptor: Identity, reply: AcceptorReply, phase: Phase) -> bool:
        """Record a reply to the current phase; return True if it is a vote. Only owners of the base vote."""
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
        # An equal ballot counts too: an earlier attempt with it, before a restart, has failed.
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
