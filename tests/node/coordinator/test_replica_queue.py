from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.identity import Identity
from covey.node.coordinator import replica_queue
from covey.node.coordinator.replica_queue import (
    MAX_BATCH_BYTES,
    MAX_BATCH_OPERATIONS,
    Outcome,
    ReplicaQueue,
    ReplicaQueues,
    Send,
    Undelivered,
)
from covey.node.errors import NodeError, PeerRefused, PeerTimeout, PeerUnreachable, StorageFailed
from covey.node.messages.data import REPLY_FULL, DataBatch, DataReply, Merge, Read, ReadResult
from covey.node.messages.envelope import EpochMismatch
from covey.quorum.ranking import ReplicaRanking
from covey.ring.epoch import EpochStamp
from tests.simulator.cluster import SimulatedClock
from tests.simulator.virtual_time import in_virtual_time, run
from tests.support.manual_clock import ManualClock
from tests.support.replicas import entry
from tests.support.rings import identity

TO = identity(1)
FIRST, SECOND = EpochStamp(1, "a"), EpochStamp(2, "b")
FOUND = ReadResult(entry(1))


class Peer:
    """The other end: keeps the batches that come, and answers when let."""

    def __init__(self) -> None:
        self.batches: list[DataBatch] = []
        self.open = asyncio.Event()
        self.answer: Callable[[DataBatch], DataReply | EpochMismatch] = served

    async def send(self, batch: DataBatch) -> DataReply | EpochMismatch:
        self.batches.append(batch)
        await self.open.wait()
        return self.answer(batch)

    @property
    def sizes(self) -> list[int]:
        return [len(batch.operations) for batch in self.batches]


class Heard:
    """Outcomes by the number of the operation."""

    def __init__(self) -> None:
        self.outcomes: dict[int, list[Outcome]] = {}

    def of(self, number: int) -> Callable[[Identity, Outcome], None]:
        self.outcomes[number] = []

        def on_outcomes(replica: Identity, outcomes: Sequence[Outcome]) -> None:
            assert replica == TO
            self.outcomes[number] += outcomes

        return on_outcomes

    @property
    def only(self) -> list[Outcome]:
        assert all(len(outcomes) == 1 for outcomes in self.outcomes.values()), self.outcomes
        return [outcomes[0] for outcomes in self.outcomes.values()]


def served(batch: DataBatch) -> DataReply:
    return DataReply(batch.epoch, tuple(ReadResult(entry(1)) for _ in batch.operations), 0, 0.0)


def failing(error: NodeError) -> Callable[[DataBatch], DataReply]:
    def answer(_: DataBatch) -> DataReply:
        raise error

    return answer


def submit(pipe: ReplicaQueue, heard: Heard, *numbers: int, epoch: EpochStamp = FIRST) -> None:
    for number in numbers:
        pipe.submit(epoch, [Read(b"k%d" % number)], heard.of(number))


def pipe_to(peer: Peer) -> ReplicaQueue:
    return ReplicaQueue(to=TO, send=peer.send, ranking=ReplicaRanking(), clock=ManualClock())


async def settle() -> None:
    await asyncio.sleep(0.01)


@in_virtual_time
async def test_operations_submitted_while_a_batch_is_in_flight_share_the_next() -> None:
    peer, heard = Peer(), Heard()
    pipe = pipe_to(peer)
    submit(pipe, heard, 0)
    await settle()
    submit(pipe, heard, 1, 2, 3)
    await settle()
    assert peer.sizes == [1]
    peer.open.set()
    await settle()
    assert peer.sizes == [1, 3]
    assert heard.only == [FOUND] * 4


@in_virtual_time
async def test_each_operation_gets_its_own_result() -> None:
    peer, heard = Peer(), Heard()
    peer.open.set()
    peer.answer = lambda batch: DataReply(
        batch.epoch, tuple(ReadResult(entry(int(op.key[1:]))) for op in batch.operations), 0, 0.0
    )
    submit(pipe_to(peer), heard, 5, 6, 7)
    await settle()
    assert heard.only == [ReadResult(entry(n)) for n in (5, 6, 7)]


@in_virtual_time
async def test_operations_of_different_epochs_never_share_a_batch_and_keep_their_order() -> None:
    peer, heard = Peer(), Heard()
    pipe = pipe_to(peer)
    submit(pipe, heard, 0, 1)
    submit(pipe, heard, 2, epoch=SECOND)
    submit(pipe, heard, 3, epoch=FIRST)
    peer.open.set()
    await settle()
    assert [(batch.epoch, len(batch.operations)) for batch in peer.batches] == [
        (FIRST, 2),
        (SECOND, 1),
        (FIRST, 1),
    ]


@in_virtual_time
async def test_a_batch_is_bounded_in_operations() -> None:
    peer, heard = Peer(), Heard()
    peer.open.set()
    submit(pipe_to(peer), heard, *range(MAX_BATCH_OPERATIONS + 1))
    await settle()
    assert peer.sizes == [MAX_BATCH_OPERATIONS, 1]


@in_virtual_time
async def test_a_batch_is_bounded_in_bytes() -> None:
    peer = Peer()
    peer.open.set()
    pipe = pipe_to(peer)
    key = b"key"
    quarter = b"v" * (MAX_BATCH_BYTES // 4 - len(key))
    for value in (quarter, quarter, quarter, quarter, b"one byte too many", quarter):
        pipe.submit(FIRST, [Merge(key, entry(1, value))], lambda *_: None)
    await settle()
    assert peer.sizes == [4, 2]


@in_virtual_time
async def test_a_call_larger_than_a_batch_is_a_batch() -> None:
    peer = Peer()
    peer.open.set()
    pipe = pipe_to(peer)
    for value in (b"v", b"v" * (MAX_BATCH_BYTES + 1), b"v"):
        pipe.submit(FIRST, [Merge(b"key", entry(1, value))], lambda *_: None)
    await settle()
    assert peer.sizes == [1, 1, 1]


@pytest.mark.parametrize(
    ("error", "maybe_applied"),
    [
        (PeerUnreachable("closed"), False),
        (PeerRefused("no"), False),
        (PeerTimeout("late"), True),
        (StorageFailed("disk"), True),
    ],
)
def test_a_failure_includes_whether_the_replica_may_have_applied_it(
    error: NodeError, maybe_applied: bool
) -> None:
    async def fails() -> None:
        peer, heard = Peer(), Heard()
        peer.open.set()
        peer.answer = failing(error)
        submit(pipe_to(peer), heard, 0, 1)
        await settle()
        assert heard.only == [Undelivered(maybe_applied, str(error))] * 2

    run(fails())


@in_virtual_time
async def test_after_a_failure_the_queue_sends_the_next_batch() -> None:
    peer, heard = Peer(), Heard()
    peer.open.set()
    peer.answer = failing(PeerTimeout("late"))
    pipe = pipe_to(peer)
    submit(pipe, heard, 0)
    await settle()
    peer.answer = served
    submit(pipe, heard, 1)
    await settle()
    assert heard.only[1] == FOUND


@in_virtual_time
async def test_at_another_epoch_certainly_nothing_was_done() -> None:
    peer, heard = Peer(), Heard()
    peer.open.set()
    peer.answer = lambda _: EpochMismatch(SECOND, None)
    submit(pipe_to(peer), heard, 0)
    await settle()
    assert heard.only == [Undelivered(False, "n1 is at another epoch")]


@pytest.mark.parametrize(
    "reply", [DataReply(SECOND, (FOUND,), 0, 0.0), DataReply(FIRST, (), 0, 0.0)], ids=["epoch", "length"]
)
def test_a_reply_that_does_not_fit_its_batch_does_not_count(reply: DataReply) -> None:
    async def misfits() -> None:
        peer, heard = Peer(), Heard()
        peer.open.set()
        peer.answer = lambda _: reply
        submit(pipe_to(peer), heard, 0)
        await settle()
        assert [isinstance(o, Undelivered) and o.maybe_applied for o in heard.only] == [True]

    run(misfits())


@in_virtual_time
async def test_at_close_operations_in_flight_may_be_applied_and_waiting_ones_are_not() -> None:
    peer, heard = Peer(), Heard()
    pipe = pipe_to(peer)
    submit(pipe, heard, 0)
    await settle()
    submit(pipe, heard, 1)
    await pipe.close()
    assert [isinstance(o, Undelivered) and o.maybe_applied for o in heard.only] == [True, False]


@in_virtual_time
async def test_closing_before_the_first_batch_left_answers_every_operation() -> None:
    peer, heard = Peer(), Heard()
    pipe = pipe_to(peer)
    submit(pipe, heard, 0)
    await pipe.close()
    assert heard.only == [Undelivered(False, "the node is stopping")]
    assert peer.batches == []


@in_virtual_time
async def test_a_closed_queue_refuses_at_once_and_starts_nothing() -> None:
    peer, heard = Peer(), Heard()
    pipe = pipe_to(peer)
    await pipe.close()
    submit(pipe, heard, 0)
    assert heard.only == [Undelivered(False, "the node is stopping")]
    await settle()
    assert peer.batches == []


class PipesToOne(ReplicaQueues):
    """All of them lead to one peer."""

    def __init__(self, peer: Peer) -> None:
        peers = SimpleNamespace(me=identity(9))
        super().__init__(cast(Any, peers), cast(Any, None), ReplicaRanking(), ManualClock())
        self._peer = peer

    def _sender(self, replica: Identity) -> Send:
        return self._peer.send


@in_virtual_time
async def test_an_operation_for_a_new_replica_during_the_close_is_refused() -> None:
    """A failure makes a coordinator ask another replica until the end: one that has no queue yet."""
    to_all = PipesToOne(Peer())
    heard: list[Outcome] = []

    def elsewhere(replica: Identity, outcome: Outcome) -> None:
        to_all.to(identity(3)).submit(FIRST, [Read(b"k")], lambda replica, outcomes: heard.extend(outcomes))

    to_all.to(identity(1)).submit(FIRST, [Read(b"k")], elsewhere)
    to_all.to(identity(2))
    await asyncio.sleep(1)
    await to_all.close()
    assert heard == [Undelivered(False, replica_queue.STOPPING)]


class PipesThatTake(ReplicaQueues):
    """Seconds that each replica takes; the first is this node itself."""

    def __init__(self, ranking: ReplicaRanking, took_s: dict[Identity, float]) -> None:
        peers = SimpleNamespace(me=next(iter(took_s)))
        super().__init__(cast(Any, peers), cast(Any, None), ranking, SimulatedClock())
        self._took_s = took_s

    def _sender(self, replica: Identity) -> Send:
        async def send(batch: DataBatch) -> DataReply:
            await asyncio.sleep(self._took_s[replica])
            return served(batch)

        return send


@in_virtual_time
async def test_a_node_s_own_disk_does_not_shorten_its_patience_with_others() -> None:
    me, other, ranking = identity(1), identity(2), ReplicaRanking()
    to_each = PipesThatTake(ranking, {me: 0.001, other: 0.05})
    for _ in range(100):
        for replica in (me, other):
            to_each.to(replica).submit(FIRST, [Read(b"k")], lambda *_: None)
        await asyncio.sleep(0.1)
    assert ranking.patience_s([other]) > 0.02


@in_virtual_time
async def test_the_wait_for_a_batch_in_flight_counts_in_the_patience() -> None:
    """A batch that leaves when the one before it has returned takes twice as long for its callers."""
    me, other, ranking = identity(1), identity(2), ReplicaRanking()
    to_each = PipesThatTake(ranking, {me: 0.001, other: 0.01})
    for _ in range(300):
        to_each.to(other).submit(FIRST, [Read(b"k")], lambda *_: None)
        await asyncio.sleep(0.005)
        to_each.to(other).submit(FIRST, [Read(b"k")], lambda *_: None)
        await asyncio.sleep(0.005)
    assert ranking.patience_s([other]) > 0.012


def test_waiting_operations_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica_queue, "MAX_WAITING_OPERATIONS", 2)

    async def overflows() -> None:
        peer, heard = Peer(), Heard()
        pipe = pipe_to(peer)
        submit(pipe, heard, 0, 1, 2)
        assert heard.outcomes[2] == [Undelivered(False, "too much waits for n1")]
        assert heard.outcomes[0] == heard.outcomes[1] == []
        peer.open.set()
        await settle()
        assert heard.only[:2] == [FOUND, FOUND]

    run(overflows())


steps = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.sampled_from([FIRST, SECOND])),
        st.tuples(st.just("let"), st.sampled_from(["served", "lost", "refused", "misfit", "elsewhere"])),
        st.tuples(st.just("pass"), st.none()),
    ),
    max_size=30,
)


@settings(deadline=None)
@given(steps, st.booleans())
def test_every_operation_is_answered_exactly_once_whatever_happens(
    drawn: list[tuple[str, object]], closes: bool
) -> None:
    answers: dict[object, Callable[[DataBatch], DataReply | EpochMismatch]] = {
        "served": served,
        "lost": failing(PeerTimeout("late")),
        "refused": failing(PeerRefused("no")),
        "misfit": lambda batch: DataReply(batch.epoch, (), 0, 0.0),
        "elsewhere": lambda _: EpochMismatch(None, None),
    }

    async def act() -> None:
        peer, heard = Peer(), Heard()
        pipe = pipe_to(peer)
        for number, (step, argument) in enumerate(drawn):
            if step == "submit":
                submit(pipe, heard, number, epoch=argument)  # type: ignore[arg-type]
            elif step == "let":
                peer.answer = answers[argument]
                peer.open.set()
                await asyncio.sleep(0)
                peer.open.clear()
            else:
                await asyncio.sleep(0)
        if not closes:
            peer.open.set()
            await settle()
        await pipe.close()
        assert len(heard.only) == sum(step == "submit" for step, _ in drawn)
        for before, after in pairwise(peer.batches):
            assert not set(before.operations) & set(after.operations), "nothing is sent twice"

    run(act())


def put(number: int, value_bytes: int) -> Merge:
    return Merge(b"k%d" % number, entry(1, bytes(value_bytes)))


@in_virtual_time
async def test_operations_waiting_for_a_slow_replica_are_bounded_in_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replica_queue, "MAX_WAITING_BYTES", 1000)
    peer, heard = Peer(), Heard()
    pipe = pipe_to(peer)
    submit(pipe, heard, 0)
    await settle()  # it is in flight
    for number in range(1, 4):
        pipe.submit(FIRST, [put(number, 400)], heard.of(number))
    assert heard.outcomes[2] == []
    (missed,) = heard.outcomes[3]
    assert isinstance(missed, Undelivered) and not missed.maybe_applied


@in_virtual_time
async def test_a_value_larger_than_the_bound_is_taken_by_an_empty_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replica_queue, "MAX_WAITING_BYTES", 1000)
    peer, heard = Peer(), Heard()
    pipe_to(peer).submit(FIRST, [put(1, 2000)], heard.of(1))
    await settle()
    assert peer.sizes == [1]


@in_virtual_time
async def test_fewer_reads_share_a_batch_after_a_reply_had_no_room_for_all() -> None:
    peer, heard = Peer(), Heard()
    peer.answer = lambda batch: DataReply(
        batch.epoch, [FOUND if n < 3 else REPLY_FULL for n in range(len(batch.operations))], 0, 0.0
    )
    pipe = pipe_to(peer)
    submit(pipe, heard, *range(40))
    peer.open.set()
    await settle()
    assert peer.sizes == [40]
    submit(pipe, heard, *range(100, 140))
    await settle()
    assert max(peer.sizes[1:]) <= 4
    peer.answer = served
    for round_of in range(200, 2200, 100):
        submit(pipe, heard, *range(round_of, round_of + 40))
        await settle()
    assert peer.sizes[-1] == 40, "and gradually more when there is room again"
