"""Single-decree Paxos over epoch records: how record k + 1 is chosen (Lamport, "Paxos Made Simple", 2).

Every record k has one instance, which decides its successor. Its acceptors are the owners O of record k, also
while k has successors S: were S to vote too, two majorities need not meet, and two records k + 1 could be
chosen.

What the shell owes these state machines:

1. A granted answer leaves the node only once ``Acceptor.state`` as it stands then is synced to disk, even if
   the call did not change it (an earlier call's change may still be on its way). An acceptor that forgets a
   promise lets an older proposal win beside a newer one.
2. Adopting a record has consequences in the node (it may drop ranges) and needs a durable step of its own, so
   an acceptor never adopts by itself. Whoever receives a prepare with a base beyond its record adopts the
   base first, and then calls ``prepare``; until then it is refused as ``BEHIND``.
3. A chosen record is adopted by its proposer like any other and pushed to everyone at once.

What must never happen, and holds whatever messages are lost, repeated, late or reordered, and however often
nodes restart from what they synced: two different records chosen with one number.
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
"""The reason of an acceptor that has not adopted the base yet; it would answer after adopting it."""


class Ballot(NamedTuple):
    """Paxos proposal number; unique because the proposer's identity is part of it.

    A proposer that restarts may draw a ballot again. No acceptor promises one ballot twice, so at most one of
    the attempts that share it reaches a majority and proposes.
    """

    round: int
    proposer: Identity


def next_ballot(seen: Ballot | None, proposer: Identity) -> Ballot:
    """The lowest ballot of ``proposer`` above every one it has ``seen`` (None: no one's yet)."""
    return Ballot(1 if seen is None else seen.round + 1, proposer)


class DivergedRecord(ValueError):
    """A record of another cluster, or a second one with this number: never adopted, always an alarm."""


@dataclass(frozen=True, slots=True)
class AcceptorState:
    """All that an acceptor must never forget; all but ``record`` concern the instance that it is base of."""

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
        """Read back what ``encode`` wrote; raises ValueError for anything else."""
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
class Answer:
    """An acceptor's answer to prepare or accept."""

    granted: bool
    promised: Ballot | None = None
    """The highest ballot promised, when it is why the request was not granted."""
    accepted_ballot: Ballot | None = None
    accepted: EpochRecord | None = None
    """With a granted prepare: what was accepted last, under ``accepted_ballot``."""
    newer: EpochRecord | None = None
    """Set when the acceptor knows a later record than the base: the instance is decided."""
    reason: str = ""
    """Why it was not granted."""


class Acceptor:
    """One node's vote. Plain calls without I/O; ``state`` is to be synced before a granted answer is sent."""

    def __init__(self, identity: Identity, state: AcceptorState) -> None:
        self.identity = identity
        self.state = state

    def is_behind(self, base: EpochRecord) -> bool:
        """Whether ``base`` must be adopted before ``prepare`` can be granted."""
        return self.state.record is None or self.state.record.number < base.number

    def adopt(self, record: EpochRecord) -> bool:
        """Take a higher record as the base of a fresh instance; False when it is not higher.

        Skipping numbers is fine: what this node promised or accepted concerned a record that is settled.
        """
        mine = self.state.record
        if mine is not None:
            _require_same_history(mine, record)
            if record.number <= mine.number:
                return False
        self.state = AcceptorState(record)
        return True

    def prepare(self, base: EpochRecord, ballot: Ballot) -> Answer:
        """Promise to accept nothing below ``ballot``, and tell what was accepted."""
        if (refusal := self._refuse_base(base.stamp)) is not None:
            return refusal
        state = self.state
        # Not even an equal ballot is promised again, see Ballot.
        if state.promised is not None and ballot <= state.promised:
            return _outbid(state.promised)
        self.state = replace(state, promised=ballot)
        return Answer(True, accepted_ballot=state.accepted_ballot, accepted=state.accepted)

    def accept(
        self,
        base: EpochStamp,
        ballot: Ballot,
        proposal: EpochRecord,
        bound: bool,
        alive: Collection[Identity],
        leaving: Collection[Identity],
    ) -> Answer:
        """Vote for ``proposal`` unless a higher ballot was promised or it must not follow the base.

        ``alive`` and ``leaving`` are this node's view of the members. They count only while nothing was
        accepted before (``bound`` false): what may have been chosen already must go through, or agreement
        would freeze.
        """
        if (refusal := self._refuse_base(base)) is not None:
            return refusal
        state = self.state
        if state.promised is not None and ballot < state.promised:
            return _outbid(state.promised)
        if ballot == state.accepted_ballot and proposal != state.accepted:
            return Answer(False, reason=f"{_text(ballot)} came with another proposal before")
        spared = frozenset[Identity]() if bound else (frozenset(alive) | {self.identity}) - frozenset(leaving)
        if (objection := _object_to(state.record, proposal, spared)) is not None:
            return Answer(False, reason=objection)
        self.state = replace(state, promised=ballot, accepted_ballot=ballot, accepted=proposal)
        return Answer(True)

    def _refuse_base(self, base: EpochStamp) -> Answer | None:
        """The answer to a question about another instance, or one in which this node has no vote."""
        record = self.state.record
        if record is None or record.number < base.number:
            return Answer(False, reason=BEHIND)
        if record.number > base.number:
            return Answer(False, newer=record, reason=f"record {record.number} stands already")
        if record.stamp != base:
            return Answer(
                False, reason=f"another record {base.number} is adopted here: the histories diverge"
            )
        if self.identity not in record.owners.owners:
            return Answer(False, reason=f"{self.identity} is not an owner in record {base.number}")
        return None


def _outbid(promised: Ballot) -> Answer:
    return Answer(False, promised=promised, reason=f"{_text(promised)} was promised")


def _object_to(base: EpochRecord | None, proposal: EpochRecord, spared: Collection[Identity]) -> str | None:
    """Why an acceptor must not vote for ``proposal``; ``spared`` are the nodes it may not evict."""
    if base is None:
        return BEHIND
    try:
        check_succession(base, proposal)
    except IllegalSuccession as illegal:
        return str(illegal)
    for identity in evicted(base, proposal):
        if identity in spared:
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

    Send prepare to every owner of ``base`` and feed the answers to ``on_promise``; once ``phase`` is
    ACCEPTING, send accept with ``value`` and ``bound`` to every owner and feed the answers to ``on_accept``;
    once it is CHOSEN, ``chosen`` is record k + 1. Answers may come twice, late, or never.
    """

    def __init__(self, base: EpochRecord, ballot: Ballot, proposal: EpochRecord) -> None:
        check_succession(base, proposal)
        self.base = base
        self.ballot = ballot
        self.phase = Phase.PREPARING
        self.value = proposal
        """What accept is to carry, final once ACCEPTING."""
        self.bound = False
        """Whether ``value`` is what an acceptor had accepted before, rather than this attempt's proposal."""
        self.lost_to: Ballot | None = None
        """The highest ballot, not below this one, that an acceptor had promised before."""
        self.newer: EpochRecord | None = None
        """The highest later record that an acceptor named."""
        self.refusals: dict[Identity, str] = {}
        """Why acceptors did not grant the current phase."""
        self._granted: set[Identity] = set()
        self._bound_by: Ballot | None = None

    @property
    def chosen(self) -> EpochRecord | None:
        return self.value if self.phase is Phase.CHOSEN else None

    def on_promise(self, acceptor: Identity, answer: Answer) -> None:
        if not self._counts(acceptor, answer, Phase.PREPARING):
            return
        ballot = answer.accepted_ballot
        if (
            ballot is not None
            and answer.accepted is not None
            and (self._bound_by is None or ballot > self._bound_by)
        ):
            # It may have been chosen already; only the highest one can have been.
            self._bound_by, self.value, self.bound = ballot, answer.accepted, True
        if len(self._granted) >= self.base.majority:
            self.phase = Phase.ACCEPTING
            self._granted.clear()
            self.refusals.clear()

    def on_accept(self, acceptor: Identity, answer: Answer) -> None:
        if self._counts(acceptor, answer, Phase.ACCEPTING) and len(self._granted) >= self.base.majority:
            self.phase = Phase.CHOSEN

    def _counts(self, acceptor: Identity, answer: Answer, phase: Phase) -> bool:
        """Book an answer to the current phase; whether it is a vote. Only owners of the base have one."""
        if acceptor not in self.base.owners.owners or self.phase is not phase:
            return False
        if answer.granted:
            self._granted.add(acceptor)
            self.refusals.pop(acceptor, None)
        elif acceptor not in self._granted:
            self._book_refusal(acceptor, answer)
        return answer.granted

    def _book_refusal(self, acceptor: Identity, answer: Answer) -> None:
        self.refusals[acceptor] = answer.reason
        # An equal ballot counts: it was drawn in an earlier attempt, which came to nothing.
        if answer.promised is not None and answer.promised >= max(self.ballot, self.lost_to or self.ballot):
            self.lost_to = answer.promised
        if answer.newer is not None and (self.newer is None or answer.newer.number > self.newer.number):
            self.newer = answer.newer
        still_possible = len(self.base.owners.owners) - len(self.refusals)
        if self.newer is not None or still_possible < self.base.majority:
            self.phase = Phase.LOST


def _require_same_history(mine: EpochRecord, other: EpochRecord) -> None:
    if other.cluster_id != mine.cluster_id:
        raise DivergedRecord(f"record {other.number} is of cluster {other.cluster_id}, not {mine.cluster_id}")
    if other.number == mine.number and other != mine:
        raise DivergedRecord(
            f"there are two records {mine.number}: {mine.stamp.digest}, {other.stamp.digest}"
        )


def _text(ballot: Ballot) -> str:
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
