"""No interleaving of messages, losses and restarts chooses two records (docs/ring-changes.md, rule 3)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from covey.identity import Identity
from covey.ring.epoch import EpochRecord, EpochStamp, Owner, Quorums, RingSpec
from covey.ring.paxos import (
    Acceptor,
    AcceptorReply,
    AcceptorState,
    Ballot,
    Phase,
    Proposer,
)
from covey.ring.succession import abort, begin, finish, raise_floor

A, B, C, D, E, F = NODES = tuple(Identity(name, number) for number, name in enumerate("abcdef", start=1))


def ring_of(*nodes: Identity) -> RingSpec:
    return RingSpec({node: Owner((node.disk_id,)) for node in nodes}, Quorums())


BASE = EpochRecord(1, "cluster", ring_of(A, B, C))
X, Y, Z = (raise_floor(BASE, floor) for floor in (1, 2, 3))


class TwoChosen(AssertionError):
    """What must never happen."""


class Forgetful(Acceptor):
    """The bug of rule 3: the promise was not synced before it was answered, and the node restarted."""

    def prepare(self, base: EpochRecord, ballot: Ballot) -> AcceptorReply:
        synced = self.state
        answer = super().prepare(base, ballot)
        self.state = synced
        return answer


class Obliging(Acceptor):
    """The bug of promising one ballot twice."""

    def prepare(self, base: EpochRecord, ballot: Ballot) -> AcceptorReply:
        if self.state.promised == ballot:
            return AcceptorReply(
                True, accepted_ballot=self.state.accepted_ballot, accepted=self.state.accepted
            )
        return super().prepare(base, ballot)

    def accept(self, base: EpochStamp, ballot: Ballot, proposal: EpochRecord, *rest: Any) -> AcceptorReply:
        if self.state.accepted_ballot == ballot:
            self.state = replace(self.state, accepted=proposal)
            return AcceptorReply(True)
        return super().accept(base, ballot, proposal, *rest)


class Headstrong(Proposer):
    """The bug of ignoring accepted values."""

    def on_promise(self, acceptor: Identity, answer: AcceptorReply) -> None:
        super().on_promise(acceptor, replace(answer, accepted=None, accepted_ballot=None))


Instance = tuple[tuple[Acceptor, ...], tuple[Proposer, ...]]


def twin_of(proposer: Proposer) -> Proposer:
    twin = copy.copy(proposer)
    for name, value in vars(twin).items():
        if isinstance(value, set | dict):
            setattr(twin, name, value.copy())
    return twin


def fingerprint(instance: Instance) -> object:
    def plain(value: object) -> object:
        return frozenset(value) if isinstance(value, set | dict) else value

    acceptors, proposers = instance
    return (
        tuple((a.state.promised, a.state.accepted_ballot, a.state.accepted) for a in acceptors),
        tuple(tuple(plain(value) for value in vars(proposer).values()) for proposer in proposers),
    )


def ask_to_promise(proposer: Proposer, acceptor: Acceptor) -> Callable[[Proposer], None]:
    """Deliver a prepare; returns what the arrival of its answer does to the proposer."""
    answer = acceptor.prepare(BASE, proposer.ballot)
    return lambda who: who.on_promise(acceptor.identity, answer)


def ask_to_accept(proposer: Proposer, acceptor: Acceptor) -> Callable[[Proposer], None]:
    """Deliver an accept, if the proposer has sent any."""
    if proposer.phase not in (Phase.ACCEPTING, Phase.CHOSEN):
        return lambda who: None
    answer = acceptor.accept(BASE.stamp, proposer.ballot, proposer.value, proposer.bound, (), ())
    return lambda who: who.on_accept(acceptor.identity, answer)


def replaced(items: tuple[Any, ...], place: int, item: object) -> tuple[Any, ...]:
    return (*items[:place], item, *items[place + 1 :])


def next_instances(instance: Instance) -> Iterator[Instance]:
    """Deliver any request to any acceptor, early, late or again; its answer arrives or is lost.

    A late answer is no case of its own: what it leads to is a later delivery of the next request.
    """
    acceptors, proposers = instance
    for number, proposer in enumerate(proposers):
        for place in range(len(acceptors)):
            for ask in (ask_to_promise, ask_to_accept):
                voter, twin = copy.copy(acceptors[place]), twin_of(proposer)
                arrive = ask(proposer, voter)
                arrive(twin)
                yield replaced(acceptors, place, voter), proposers
                yield replaced(acceptors, place, voter), replaced(proposers, number, twin)


def explore(acceptor_kind: type[Acceptor], proposers: tuple[Proposer, ...]) -> int:
    """Visit every state that one instance can reach; returns how many. Raises TwoChosen."""
    start = tuple(acceptor_kind(node, AcceptorState(BASE)) for node in (A, B, C)), proposers
    seen = {fingerprint(start)}
    waiting: list[Instance] = [start]
    while waiting:
        for following in next_instances(waiting.pop()):
            if (mark := fingerprint(following)) not in seen:
                if len({proposer.chosen for proposer in following[1]} - {None}) > 1:
                    raise TwoChosen
                seen.add(mark)
                waiting.append(following)
    return len(seen)


def duel(kind: type[Proposer] = Proposer) -> tuple[Proposer, ...]:
    return kind(BASE, Ballot(1, A), X), kind(BASE, Ballot(2, B), Y)


def restarted(kind: type[Proposer] = Proposer) -> tuple[Proposer, ...]:
    """A proposer that drew its ballot again after a restart, now for another record."""
    return kind(BASE, Ballot(1, A), X), kind(BASE, Ballot(1, A), Y)


@pytest.mark.parametrize("proposers", [duel, restarted])
def test_no_interleaving_chooses_two_records(proposers: Callable[[], tuple[Proposer, ...]]) -> None:
    """Exhaustive: two attempts, three acceptors, every loss, repetition and order."""
    assert explore(Acceptor, proposers()) > 500


@pytest.mark.parametrize(
    ("acceptors", "proposers"),
    [(Forgetful, duel()), (Acceptor, duel(Headstrong)), (Obliging, restarted())],
    ids=["unpersisted promise", "ignoring accepted values", "one ballot promised twice"],
)
def test_the_search_finds_each_bug(acceptors: type[Acceptor], proposers: tuple[Proposer, ...]) -> None:
    with pytest.raises(TwoChosen):
        explore(acceptors, proposers)


def prepare(proposer: Proposer, *acceptors: Acceptor) -> None:
    for acceptor in acceptors:
        ask_to_promise(proposer, acceptor)(proposer)


def accept(proposer: Proposer, *acceptors: Acceptor) -> None:
    for acceptor in acceptors:
        ask_to_accept(proposer, acceptor)(proposer)


def chosen_by(*proposers: Proposer) -> set[EpochRecord]:
    return {proposer.chosen for proposer in proposers if proposer.chosen is not None}


def story_of_a_restart(kind: type[Acceptor]) -> set[EpochRecord]:
    """C promises B's higher ballot and restarts; A's older accept reaches it before B's newer one does."""
    a, b, c = (kind(node, AcceptorState(BASE)) for node in (A, B, C))
    old, new = duel()
    prepare(old, a, c)
    prepare(new, b, c)
    c = kind(C, AcceptorState.decode(c.state.encode()))
    accept(old, a, c)
    accept(new, b, c)
    return chosen_by(old, new)


def story_of_a_second_proposer(kind: type[Proposer]) -> set[EpochRecord]:
    """A's record is chosen by A and B before B's higher ballot asks B and C."""
    a, b, c = (Acceptor(node, AcceptorState(BASE)) for node in (A, B, C))
    first, second = duel(kind)
    prepare(first, a, b)
    accept(first, a, b)
    prepare(second, b, c)
    accept(second, b, c)
    return chosen_by(first, second)


def story_of_a_reused_ballot(kind: type[Acceptor]) -> set[EpochRecord]:
    """A's accept is still under way when A restarts and draws the same ballot for another record."""
    a, b, c = (kind(node, AcceptorState(BASE)) for node in (A, B, C))
    before, after = restarted()
    prepare(before, a, b)
    prepare(after, b, c)
    accept(before, a, b)
    accept(after, b, c)
    return chosen_by(before, after)


class Inviting(Acceptor):
    """Half of the bug of successors as acceptors: one of them votes as if it were an owner."""

    def prepare(self, base: EpochRecord, ballot: Ballot) -> AcceptorReply:
        voter = Acceptor(stand_in(base, self.identity), self.state)
        answer = voter.prepare(base, ballot)
        self.state = voter.state
        return answer

    def accept(self, base: EpochStamp, *request: Any) -> AcceptorReply:
        assert self.state.record is not None
        voter = Acceptor(stand_in(self.state.record, self.identity), self.state)
        answer = voter.accept(base, *request)
        self.state = voter.state
        return answer


class Welcoming(Proposer):
    """The other half: its vote counts."""

    def on_promise(self, acceptor: Identity, answer: AcceptorReply) -> None:
        super().on_promise(stand_in(self.base, acceptor), answer)

    def on_accept(self, acceptor: Identity, answer: AcceptorReply) -> None:
        super().on_accept(stand_in(self.base, acceptor), answer)


def stand_in(base: EpochRecord, node: Identity) -> Identity:
    """The owner whose vote a successor casts when successors vote."""
    assert base.successors is not None
    places = zip(sorted(base.successors.owners), sorted(base.owners.owners), strict=True)
    return dict(places).get(node, node)


def story_of_successors(acceptors: type[Acceptor], proposers: type[Proposer]) -> set[EpochRecord]:
    """Owners a and b decide to abort while successors d and e, who never heard of it, decide to finish."""
    base = begin(BASE, ring_of(D, E, F))
    aborting, finishing = (
        proposers(base, Ballot(1, A), abort(base)),
        proposers(base, Ballot(1, D), finish(base)),
    )
    for proposer, voters in ((aborting, (A, B)), (finishing, (D, E))):
        asked = [acceptors(node, AcceptorState(base)) for node in voters]
        for voter in asked:
            proposer.on_promise(voter.identity, voter.prepare(base, proposer.ballot))
        for voter in asked:
            answer = voter.accept(base.stamp, proposer.ballot, proposer.value, False, (), ())
            proposer.on_accept(voter.identity, answer)
    return chosen_by(aborting, finishing)


def test_a_promise_outlives_a_restart() -> None:
    assert story_of_a_restart(Acceptor) == {Y}
    assert story_of_a_restart(Forgetful) == {X, Y}


def test_what_may_be_chosen_is_taken_over() -> None:
    assert story_of_a_second_proposer(Proposer) == {X}
    assert story_of_a_second_proposer(Headstrong) == {X, Y}


def test_a_ballot_drawn_again_reaches_no_second_majority() -> None:
    assert story_of_a_reused_ballot(Acceptor) == {X}
    assert story_of_a_reused_ballot(Obliging) == {X, Y}


def test_successors_decide_nothing() -> None:
    """Acceptor and proposer each refuse a successor's vote, so both must be broken to lose anything."""
    base = begin(BASE, ring_of(D, E, F))
    for acceptors, proposers in ((Acceptor, Proposer), (Inviting, Proposer), (Acceptor, Welcoming)):
        assert story_of_successors(acceptors, proposers) == {abort(base)}
    assert story_of_successors(Inviting, Welcoming) == {abort(base), finish(base)}
