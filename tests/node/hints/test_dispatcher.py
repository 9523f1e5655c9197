"""Replay: which hints are sent where, when they are deleted, and at what rate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise

import pytest

from covey.identity import Identity
from covey.node.events import Event
from covey.node.hints import dispatcher as dispatcher_module
from covey.node.hints.dispatcher import BACKOFF_S, HintDispatcher
from covey.node.hints.store import NO_HINTS, Hint, HintStore
from covey.node.hints.writer import FOREIGN, HintLog, HintWriter
from covey.node.messages.data import DataBatch, MergeKind
from covey.node.throttle import Throttle
from covey.ring.epoch import EpochRecord
from tests.simulator.cluster import SimulatedClock
from tests.simulator.network import Message
from tests.simulator.virtual_time import in_virtual_time
from tests.support.memory_engine import MemoryEngine
from tests.support.replicas import ReplicaHosts, entry
from tests.support.rings import following, identities, record, ring

WHO = identities(4)
ME, A, _, OUTSIDER = WHO
STABLE = record(ring(1, 2, 3))


class Replaying:
    """Hints at n1 for other nodes, and the dispatcher that would send them."""

    def __init__(self, hosts: ReplicaHosts, rate: float = 0) -> None:
        self.hosts = hosts
        host = hosts[ME]
        self.lines = host.log
        self.store = HintStore(MemoryEngine(), 1 << 30)
        self.lacking: list[Identity] = []
        clock = SimulatedClock()
        self.dispatcher = HintDispatcher(
            host.simulated(1),
            host.data,
            hosts,
            writer=HintWriter(ME, self.store, self.lacking.append, HintLog(clock, host.log)),
            throttle=Throttle(clock, rate),
        )

    def begin(self, to: Identity = A) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(self.dispatcher.replay(to))


async def replaying(at: EpochRecord = STABLE, rate: float = 0) -> Replaying:
    hosts = ReplicaHosts(*WHO)
    await hosts.adopt(at)
    return Replaying(hosts, rate)


def hints(to: Identity = A, count: int = 3, number: int = 5, value: bytes = b"v") -> list[Hint]:
    return [Hint(to, b"k%d" % key, entry(number, value)) for key in range(count)]


def batches_to(sent: list[Message], name: str) -> Callable[[Message], bool]:
    """Record what is sent to a node; matches no message."""

    def seen(message: Message) -> bool:
        if message.target == name and isinstance(message.request.body, DataBatch):
            sent.append(message)
        return False

    return seen


def sends_data(message: Message) -> bool:
    return isinstance(message.request.body, DataBatch)


@in_virtual_time
async def test_the_destination_gets_the_missed_writes_with_their_original_versions_and_the_hints_are_deleted() -> (
    None
):
    there = await replaying()
    there.store.add(hints())
    await there.dispatcher.replay(A)
    for hint in hints():
        assert there.hosts[A].engine.get(hint.key) == hint.entry
    assert there.store.stored(A) == NO_HINTS
    assert [
        (line["member"], line["keys"], line["bytes"]) for line in there.lines.of(Event.HINT_REPLAYED)
    ] == [("n2", 3, 9)]


@in_virtual_time
async def test_a_hint_is_sent_under_the_current_epoch_as_a_write() -> None:
    there = await replaying()
    there.store.add(hints())
    await there.hosts.adopt(following(STABLE))
    sent: list[Message] = []
    there.hosts.network.lose(batches_to(sent, "n2"))
    await there.dispatcher.replay(A)
    [message] = sent
    assert isinstance(message.request.body, DataBatch)
    assert message.request.body.epoch == following(STABLE).stamp
    assert {operation.kind for operation in message.request.body.operations} == {MergeKind.WRITE}  # type: ignore[union-attr]


@in_virtual_time
async def test_a_hint_is_deleted_when_the_destination_holds_a_newer_version() -> None:
    there = await replaying()
    there.hosts[A].hold((b"k0", entry(9)))
    there.store.add(hints())
    await there.dispatcher.replay(A)
    assert there.hosts[A].engine.get(b"k0") == entry(9)
    assert there.store.stored(A) == NO_HINTS


@in_virtual_time
async def test_a_hint_refused_at_the_floor_is_discarded() -> None:
    there = await replaying(record(ring(1, 2, 3), floor=5))
    there.store.add([*hints(number=5), *hints(count=1, number=6)])
    await there.dispatcher.replay(A)
    assert there.hosts[A].engine.get(b"k0") == entry(6)
    assert there.hosts[A].engine.get(b"k1") is None
    assert there.store.stored(A) == NO_HINTS


@in_virtual_time
async def test_hints_for_keys_that_the_destination_does_not_replicate_are_discarded_unsent() -> None:
    there = await replaying()
    there.store.add(hints(OUTSIDER))
    await there.dispatcher.replay(OUTSIDER)
    assert there.hosts[OUTSIDER].engine.get(b"k0") is None
    assert there.store.stored(OUTSIDER) == NO_HINTS
    assert [line["reason"] for line in there.lines.of(Event.HINT_DROPPED)] == [FOREIGN]
    assert there.lacking == []


@in_virtual_time
async def test_a_successor_is_a_replica() -> None:
    there = await replaying(record(ring(1, 2, 3), ring(1, 2, 4)))
    there.store.add(hints(OUTSIDER))
    await there.dispatcher.replay(OUTSIDER)
    assert there.hosts[OUTSIDER].engine.get(b"k0") == entry(5)


@in_virtual_time
async def test_a_hint_replaced_while_its_batch_is_in_flight_is_delivered_too() -> None:
    there = await replaying()
    there.store.add(hints())
    on_the_way = there.hosts.network.hold_replies(sends_data)
    task = there.begin()
    await asyncio.sleep(0.05)
    there.store.add(hints(count=1, number=7))
    on_the_way.release()
    await task
    assert there.hosts[A].engine.get(b"k0") == entry(7)
    assert there.store.stored(A) == NO_HINTS


@in_virtual_time
async def test_hints_without_a_reply_are_kept_and_sent_again_after_growing_pauses() -> None:
    there = await replaying()
    there.store.add(hints())
    loop = asyncio.get_running_loop()
    tries: list[float] = []

    def refused(message: Message) -> bool:
        if sends_data(message):
            tries.append(loop.time())
        return sends_data(message)

    open_again = there.hosts.network.refuse(refused)
    task = there.begin()
    await asyncio.sleep(15)
    pauses = [later - earlier for earlier, later in pairwise(tries[:5])]
    assert len(pauses) == 4
    for number, pause_s in enumerate(pauses):
        assert 0.5 * BACKOFF_S[0] * 2**number <= pause_s < 1.5 * BACKOFF_S[0] * 2**number + 0.1
    assert there.store.stored(A).hints == 3
    open_again()
    await task
    assert there.store.stored(A) == NO_HINTS


@in_virtual_time
async def test_hints_that_failed_are_kept_and_the_others_deleted() -> None:
    there = await replaying()
    there.store.add(hints())
    _damage(there, b"k1")
    task = there.begin()
    await asyncio.sleep(0.05)
    assert [hint.key for hint in there.store.page(A, None, 10, 1000).hints] == [b"k1"]
    assert there.hosts[A].engine.get(b"k0") == entry(5)
    task.cancel()


def _damage(there: Replaying, key: bytes) -> None:
    """Have the destination hold an entry that does not match its checksum."""
    there.hosts[A].hold((key, entry(1)))
    there.hosts[A].engine.flip_bit(key)


@in_virtual_time
async def test_a_destination_at_an_older_epoch_is_sent_the_record_and_then_its_hints() -> None:
    there = await replaying()
    there.store.add(hints())
    await there.hosts.adopt(following(STABLE), ME)
    await there.dispatcher.replay(A)
    assert there.hosts[A].epochs.number == 2
    assert there.store.stored(A) == NO_HINTS


@in_virtual_time
async def test_replay_stops_when_the_destination_is_down_again_and_keeps_the_rest() -> None:
    there = await replaying()
    there.store.add(hints())
    there.hosts.kill(A, noticed=False)
    task = there.begin()
    await asyncio.sleep(0.1)
    there.hosts.down.add(A)
    await task
    assert there.store.stored(A).hints == 3
    assert there.lines.of(Event.HINT_REPLAYED) == []


@in_virtual_time
async def test_one_batch_is_in_flight_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher_module, "BATCH_HINTS", 2)
    there = await replaying()
    there.store.add(hints(count=6))
    hold = there.hosts.network.hold_replies(sends_data)
    task = there.begin()
    await asyncio.sleep(0.1)
    assert len(hold.held) == 1
    assert sum(there.hosts[A].engine.get(hint.key) is not None for hint in hints(count=6)) == 2
    hold.release()
    await task
    assert there.store.stored(A) == NO_HINTS


@in_virtual_time
async def test_replay_keeps_to_its_rate() -> None:
    there = await replaying(rate=100_000)
    there.store.add(hints(count=100, value=b"x" * 10_000))
    await there.dispatcher.replay(A)
    assert asyncio.get_running_loop().time() == pytest.approx(10, rel=0.05)
    assert there.store.stored(A) == NO_HINTS
