"""The newest of a read's replies, and who lacks it, against naive oracles."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from covey.node.coordinator.context import live_rings
from covey.node.epoch.epochs import Epoch
from covey.node.storage.interface import Entry
from covey.quorum.consistency import QUORUM, plan_read
from covey.quorum.counter import replicas_of
from covey.quorum.read_replies import ReadReplies
from tests.quorum.test_counter import could_be_satisfied, naively_satisfied
from tests.support.replicas import entry
from tests.support.rings import epochs, identity

keys = st.binary(min_size=1, max_size=3)


@settings(deadline=None)
@given(epochs(), keys, st.dictionaries(st.integers(1, 8), st.none() | st.integers(1, 3)))
def test_a_version_is_settled_when_w_of_every_live_ring_hold_it_or_a_newer_one(
    epoch: Epoch, key: bytes, held: dict[int, int | None]
) -> None:
    plan = plan_read(live_rings(epoch, key), QUORUM)
    replies: ReadReplies[Entry] = ReadReplies(plan.holders)
    for number, stands in held.items():
        replies.entries[identity(number)] = None if stands is None else entry(stands)
    for wanted in (1, 2, 3):
        holders = {identity(n) for n, stands in held.items() if stands is not None and stands >= wanted}
        assert replies.settled(entry(wanted)) == naively_satisfied(plan.holders, holders)
        assert set(replies.lacking(entry(wanted))) == set(replicas_of(plan.holders)) - holders


@settings(deadline=None)
@given(epochs(), keys, st.sets(st.integers(1, 8)), st.sets(st.integers(1, 8)))
def test_a_version_can_settle_while_the_copies_that_failed_are_not_needed(
    epoch: Epoch, key: bytes, holding: set[int], lost: set[int]
) -> None:
    plan = plan_read(live_rings(epoch, key), QUORUM)
    replies: ReadReplies[Entry] = ReadReplies(plan.holders)
    for number in holding:
        replies.entries[identity(number)] = entry(1)
    out = {identity(n) for n in lost - holding}
    expected = could_be_satisfied(plan.holders, out)
    assert replies.can_settle(entry(1), {identity(n) for n in lost}) == expected


def test_the_newest_entry_may_be_a_tombstone() -> None:
    replies: ReadReplies[Entry] = ReadReplies(())
    replies.entries = {identity(1): entry(1, b"old"), identity(2): entry(2, None)}
    assert replies.newest == entry(2, None)


def test_replies_without_an_entry_have_no_newest_one() -> None:
    replies: ReadReplies[Entry] = ReadReplies(())
    replies.entries[identity(1)] = None
    assert replies.newest is None
