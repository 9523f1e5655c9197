"""What one acceptor and one proposer answer, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from covey.identity import Identity
from covey.ring.epoch import EpochRecord, Owner, Quorums, RingSpec
from covey.ring.paxos import (
    BEHIND,
    Acceptor,
    AcceptorReply,
    AcceptorState,
    Ballot,
    DivergedRecord,
    Phase,
    Proposer,
    next_ballot,
)
from covey.ring.succession import begin, finish, raise_floor

A, B, C, D, E, F = NODES = tuple(Identity(name, number) for number, name in enumerate("abcdef", start=1))


def ring_of(*nodes: Identity) -> RingSpec:
    return RingSpec({node: Owner((node.disk_id,)) for node in nodes}, Quorums())


BASE = EpochRecord(1, "cluster", ring_of(A, B, C))
X, Y, Z = (raise_floor(BASE, floor) for floor in (1, 2, 3))


# --- one acceptor ------------------------------------------------------------


def acceptor_at(record: EpochRecord | None = BASE, identity: Identity = A) -> Acceptor:
    return Acceptor(identity, AcceptorState(record))


def vote(
    acceptor: Acceptor, ballot: Ballot, proposal: EpochRecord, bound: bool = False, **view: Sequence[Identity]
) -> AcceptorReply:
    known = {"alive": (), "leaving": (), **view}
    return acceptor.accept(BASE.stamp, ballot, proposal, bound, known["alive"], known["leaving"])


def test_a_promise_tells_what_was_accepted_before() -> None:
    acceptor = acceptor_at()
    assert vote(acceptor, Ballot(1, A), X).granted
    answer = acceptor.prepare(BASE, Ballot(2, B))
    assert (answer.granted, answer.accepted_ballot, answer.accepted) == (True, Ballot(1, A), X)


def test_a_promise_binds_against_lower_ballots_and_names_itself() -> None:
    acceptor = acceptor_at()
    assert acceptor.prepare(BASE, Ballot(2, B)).granted
    assert acceptor.prepare(BASE, Ballot(2, A)).promised == Ballot(2, B)
    refused = vote(acceptor, Ballot(1, C), X)
    assert (refused.granted, refused.promised) == (False, Ballot(2, B))
    assert acceptor.state.accepted is None


def test_a_ballot_is_promised_once_but_may_be_accepted_again() -> None:
    """A repeated accept is answered alike; a repeated prepare may come from a proposer that forgot."""
    acceptor = acceptor_at()
    assert acceptor.prepare(BASE, Ballot(1, B)).granted
    assert not acceptor.prepare(BASE, Ballot(1, B)).granted
    assert vote(acceptor, Ballot(1, B), X).granted
    assert vote(acceptor, Ballot(1, B), X).granted


def test_one_ballot_never_carries_two_proposals() -> None:
    acceptor = acceptor_at()
    assert vote(acceptor, Ballot(1, B), X).granted
    assert not vote(acceptor, Ballot(1, B), Y).granted
    assert acceptor.state.accepted == X


def test_an_acceptor_that_is_ahead_answers_with_what_it_knows() -> None:
    ahead = acceptor_at(X)
    assert ahead.prepare(BASE, Ballot(1, B)).newer == X
    assert vote(ahead, Ballot(1, B), Y).newer == X


@pytest.mark.parametrize("record", [None, BASE])
def test_an_acceptor_that_is_behind_adopts_only_when_told(record: EpochRecord | None) -> None:
    """Adopting drops ranges in the node, so it is the node's step and not a side effect of a vote."""
    acceptor = acceptor_at(record)
    following = raise_floor(X, 7)
    assert acceptor.prepare(X, Ballot(1, B)).reason == BEHIND
    assert acceptor.accept(X.stamp, Ballot(1, B), following, False, (), ()).reason == BEHIND
    assert acceptor.state == AcceptorState(record)
    assert acceptor.adopt(X)
    assert acceptor.prepare(X, Ballot(1, B)).granted


def test_adopting_begins_a_fresh_instance() -> None:
    """What was promised and accepted for record 2 means nothing for record 3."""
    acceptor = acceptor_at()
    assert vote(acceptor, Ballot(9, B), X).granted
    assert acceptor.adopt(Y)
    assert acceptor.state == AcceptorState(Y)


def test_only_a_higher_record_is_adopted() -> None:
    acceptor = acceptor_at(X)
    assert not acceptor.adopt(BASE)
    assert not acceptor.adopt(X)
    assert acceptor.state.record == X


@pytest.mark.parametrize("foreign", [replace(X, number=9, cluster_id="other"), Y])
def test_a_record_of_another_history_is_an_alarm(foreign: EpochRecord) -> None:
    acceptor = acceptor_at(X)
    with pytest.raises(DivergedRecord):
        acceptor.adopt(foreign)
    assert acceptor.state.record == X


def test_a_base_of_the_same_number_but_other_content_gets_no_vote() -> None:
    acceptor = acceptor_at(X)
    assert "diverge" in acceptor.prepare(Y, Ballot(1, B)).reason
    assert acceptor.state.promised is None


def test_a_successor_has_no_vote_while_the_change_runs() -> None:
    """Acceptors are the owners, also while there are successors."""
    changing = begin(BASE, ring_of(B, C, D))
    joiner, leaver = acceptor_at(changing, D), acceptor_at(changing, A)
    assert not joiner.prepare(changing, Ballot(1, D)).granted
    assert not joiner.accept(changing.stamp, Ballot(1, D), finish(changing), False, (), ()).granted
    assert leaver.prepare(changing, Ballot(1, D)).granted


def test_an_illegal_succession_gets_no_vote_even_when_bound() -> None:
    acceptor = acceptor_at()
    switched = replace(BASE, number=2, owners=replace(BASE.owners, quorums=Quorums(3, 3, 1)))
    assert not vote(acceptor, Ballot(1, B), switched, bound=True).granted
    assert acceptor.state == AcceptorState(BASE)


EVICTION = begin(BASE, ring_of(A, B))


@pytest.mark.parametrize(
    ("bound", "alive", "leaving", "granted"),
    [
        (False, (A, B, C), (), False),
        (False, (A, B), (), True),
        (False, (A, B, C), (C,), True),
        (True, (A, B, C), (), True),
    ],
)
def test_a_node_seen_alive_is_evicted_only_when_it_leaves_or_the_proposal_is_bound(
    bound: bool, alive: Sequence[Identity], leaving: Sequence[Identity], granted: bool
) -> None:
    assert vote(acceptor_at(), Ballot(1, B), EVICTION, bound, alive=alive, leaving=leaving).granted is granted


def test_an_acceptor_knows_that_it_is_alive_itself() -> None:
    assert not vote(acceptor_at(identity=C), Ballot(1, B), EVICTION, alive=()).granted


@pytest.mark.parametrize(
    "state",
    [
        AcceptorState(),
        AcceptorState(BASE),
        AcceptorState(BASE, Ballot(3, B)),
        AcceptorState(BASE, Ballot(3, B), Ballot(2, A), begin(BASE, ring_of(D))),
    ],
)
def test_the_state_survives_the_disk(state: AcceptorState) -> None:
    assert AcceptorState.decode(state.encode()) == state


@pytest.mark.parametrize("encoded", [b"", b"[]", b"{}", b'{"record":"{}"}', b"\xff"])
def test_a_damaged_state_is_refused(encoded: bytes) -> None:
    with pytest.raises(ValueError, match="not an acceptor's state"):
        AcceptorState.decode(encoded)


# --- one proposer ------------------------------------------------------------


def test_a_majority_of_promises_then_of_votes_chooses() -> None:
    proposer = Proposer(BASE, Ballot(1, A), X)
    proposer.on_promise(A, AcceptorReply(True))
    assert proposer.phase is Phase.PREPARING
    proposer.on_promise(B, AcceptorReply(True))
    assert (proposer.phase, proposer.value, proposer.bound) == (Phase.ACCEPTING, X, False)
    proposer.on_accept(B, AcceptorReply(True))
    assert proposer.chosen is None
    proposer.on_accept(C, AcceptorReply(True))
    assert proposer.chosen == X


def test_the_accepted_value_of_the_highest_ballot_is_taken_over() -> None:
    proposer = Proposer(BASE, Ballot(9, A), X)
    proposer.on_promise(A, AcceptorReply(True, accepted_ballot=Ballot(3, B), accepted=Z))
    proposer.on_promise(B, AcceptorReply(True, accepted_ballot=Ballot(2, C), accepted=Y))
    assert (proposer.value, proposer.bound) == (Z, True)


def test_an_answer_that_comes_twice_counts_once() -> None:
    proposer = Proposer(BASE, Ballot(1, A), X)
    for _ in range(3):
        proposer.on_promise(A, AcceptorReply(True))
    assert proposer.phase is Phase.PREPARING


def test_an_answer_from_anyone_but_an_owner_counts_nothing() -> None:
    proposer = Proposer(begin(BASE, ring_of(C, D, E)), Ballot(1, A), finish(begin(BASE, ring_of(C, D, E))))
    for node in (C, D, E):
        proposer.on_promise(node, AcceptorReply(True))
    assert proposer.phase is Phase.PREPARING


def test_a_promise_that_comes_late_changes_nothing_any_more() -> None:
    proposer = Proposer(BASE, Ballot(9, A), X)
    proposer.on_promise(A, AcceptorReply(True))
    proposer.on_promise(B, AcceptorReply(True))
    proposer.on_promise(C, AcceptorReply(True, accepted_ballot=Ballot(1, C), accepted=Y))
    assert (proposer.value, proposer.bound) == (X, False)


def test_an_attempt_is_lost_when_a_majority_refuses_and_names_the_ballot_to_beat() -> None:
    proposer = Proposer(BASE, Ballot(1, A), X)
    proposer.on_promise(B, AcceptorReply(False, promised=Ballot(4, B)))
    assert proposer.phase is Phase.PREPARING
    proposer.on_promise(C, AcceptorReply(False, promised=Ballot(2, C)))
    assert (proposer.phase, proposer.lost_to) == (Phase.LOST, Ballot(4, B))
    assert next_ballot(proposer.lost_to, A) == Ballot(5, A) > Ballot(4, B)
    assert next_ballot(None, A) == Ballot(1, A)


def test_a_newer_record_ends_the_attempt() -> None:
    proposer = Proposer(BASE, Ballot(1, A), X)
    proposer.on_promise(C, AcceptorReply(False, newer=Y))
    assert (proposer.phase, proposer.newer) == (Phase.LOST, Y)
