"""Quorum counting against naive oracles: every subset of replicas is tried."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import chain, combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.identity import Identity
from covey.node.coordinator.context import live_rings
from covey.node.epoch.epochs import Epoch
from covey.quorum.consistency import QUORUM, plan_read, plan_write
from covey.quorum.counter import (
    OneRingCounter,
    QuorumCounter,
    Requirement,
    quorum_counter,
    replicas_of,
    satisfiable_without,
    satisfied,
)
from tests.support.rings import epochs, identity

keys = st.binary(min_size=1, max_size=3)
A, B, C, D = (identity(n) for n in (1, 2, 3, 4))
ONE_RING = (Requirement((A, B, C), 2),)
TWO_RINGS = (Requirement((A, B, C), 2), Requirement((B, C, D), 2))


def naively_satisfied(requirements: Iterable[Requirement], answered: Collection[Identity]) -> bool:
    for part in requirements:
        count = 0
        for replica in part.replicas:
            if replica in answered:
                count += 1
        if count < part.needed:
            return False
    return True


def subsets(items: Sequence[Identity]) -> Iterable[tuple[Identity, ...]]:
    return chain.from_iterable(combinations(items, size) for size in range(len(items) + 1))


def could_be_satisfied(requirements: Sequence[Requirement], out: Collection[Identity]) -> bool:
    return any(
        naively_satisfied(requirements, answered)
        for answered in subsets(replicas_of(requirements))
        if not set(answered) & set(out)
    )


@settings(deadline=None)
@given(epochs(), keys, st.permutations(range(1, 9)), st.lists(st.booleans(), min_size=8, max_size=8))
def test_a_quorum_is_reached_when_every_live_ring_has_it_and_lost_when_none_can(
    epoch: Epoch, key: bytes, order: list[int], answers: list[bool]
) -> None:
    requirements = plan_write(live_rings(epoch, key), QUORUM).acknowledgements
    counter = quorum_counter([requirements], len(epoch.rings))
    acks: set[Identity] = set()
    nacks: set[Identity] = set()
    for replica, acknowledges in zip(map(identity, order), answers, strict=True):
        if replica not in replicas_of(requirements):
            continue
        before = naively_satisfied(requirements, acks)
        (acks if acknowledges else nacks).add(replica)
        reached, lost = (
            naively_satisfied(requirements, acks),
            not could_be_satisfied(requirements, nacks),
        )
        if acknowledges:
            assert counter.ack(replica, [0]) == ([0] if reached and not before else [])
        else:
            assert counter.nack(replica, 0) == (lost and not reached)
        assert (counter.reached(0), counter.lost(0)) == (reached, lost)
        if not lost:
            assert counter.acks(0) == len(acks)


@settings(deadline=None)
@given(epochs(), keys, st.sets(st.integers(1, 8)))
def test_replicas_are_a_quorum_by_the_same_rule_that_leaves_one_without_them(
    epoch: Epoch, key: bytes, numbers: set[int]
) -> None:
    requirements = plan_read(live_rings(epoch, key), QUORUM).replies
    some = {identity(number) for number in numbers}
    assert satisfied(requirements, some) == naively_satisfied(requirements, some)
    assert satisfiable_without(requirements, some) == could_be_satisfied(requirements, some)


@pytest.mark.parametrize("kind", [QuorumCounter, OneRingCounter])
def test_operations_of_a_batch_are_counted_apart(kind: type[QuorumCounter]) -> None:
    counter = kind([ONE_RING] * 3)
    assert counter.ack(A, [0, 1]) == []
    assert counter.ack(B, [1, 2]) == [1]
    assert [counter.acks(operation) for operation in range(3)] == [1, 2, 1]
    assert not counter.nack(C, 0)
    assert counter.nack(B, 0)
    assert not counter.nack(C, 1), "its quorum is reached already"


def test_an_acknowledgement_from_outside_the_lists_does_not_count() -> None:
    counter = QuorumCounter([ONE_RING])
    counter.ack(A, [0])
    counter.ack(D, [0])
    assert not counter.reached(0)


def test_one_replica_counts_in_every_ring_that_it_is_in() -> None:
    counter = quorum_counter([TWO_RINGS], 2)
    assert counter.ack(B, [0]) == []
    assert counter.ack(A, [0]) == []
    assert counter.ack(C, [0]) == [0]


@settings(deadline=None)
@given(epochs(strict=True), keys, st.data())
def test_with_strict_quorums_every_reached_read_meets_every_reached_write_in_every_ring(
    epoch: Epoch, key: bytes, data: st.DataObject
) -> None:
    """R + W > N, so that a read sees what was acknowledged."""
    writing = plan_write(live_rings(epoch, key), QUORUM).acknowledgements
    reading = plan_read(live_rings(epoch, key), QUORUM).replies
    for wrote, read in zip(writing, reading, strict=True):
        acknowledged = data.draw(st.permutations(wrote.replicas))[: wrote.needed]
        replied = data.draw(st.permutations(read.replicas))[: read.needed]
        assert set(acknowledged) & set(replied)


def test_replicas_are_named_once_and_in_list_order() -> None:
    assert replicas_of([Requirement((C, A), 1), Requirement((A, B), 1)]) == (C, A, B)
