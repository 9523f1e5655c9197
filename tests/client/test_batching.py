"""The lane: which operations leave together and when, and what is known of those that get no answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from covey.client import batching
from covey.client.batching import InFlightBatch, Lane, Pending
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


def lane_of(*pendings: Pending) -> Lane:
    lane = Lane()
    for pending in pendings:
        lane.add(pending)
    return lane


def board(lane: Lane, now: float = 0.0) -> InFlightBatch:
    flight = lane.board(STREAM, now)
    assert flight is not None
    return flight


def keys_of(flight: InFlightBatch) -> list[bytes]:
    return [pending.operation.key for pending in flight.left]


def outcome_of(pending: Pending) -> Any:
    assert isinstance(pending.answer, Waiter)
    (outcome,) = pending.answer.outcomes
    return outcome


def test_what_waits_travels_together_in_order() -> None:
    assert keys_of(board(lane_of(read("a"), write("b"), read("c")))) == [b"a", b"b", b"c"]


def test_nothing_leaves_when_nothing_waits() -> None:
    assert Lane().departure() is None


def test_a_lone_operation_leaves_at_once() -> None:
    assert lane_of(read("a")).departure() == 0.0


def test_the_next_batch_leaves_with_the_first_answer_to_the_one_before() -> None:
    lane = lane_of(read("a"), read("slow"))
    flight = board(lane, now=5.0)
    lane.add(read("next"))
    assert lane.departure() == 5.0 + batching.STRAGGLER_S
    lane.answered(flight, 1)
    assert lane.departure() == 0.0
    assert keys_of(board(lane)) == [b"next"]


def test_only_the_latest_batch_is_waited_for() -> None:
    lane = lane_of(read("first"))
    first = board(lane, now=1.0)
    lane.add(read("second"))
    board(lane, now=2.0)
    lane.add(read("third"))
    lane.answered(first, 1)
    assert lane.departure() == 2.0 + batching.STRAGGLER_S


def test_flights_are_bounded_and_one_that_lands_makes_room() -> None:
    lane = Lane()
    flights = []
    for number in range(batching.MAX_FLIGHTS):
        lane.add(read(f"k{number}"))
        flights.append(board(lane))
    lane.add(read("k"))
    assert lane.departure() is None
    lane.answered(flights[3], 1)
    assert lane.departure() is not None


def test_a_batch_is_bounded_in_operations() -> None:
    lane = lane_of(*(read(f"k{i}") for i in range(batching.MAX_BATCH_OPERATIONS + 1)))
    assert board(lane).unanswered == batching.MAX_BATCH_OPERATIONS
    assert board(lane).unanswered == 1


def test_a_batch_is_bounded_in_bytes_and_a_larger_operation_flies_alone() -> None:
    half, large = batching.MAX_BATCH_BYTES // 2 - 10, 2 * batching.MAX_BATCH_BYTES
    lane = lane_of(
        write("a", size=half), write("b", size=half), write("c", size=half), write("d", size=large)
    )
    assert [keys_of(board(lane)) for _ in range(3)] == [[b"a", b"b"], [b"c"], [b"d"]]


def test_a_full_lane_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MAX_WAITING_OPERATIONS", 2)
    lane = lane_of(read("a"), read("b"))
    with pytest.raises(Overloaded) as caught:
        lane.add(read("c"))
    assert not caught.value.maybe_applied


def test_too_many_bytes_are_refused_but_a_large_operation_alone_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batching, "MAX_WAITING_BYTES", 1000)
    lane = lane_of(write("large", size=2000))
    with pytest.raises(Overloaded):
        lane.add(write("k"))


def test_what_still_waits_at_its_deadline_was_certainly_not_sent() -> None:
    waiting = write("k", deadline=1.0)
    lane_of(waiting).expire(1.0)
    assert isinstance(outcome_of(waiting), Timeout)
    assert not outcome_of(waiting).maybe_applied


def test_what_is_in_flight_at_its_deadline_may_have_happened() -> None:
    sent = write("k", deadline=1.0)
    lane = lane_of(sent)
    board(lane)
    lane.expire(1.0)
    assert isinstance(outcome_of(sent), Timeout)
    assert outcome_of(sent).maybe_applied


def test_the_earliest_deadline_left_is_told() -> None:
    lane = lane_of(read("a", deadline=3.0), read("b", deadline=2.0))
    board(lane)
    lane.add(read("c", deadline=4.0))
    assert lane.expire(1.0) == 2.0
    assert lane.expire(3.0) == 4.0
    assert lane.expire(4.0) is None


def test_a_flight_that_nobody_waits_for_any_more_is_forgotten() -> None:
    lane = lane_of(read("k", deadline=1.0))
    flight = board(lane)
    lane.expire(1.0)
    assert lane.flight(flight.number) is None
    assert lane.outstanding == 0


def test_who_gives_up_waiting_is_not_sent() -> None:
    given_up = read("given up")
    lane = lane_of(given_up, read("last"))
    assert isinstance(given_up.answer, Waiter)
    given_up.answer.given_up = True
    assert keys_of(board(lane)) == [b"last"]


def test_when_a_stream_ends_only_what_it_carried_is_left_without_answers() -> None:
    other = object()
    lane = lane_of(read("a"))
    board(lane)
    lane.add(read("b"))
    kept = lane.board(other, 0.0)
    lane.add(read("c"))
    assert [pending.operation.key for pending in lane.land_all(STREAM)] == [b"a"]
    assert kept is not None
    assert lane.flight(kept.number) is kept
    assert lane.outstanding == 2


class LaneMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order, each operation is sent and settled at most once, in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.lane = Lane()
        self.now = 0.0
        self.added: list[Pending] = []
        self.flights: list[InFlightBatch] = []

    @rule(size=st.integers(0, batching.MAX_BATCH_BYTES), time_s=st.floats(0.01, 10))
    def add(self, size: int, time_s: float) -> None:
        pending = write(str(len(self.added)), self.now + time_s, size)
        self.lane.add(pending)
        self.added.append(pending)

    @rule()
    def leave(self) -> None:
        departure = self.lane.departure()
        if departure is None or departure > self.now:
            return
        sent_before = [pending for pending in self.added if pending.sent]
        flight = self.lane.board(STREAM, self.now)
        if flight is not None:
            assert not set(flight.left) & set(sent_before)
            assert flight.left == sorted(flight.left, key=self.added.index)
            self.flights.append(flight)

    @precondition(lambda self: self.flights)
    @rule(data=st.data())
    def answer_some(self, data: st.DataObject) -> None:
        flight = data.draw(st.sampled_from(self.flights))
        if self.lane.flight(flight.number) is not flight:
            return
        open_places = [place for place, pending in enumerate(flight.batch) if pending is not None]
        places = data.draw(st.sets(st.sampled_from(open_places), min_size=1))
        for place in places:
            pending, flight.batch[place] = flight.batch[place], None
            if pending is not None and not pending.answer.done():
                pending.answer.set_result("answer")
        self.lane.answered(flight, len(places))

    @rule(seconds=st.floats(0, 2))
    def let_time_pass(self, seconds: float) -> None:
        self.now += seconds
        earliest = self.lane.expire(self.now)
        assert earliest is None or earliest > self.now
        for pending in self.added:
            assert pending.answer.done() or pending.deadline > self.now

    @rule()
    def end_the_stream(self) -> None:
        for pending in self.lane.land_all(STREAM):
            pending.fail(Timeout("over"))

    @invariant()
    def nothing_is_lost_or_settled_twice(self) -> None:
        for pending in self.added:
            assert isinstance(pending.answer, Waiter)
            assert len(pending.answer.outcomes) <= 1
        unsettled = sum(not pending.answer.done() for pending in self.added)
        flying = [flight for flight in self.flights if self.lane.flight(flight.number) is flight]
        assert unsettled <= self.lane.outstanding
        assert self.lane.in_flight == sum(len(flight.left) for flight in flying)
        assert len(flying) <= batching.MAX_FLIGHTS

    def teardown(self) -> None:
        for pending in [*self.lane.land_all(STREAM), *self.lane.turn_away()]:
            pending.fail(Timeout("over"))
        assert all(pending.answer.done() for pending in self.added)
        assert self.lane.outstanding == 0


TestLane = LaneMachine.TestCase
