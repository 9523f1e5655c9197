"""The queue: which operations leave together and when, and what is known of those that get no answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from covey.client import batching
from covey.client.batching import InFlightBatch, OperationQueue, Pending
from covey.client.errors import Overloaded, Timeout
from covey.client.requests import get_operation, put_operation

STREAM = object()
LATE = 100.0


class Waiter:
    """An answer that keeps what it is given."""

    def __init__(self) -> None:
        self.outcomes: list[Any] = []
        self.given_up = False

    def done(self) -> bool:
        return self.given_up or bool(self.outcomes)

    def set_result(self, result: Any, /) -> None:
        self.outcomes.append(result)

    def set_exception(self, error: BaseException, /) -> None:
        self.outcomes.append(error)


def read(key: str, deadline: float = LATE) -> Pending:
    return Pending(get_operation(key, None), deadline, Waiter())


def write(key: str, deadline: float = LATE, size: int = 1) -> Pending:
    return Pending(put_operation(key, bytes(size), None), deadline, Waiter())


def queue_of(*pendings: Pending) -> OperationQueue:
    queue = OperationQueue()
    for pending in pendings:
        queue.add(pending)
    return queue


def board(queue: OperationQueue, now: float = 0.0) -> InFlightBatch:
    batch = queue.take_batch(STREAM, now)
    assert batch is not None
    return batch


def keys_of(batch: InFlightBatch) -> list[bytes]:
    return [pending.operation.key for pending in batch.pending]


def outcome_of(pending: Pending) -> Any:
    assert isinstance(pending.completion, Waiter)
    (outcome,) = pending.completion.outcomes
    return outcome


def test_what_waits_travels_together_in_order() -> None:
    assert keys_of(board(queue_of(read("a"), write("b"), read("c")))) == [b"a", b"b", b"c"]


def test_nothing_leaves_when_nothing_waits() -> None:
    assert OperationQueue().departure() is None


def test_a_lone_operation_leaves_at_once() -> None:
    assert queue_of(read("a")).departure() == 0.0


def test_the_next_batch_leaves_with_the_first_answer_to_the_one_before() -> None:
    queue = queue_of(read("a"), read("slow"))
    batch = board(queue, now=5.0)
    queue.add(read("next"))
    assert queue.departure() == 5.0 + batching.STRAGGLER_S
    queue.record_answers(batch, 1)
    assert queue.departure() == 0.0
    assert keys_of(board(queue)) == [b"next"]


def test_only_the_latest_batch_is_waited_for() -> None:
    queue = queue_of(read("first"))
    first = board(queue, now=1.0)
    queue.add(read("second"))
    board(queue, now=2.0)
    queue.add(read("third"))
    queue.record_answers(first, 1)
    assert queue.departure() == 2.0 + batching.STRAGGLER_S


def test_flights_are_bounded_and_one_that_lands_makes_room() -> None:
    queue = OperationQueue()
    batches = []
    for number in range(batching.MAX_IN_FLIGHT_BATCHES):
        queue.add(read(f"k{number}"))
        batches.append(board(queue))
    queue.add(read("k"))
    assert queue.departure() is None
    queue.record_answers(batches[3], 1)
    assert queue.departure() is not None


def test_a_batch_is_bounded_in_operations() -> None:
    queue = queue_of(*(read(f"k{i}") for i in range(batching.MAX_BATCH_OPERATIONS + 1)))
    assert board(queue).unanswered == batching.MAX_BATCH_OPERATIONS
    assert board(queue).unanswered == 1


def test_a_batch_is_bounded_in_bytes_and_a_larger_operation_flies_alone() -> None:
    half, large = batching.MAX_BATCH_BYTES // 2 - 10, 2 * batching.MAX_BATCH_BYTES
    queue = queue_of(
        write("a", size=half), write("b", size=half), write("c", size=half), write("d", size=large)
    )
    assert [keys_of(board(queue)) for _ in range(3)] == [[b"a", b"b"], [b"c"], [b"d"]]


def test_a_full_lane_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MAX_WAITING_OPERATIONS", 2)
    queue = queue_of(read("a"), read("b"))
    with pytest.raises(Overloaded) as caught:
        queue.add(read("c"))
    assert not caught.value.maybe_applied


def test_too_many_bytes_are_refused_but_a_large_operation_alone_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batching, "MAX_WAITING_BYTES", 1000)
    queue = queue_of(write("large", size=2000))
    with pytest.raises(Overloaded):
        queue.add(write("k"))


def test_what_still_waits_at_its_deadline_was_certainly_not_sent() -> None:
    waiting = write("k", deadline=1.0)
    queue_of(waiting).expire(1.0)
    assert isinstance(outcome_of(waiting), Timeout)
    assert not outcome_of(waiting).maybe_applied


def test_what_is_in_flight_at_its_deadline_may_have_happened() -> None:
    sent = write("k", deadline=1.0)
    queue = queue_of(sent)
    board(queue)
    queue.expire(1.0)
    assert isinstance(outcome_of(sent), Timeout)
    assert outcome_of(sent).maybe_applied


def test_the_earliest_deadline_left_is_told() -> None:
    queue = queue_of(read("a", deadline=3.0), read("b", deadline=2.0))
    board(queue)
    queue.add(read("c", deadline=4.0))
    assert queue.expire(1.0) == 2.0
    assert queue.expire(3.0) == 4.0
    assert queue.expire(4.0) is None


def test_a_flight_that_nobody_waits_for_any_more_is_forgotten() -> None:
    queue = queue_of(read("k", deadline=1.0))
    batch = board(queue)
    queue.expire(1.0)
    assert queue.batch(batch.number) is None
    assert queue.outstanding == 0


def test_who_gives_up_waiting_is_not_sent() -> None:
    given_up = read("given up")
    queue = queue_of(given_up, read("last"))
    assert isinstance(given_up.completion, Waiter)
    given_up.completion.given_up = True
    assert keys_of(board(queue)) == [b"last"]


def test_when_a_stream_ends_only_what_it_carried_is_left_without_answers() -> None:
    other = object()
    queue = queue_of(read("a"))
    board(queue)
    queue.add(read("b"))
    kept = queue.take_batch(other, 0.0)
    queue.add(read("c"))
    assert [pending.operation.key for pending in queue.complete_all(STREAM)] == [b"a"]
    assert kept is not None
    assert queue.batch(kept.number) is kept
    assert queue.outstanding == 2


class LaneMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order, each operation is sent and settled at most once, in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = OperationQueue()
        self.now = 0.0
        self.added: list[Pending] = []
        self.batches: list[InFlightBatch] = []

    @rule(size=st.integers(0, batching.MAX_BATCH_BYTES), time_s=st.floats(0.01, 10))
    def add(self, size: int, time_s: float) -> None:
        pending = write(str(len(self.added)), self.now + time_s, size)
        self.queue.add(pending)
        self.added.append(pending)

    @rule()
    def leave(self) -> None:
        departure = self.queue.departure()
        if departure is None or departure > self.now:
            return
        sent_before = [pending for pending in self.added if pending.batch is not None]
        batch = self.queue.take_batch(STREAM, self.now)
        if batch is not None:
            assert not set(batch.pending) & set(sent_before)
            assert batch.pending == sorted(batch.pending, key=self.added.index)
            self.batches.append(batch)

    @precondition(lambda self: self.batches)
    @rule(data=st.data())
    def answer_some(self, data: st.DataObject) -> None:
        batch = data.draw(st.sampled_from(self.batches))
        if self.queue.batch(batch.number) is not batch:
            return
        open_places = [place for place, pending in enumerate(batch.operations) if pending is not None]
        places = data.draw(st.sets(st.sampled_from(open_places), min_size=1))
        for place in places:
            pending, batch.operations[place] = batch.operations[place], None
            if pending is not None and not pending.completion.done():
                pending.completion.set_result("answer")
        self.queue.record_answers(batch, len(places))

    @rule(seconds=st.floats(0, 2))
    def let_time_pass(self, seconds: float) -> None:
        self.now += seconds
        earliest = self.queue.expire(self.now)
        assert earliest is None or earliest > self.now
        for pending in self.added:
            assert pending.completion.done() or pending.deadline > self.now

    @rule()
    def end_the_stream(self) -> None:
        for pending in self.queue.complete_all(STREAM):
            pending.fail(Timeout("over"))

    @invariant()
    def nothing_is_lost_or_settled_twice(self) -> None:
        for pending in self.added:
            assert isinstance(pending.completion, Waiter)
            assert len(pending.completion.outcomes) <= 1
        unsettled = sum(not pending.completion.done() for pending in self.added)
        flying = [batch for batch in self.batches if self.queue.batch(batch.number) is batch]
        assert unsettled <= self.queue.outstanding
        assert self.queue.in_flight == sum(len(batch.pending) for batch in flying)
        assert len(flying) <= batching.MAX_IN_FLIGHT_BATCHES

    def teardown(self) -> None:
        for pending in [*self.queue.complete_all(STREAM), *self.queue.reject()]:
            pending.fail(Timeout("over"))
        assert all(pending.completion.done() for pending in self.added)
        assert self.queue.outstanding == 0


TestOperationQueue = LaneMachine.TestCase
