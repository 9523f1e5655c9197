"""Adoption and voting: what is on disk before a node acts or answers (docs/ring-changes.md, rules 3, 6 and 16)."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.node.epoch.epochs import META_HANDOFF, Epochs
from covey.node.errors import StorageFailed
from covey.node.storage.interface import Entry
from covey.ring.epoch import EpochRecord, RingSpec
from covey.ring.moves import RingChange
from covey.ring.paxos import Ballot, DivergedRecord
from covey.ring.ring import Ring
from covey.ring.tokens import token_of
from tests.simulator.virtual_time import in_virtual_time, run
from tests.support.memory_engine import MemoryEngine
from tests.support.replicas import entry
from tests.support.rings import following, identities, record, ring, rings

ME, OTHER, THIRD, JOINER = identities(4)
FIRST = record(ring(1, 2, 3))
SECOND = following(FIRST, ring(1, 2, 3, 4))
FLUSH_S = 0.01


def _disk() -> MemoryEngine:
    return MemoryEngine("sync", flush_latency_s=FLUSH_S)


async def _at(record: EpochRecord, engine: MemoryEngine | None = None) -> tuple[Epochs, MemoryEngine]:
    engine = engine or _disk()
    epochs = Epochs(ME, engine)
    await epochs.adopt(record)
    return epochs, engine


def _begin(adopting: object) -> asyncio.Task[bool]:
    return asyncio.get_running_loop().create_task(adopting)  # type: ignore[arg-type]


@in_virtual_time
async def test_a_fresh_node_has_no_epoch() -> None:
    epochs = Epochs(ME, _disk())
    assert (epochs.current, epochs.record, epochs.stamp, epochs.number) == (None, None, None, 0)


@in_virtual_time
async def test_a_record_survives_a_power_failure_once_it_is_adopted() -> None:
    _, engine = await _at(FIRST)
    assert Epochs(ME, engine.crash()).record == FIRST


@in_virtual_time
async def test_a_record_is_not_acted_on_before_it_is_on_disk() -> None:
    epochs, engine = await _at(FIRST)
    seen: list[int] = []
    epochs.observe(lambda epoch: seen.append(engine.unsynced_batches))
    adopting = _begin(epochs.adopt(SECOND))
    await asyncio.sleep(FLUSH_S / 2)
    assert epochs.number == 1
    await adopting
    assert epochs.number == 2
    assert seen == [0]


@settings(deadline=None)
@given(st.permutations([1, 2, 3, 4]))
def test_only_higher_numbers_are_adopted_whatever_the_order(order: list[int]) -> None:
    async def adopts() -> None:
        epochs = Epochs(ME, _disk())
        highest = 0
        for number in order:
            taken = await epochs.adopt(record(ring(1, 2, 3), number=number))
            assert taken == (number > highest)
            highest = max(highest, number)
            assert epochs.number == highest

    run(adopts())


@in_virtual_time
async def test_adoptions_at_the_same_time_end_at_the_highest() -> None:
    epochs, _ = await _at(FIRST)
    numbers = [3, 5, 2, 4]
    await asyncio.gather(*(epochs.adopt(record(ring(1, 2, 3), number=n)) for n in numbers))
    assert epochs.number == 5


@in_virtual_time
async def test_a_record_of_another_cluster_is_an_alarm_and_changes_nothing() -> None:
    epochs, _ = await _at(FIRST)
    foreign = EpochRecord(9, "another", FIRST.owners)
    with pytest.raises(DivergedRecord):
        await epochs.adopt(foreign)
    assert epochs.record == FIRST
    await asyncio.wait_for(epochs.settled(), 1)


# --- rule 6: what is gained is dropped first ---


@settings(deadline=None)
@given(rings(), rings(), st.sets(st.binary(min_size=1, max_size=2), max_size=12))
def test_adopting_drops_exactly_the_ranges_that_this_node_enters(
    old: RingSpec, new: RingSpec, keys: set[bytes]
) -> None:
    async def adopts() -> None:
        epochs, engine = await _at(record(old))
        for key in sorted(keys):
            engine.merge([(key, entry(1))])
        await epochs.adopt(record(old, new, number=2))
        for key in keys:
            before, after = Ring(old).preference_list(token_of(key)), Ring(new).preference_list(token_of(key))
            gained = ME in after and ME not in before
            assert (engine.get(key) is None) == gained

    run(adopts())


@pytest.mark.parametrize("kept", [0, 1])
def test_the_record_and_the_drop_are_on_disk_together_or_not_at_all(kept: int) -> None:
    """Power fails while they are being written; whichever batches survive, dropped means adopted."""

    async def crashes() -> None:
        before, change = record(ring(2, 3, 4)), record(ring(2, 3, 4), ring(1, 2, 3), number=2)
        epochs, engine = await _at(before)
        span = RingChange.between(change.owners, change.live_rings[1]).gained_ranges(ME)[0]
        key = next(k for k in (b"%d" % i for i in range(1000)) if span.contains(token_of(k)))
        engine.merge([(key, entry(1))], {META_HANDOFF: b"{}"})
        await engine.durable()
        adopting = _begin(epochs.adopt(change))
        await asyncio.sleep(FLUSH_S / 2)
        engine = engine.crash(keep_unsynced=kept)
        await asyncio.gather(adopting, return_exceptions=True)
        adopted = Epochs(ME, engine).number == 2
        assert adopted == bool(kept)
        assert (engine.get(key) is None) == adopted
        assert (engine.get_meta(META_HANDOFF) is None) == adopted

    run(crashes())


@in_virtual_time
async def test_at_the_same_number_nothing_is_dropped_again() -> None:
    change = record(ring(2, 3, 4), ring(1, 2, 3, 4), number=2)
    epochs, engine = await _at(change)
    key = next(b"%d" % i for i in range(1000) if _gains(change, b"%d" % i))
    engine.merge([(key, entry(1))])
    assert not await epochs.adopt(change)
    assert engine.get(key) == Entry(entry(1).version, b"v")


def _gains(change: EpochRecord, key: bytes) -> bool:
    spans = RingChange.between(change.owners, change.live_rings[1]).gained_ranges(ME)
    return any(span.contains(token_of(key)) for span in spans)


# --- rule 16: nothing is served meanwhile ---


@in_virtual_time
async def test_nobody_is_let_through_while_a_record_is_being_adopted() -> None:
    epochs, _ = await _at(FIRST)
    adopting = _begin(epochs.adopt(SECOND))
    await asyncio.sleep(FLUSH_S / 2)
    passed = asyncio.get_running_loop().create_task(epochs.settled())
    await asyncio.sleep(0)
    assert not passed.done()
    await passed
    assert epochs.number == 2
    await adopting


@in_virtual_time
async def test_one_let_through_after_two_adoptions_is_under_the_second() -> None:
    """Woken by the first adoption's end, it must look again."""
    epochs, _ = await _at(FIRST)
    adoptions = [_begin(epochs.adopt(SECOND)), _begin(epochs.adopt(following(SECOND)))]
    await asyncio.sleep(FLUSH_S / 2)
    await epochs.settled()
    assert epochs.number in (2, 3)
    assert epochs._settled.is_set()
    await asyncio.gather(*adoptions)


@in_virtual_time
async def test_a_disk_that_fails_in_the_middle_serves_nothing_from_what_was_dropped() -> None:
    epochs, engine = await _at(FIRST)
    engine.break_disk()
    with pytest.raises(StorageFailed):
        await epochs.adopt(SECOND)
    assert epochs.number == 1
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(epochs.settled(), 10)


@in_virtual_time
async def test_an_adoption_is_finished_though_whoever_asked_for_it_gave_up() -> None:
    epochs, engine = await _at(FIRST)
    adopting = _begin(epochs.adopt(SECOND))
    await asyncio.sleep(FLUSH_S / 2)
    adopting.cancel()
    await asyncio.gather(adopting, return_exceptions=True)
    await epochs.close()
    assert epochs.number == 2
    assert Epochs(ME, engine.crash()).number == 2


# --- rule 3: the acceptor ---


@in_virtual_time
async def test_a_promise_survives_a_power_failure() -> None:
    epochs, engine = await _at(FIRST)
    assert (await epochs.prepare(FIRST, Ballot(2, OTHER))).granted
    again = Epochs(ME, engine.crash())
    answer = await again.prepare(FIRST, Ballot(1, THIRD))
    assert (answer.granted, answer.promised) == (False, Ballot(2, OTHER))


@in_virtual_time
async def test_an_accepted_value_survives_a_power_failure() -> None:
    epochs, engine = await _at(FIRST)
    ballot = Ballot(1, OTHER)
    await epochs.prepare(FIRST, ballot)
    assert (await epochs.accept(FIRST.stamp, ballot, SECOND, False, [], [])).granted
    answer = await Epochs(ME, engine.crash()).prepare(FIRST, Ballot(2, THIRD))
    assert (answer.accepted_ballot, answer.accepted) == (ballot, SECOND)


@in_virtual_time
async def test_no_answer_leaves_before_the_promise_is_on_disk() -> None:
    epochs, engine = await _at(FIRST)
    await epochs.prepare(FIRST, Ballot(1, OTHER))
    assert engine.unsynced_batches == 0


@in_virtual_time
async def test_an_acceptor_that_knows_less_adopts_the_base_first() -> None:
    epochs, _ = await _at(FIRST)
    base = following(FIRST)
    assert (await epochs.prepare(base, Ballot(1, OTHER))).granted
    assert epochs.record == base


@in_virtual_time
async def test_an_acceptor_that_knows_more_answers_with_that() -> None:
    epochs, _ = await _at(SECOND)
    answer = await epochs.prepare(FIRST, Ballot(1, OTHER))
    assert (answer.granted, answer.newer) == (False, SECOND)


# --- who is told ---


@in_virtual_time
async def test_a_watcher_is_told_once_and_not_after_it_stopped_watching() -> None:
    epochs, _ = await _at(FIRST)
    told: list[str] = []
    watchers = {name: (lambda name=name: told.append(name)) for name in ("stays", "goes")}
    for watcher in watchers.values():
        epochs.watch(watcher)
    epochs.unwatch(watchers["goes"])
    await epochs.adopt(SECOND)
    await epochs.adopt(following(SECOND))
    assert told == ["stays"]


@in_virtual_time
async def test_observers_hear_of_every_epoch_before_anything_is_served_under_it() -> None:
    epochs, _ = await _at(FIRST)
    heard: list[tuple[int, bool]] = []
    epochs.observe(lambda epoch: heard.append((epoch.number, epochs._settled.is_set())))
    await epochs.adopt(SECOND)
    await epochs.adopt(following(SECOND))
    assert heard == [(2, False), (3, False)]
