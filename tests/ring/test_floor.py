"""When the floor rises, and to what."""

from __future__ import annotations

from typing import Any

import pytest

from covey.identity import Identity
from covey.ring.begin_planner import Plan, Propose, Wait
from covey.ring.epoch import EpochRecord, Owner, Quorums, RingSpec
from covey.ring.planning import plan
from covey.ring.steward_view import (
    FloorWatch,
    MemberStatus,
    MemberView,
    Policy,
    StewardView,
    floor_interval_s,
)
from covey.ring.succession import Step, begin, raise_floor

A, B, C, D = (Identity(name, 7) for name in "abcd")
RING = RingSpec({node: Owner((number + 1,)) for number, node in enumerate((A, B, C))}, Quorums())
RECORD = EpochRecord(5, "cluster", RING, floor=100)
POLICY = Policy(tokens_per_weight=1, floor_interval_s=60.0)
NOW = 1000.0


def member(identity: Identity, wants: int = 0, **fields: Any) -> MemberView:
    given = {"alive": True, "status": MemberStatus.SERVING, "epoch": 5, "floor_wanted": wants}
    return MemberView(identity, **{**given, **fields})


def decide(*members: MemberView, record: EpochRecord = RECORD, **fields: Any) -> Plan:
    view = StewardView(
        {one.identity: one for one in members},
        NOW,
        **{"floor": FloorWatch(record.floor, NOW - 60), "settled": 500, **fields},
    )
    return plan(record, view, POLICY)


def test_the_floor_rises_to_the_highest_that_anyone_waits_for() -> None:
    decision = decide(member(A, 200), member(B, 300), member(C))
    assert isinstance(decision, Propose)
    assert (decision.step, decision.record) == (Step.RAISE_FLOOR, raise_floor(RECORD, 300))


@pytest.mark.parametrize("wants", [0, 99, 100])
def test_nothing_is_proposed_when_nobody_wants_more_than_there_is(wants: int) -> None:
    assert isinstance(decide(member(A), member(B, wants), member(C)), Wait)


def test_what_a_dead_member_wanted_does_not_count() -> None:
    assert isinstance(decide(member(A), member(B), member(C, 300, alive=False)), Wait)


def test_no_floor_is_proposed_above_which_writes_may_be_under_way() -> None:
    """Nor does one who asks for too much keep the others waiting."""
    assert isinstance(decide(member(A, 501), member(B), member(C)), Wait)
    decision = decide(member(A, 501), member(B, 300), member(C))
    assert isinstance(decision, Propose)
    assert decision.record.floor == 300


def test_a_floor_stands_for_a_while_before_the_next() -> None:
    members = (member(A, 300), member(B), member(C))
    assert isinstance(decide(*members, floor=FloorWatch(100, NOW - 59)), Wait)
    assert isinstance(decide(*members, floor=FloorWatch(100, NOW - 60)), Propose)


def test_other_changes_come_first() -> None:
    decision = decide(member(A, 300), member(B), member(C), member(D, status=MemberStatus.JOINING))
    assert isinstance(decision, Propose)
    assert decision.step is Step.BEGIN


def test_nothing_is_raised_while_the_ring_changes_or_a_change_is_held_up() -> None:
    joining = member(D, status=MemberStatus.JOINING)
    three = (member(A, 300), member(B), member(C))
    assert isinstance(decide(*three, joining, not_before=NOW + 1), Wait)
    changing = begin(RECORD, RingSpec({**RING.owners, D: Owner((9,))}, Quorums()))
    assert isinstance(decide(*three, joining, record=changing), Wait)


def test_the_watch_knows_since_when_the_floor_is_where_it_is() -> None:
    watch = FloorWatch().observe(RECORD, 10.0).observe(RECORD, 20.0)
    assert watch == FloorWatch(100, 10.0)
    assert watch.observe(raise_floor(RECORD, 101), 30.0) == FloorWatch(101, 30.0)


@pytest.mark.parametrize(
    ("age_s", "grace_s", "interval_s"), [(3600.0, 10.0, 60.0), (100.0, 1.0, 10.0), (100.0, 30.0, 60.0)]
)
def test_a_floor_stands_for_a_tenth_of_the_age_within_bounds(
    age_s: float, grace_s: float, interval_s: float
) -> None:
    """Never so short that the clean-up after a handoff, which every epoch begins anew, would not be reached."""
    assert floor_interval_s(age_s, grace_s) == interval_s
