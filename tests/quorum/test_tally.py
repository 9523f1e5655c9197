"""Tallies against naive oracles: every subset of replicas is tried."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import chain, combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from covey.identity import Identity
from covey.node.epoch.epochs import Epoch
from covey.node.operations import QUORUM
from covey.quorum.plan import plan_read, plan_write
from covey.quorum.tally import ReadTally, Requirement, WriteTally, replicas_of
from tests.support.rings import epochs, identity
from tests.support.stations import entry, version

keys = st.binary(min_size=1, max_size=3)
A, B, C, D = (identity(n) for n in (1, 2, 3, 4))


def _naively_satisfied(requirements: Iterable[Requirement], answered: Collection[Identity]) -> bool:
    for part in requirements:
        count = 0
        for replica in part.replicas:
            if replica in answered:
                count += 1
        if count < part.needed:
            return False
    return True


def _subsets(items: Sequence[Identity]) -> Iterable[tuple[Identity, ...]]:
    return chain.from_iterable(combinations(items, size) for size in range(len(items) + 1))


def _could_be_satisfied(requirements: Sequence[Requirement], out: Collection[Identity]) -> bool:
    return any(
        _naively_satisfied(requirements, answered)
        for answered in _subsets(replicas_of(requirements))
        if not set(answered) & set(out)
    )


outcomes = st.lists(st.tuples(st.integers(1, 8), st.sampled_from(["answers", "fails"])), max_size=14)


@settings(deadline=None)
@given(epochs(), keys, outcomes)
def test_a_write_is_reached_when_every_live_ring_has_w_and_hopeless_when_none_can(
    epoch: Epoch, key: bytes, events: list[tuple[int, str]]
) -> None:
    requirements = plan_write(epoch, key, QUORUM).acknowledgements
    tally = WriteTally(requirements)
    acknowledged: set[Identity] = set()
    failed: set[Identity] = set()
    for number, event in events:
        replica = identity(number)
        if event == "answers":
            tally.acknowledge(replica, version(1))
            acknowledged.add(replica)
        else:
            tally.fail(replica)
            failed.add(replica)
        assert tally.reached == _naively_satisfied(requirements, acknowledged)
        assert tally.hopeless == (not _could_be_satisfied(requirements, failed - acknowledged))


@settings(deadline=None)
@given(epochs(), keys, outcomes)
def test_a_read_is_reached_when_every_live_ring_has_r_and_hopeless_when_none_can(
    epoch: Epoch, key: bytes, events: list[tuple[int, str]]
) -> None:
    plan = plan_read(epoch, key, QUORUM)
    tally = ReadTally(plan.replies, plan.holders)
    replied: set[Identity] = set()
    failed: set[Identity] = set()
    for number, event in events:
        replica = identity(number)
        if event == "answers":
            tally.reply(replica, None)
            replied.add(replica)
        else:
            tally.fail(replica)
            failed.add(replica)
        assert tally.reached == _naively_satisfied(plan.replies, replied)
        assert tally.hopeless == (not _could_be_satisfied(plan.replies, failed - replied))


@settings(deadline=None)
@given(epochs(), keys, st.dictionaries(st.integers(1, 8), st.none() | st.integers(1, 3)))
def test_a_version_is_settled_when_w_of_every_live_ring_hold_it_or_a_newer_one(
    epoch: Epoch, key: bytes, held: dict[int, int | None]
) -> None:
    plan = plan_read(epoch, key, QUORUM)
    tally = ReadTally(plan.replies, plan.holders)
    for number, stands in held.items():
        tally.reply(identity(number), None if stands is None else entry(stands))
    for wanted in (1, 2, 3):
        holders = {identity(n) for n, stands in held.items() if stands is not None and stands >= wanted}
        assert tally.settled(entry(wanted)) == _naively_satisfied(plan.holders, holders)
        assert set(tally.lacking(entry(wanted))) == set(replicas_of(plan.holders)) - holders


@settings(deadline=None)
@given(epochs(), keys, st.sets(st.integers(1, 8)), st.sets(st.integers(1, 8)))
def test_a_version_can_settle_while_the_copies_that_failed_are_not_needed(
    epoch: Epoch, key: bytes, holding: set[int], lost: set[int]
) -> None:
    plan = plan_read(epoch, key, QUORUM)
    tally = ReadTally(plan.replies, plan.holders)
    for number in holding:
        tally.reply(identity(number), entry(1))
    out = {identity(n) for n in lost - holding}
    expected = _could_be_satisfied(plan.holders, out)
    assert tally.can_settle(entry(1), {identity(n): None for n in lost}) == expected


@settings(deadline=None)
@given(epochs(strict=True), keys, st.data())
def test_with_strict_quorums_every_reached_read_meets_every_reached_write_in_every_ring(
    epoch: Epoch, key: bytes, data: st.DataObject
) -> None:
    """R + W > N, which is what lets a read see what was acknowledged."""
    writing = plan_write(epoch, key, QUORUM).acknowledgements
    reading = plan_read(epoch, key, QUORUM).replies
    for wrote, read in zip(writing, reading, strict=True):
        acknowledged = data.draw(st.permutations(wrote.replicas))[: wrote.needed]
        replied = data.draw(st.permutations(read.replicas))[: read.needed]
        assert set(acknowledged) & set(replied)


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1))
def test_the_newest_version_that_stands_is_remembered(stands: list[int]) -> None:
    tally = WriteTally([Requirement((A, B, C), 2)])
    for number, replica in zip(stands, [A, B, C] * len(stands), strict=False):
        tally.acknowledge(replica, version(number))
    assert tally.newest == version(max(stands))


def test_a_failure_after_an_acknowledgement_takes_nothing_back() -> None:
    tally = WriteTally([Requirement((A,), 1)])
    tally.acknowledge(A, version(1))
    tally.fail(A)
    assert tally.reached
    assert not tally.hopeless


def test_an_acknowledgement_from_outside_the_list_does_not_count() -> None:
    tally = WriteTally([Requirement((A, B), 2)])
    tally.acknowledge(A, version(1))
    tally.acknowledge(D, version(1))
    assert not tally.reached


def test_one_replica_counts_in_every_ring_that_it_is_in_but_once_in_each() -> None:
    tally = WriteTally([Requirement((A, B), 2), Requirement((B, C), 1)])
    tally.acknowledge(B, version(1))
    tally.acknowledge(B, version(1))
    assert not tally.reached
    tally.acknowledge(A, version(1))
    assert tally.reached


def test_the_newest_entry_of_a_read_may_be_a_tombstone() -> None:
    tally = ReadTally([Requirement((A, B), 2)], ())
    tally.reply(A, entry(1, b"old"))
    tally.reply(B, entry(2, None))
    assert tally.newest == entry(2, None)


def test_a_read_that_found_nothing_has_no_newest_entry() -> None:
    tally = ReadTally([Requirement((A,), 1)], ())
    tally.reply(A, None)
    assert tally.reached
    assert tally.newest is None


def test_replicas_are_named_once_and_in_list_order() -> None:
    assert replicas_of([Requirement((C, A), 1), Requirement((A, B), 1)]) == (C, A, B)
