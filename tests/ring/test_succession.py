"""The table of legal successions: each step is known for what it is, and nothing else is let through."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from covey.identity import Identity
from covey.ring.epoch import ALLOW_WEAK_QUORUMS, EpochRecord, Owner, Quorums, RingSpec
from covey.ring.succession import (
    IllegalSuccession,
    Step,
    abort,
    begin,
    check_succession,
    evicted,
    finish,
    raise_floor,
)

A, B, C, D = (Identity(name, number) for number, name in enumerate("abcd", start=1))


def ring_of(*nodes: Identity, quorums: Quorums = Quorums(), shift: int = 0) -> RingSpec:  # noqa: B008 - frozen
    return RingSpec({node: Owner((node.disk_id + shift, node.disk_id + 100)) for node in nodes}, quorums)


O, S = ring_of(A, B, C), ring_of(A, B, D)  # noqa: E741 - the rules' own names
STABLE = EpochRecord(4, "cluster", O, floor=10, settings={"tombstone_age": 60})
CHANGING = begin(STABLE, S)
OTHER_SETTINGS = replace(STABLE, number=5, settings={"tombstone_age": 90})


@pytest.mark.parametrize(
    ("current", "proposed", "step"),
    [
        (STABLE, begin(STABLE, S), Step.BEGIN),
        (STABLE, begin(STABLE, ring_of(A, B, C, quorums=Quorums(3, 3, 1))), Step.BEGIN),
        (STABLE, begin(STABLE, ring_of(A, B, C, shift=20)), Step.BEGIN),
        (CHANGING, finish(CHANGING), Step.FINISH),
        (CHANGING, abort(CHANGING), Step.ABORT),
        (STABLE, raise_floor(STABLE, 11), Step.RAISE_FLOOR),
        (STABLE, OTHER_SETTINGS, Step.SETTINGS),
    ],
)
def test_every_legal_step_is_known_for_what_it_is(
    current: EpochRecord, proposed: EpochRecord, step: Step
) -> None:
    assert check_succession(current, proposed) is step


def test_what_the_steps_leave_standing() -> None:
    """A begin keeps the owners, a finish puts the successors in their place, an abort forgets them."""
    assert CHANGING.live_rings == (O, S)
    assert finish(CHANGING).live_rings == (S,)
    assert abort(CHANGING).live_rings == (O,)
    assert CHANGING.floor == finish(CHANGING).floor == abort(CHANGING).floor == STABLE.floor


AFTER = {"number": 5}
ILLEGAL: dict[str, tuple[EpochRecord, EpochRecord, str]] = {
    "another cluster": (STABLE, replace(begin(STABLE, S), cluster_id="other"), "cluster"),
    "a number skipped": (STABLE, replace(begin(STABLE, S), number=6), "does not follow"),
    "the same number": (STABLE, replace(begin(STABLE, S), number=4), "does not follow"),
    "nothing changed": (STABLE, replace(STABLE, number=5), "must change something"),
    "a begin of the same ring": (STABLE, replace(STABLE, number=5, successors=O), "nothing would change"),
    "a begin under other owners": (
        STABLE,
        replace(begin(STABLE, ring_of(A, D)), owners=S),
        "something else",
    ),
    "a begin that moves the floor": (STABLE, replace(begin(STABLE, S), floor=11), "something else"),
    "a begin that changes settings": (STABLE, replace(begin(STABLE, S), settings={}), "something else"),
    "owners changed on the spot": (STABLE, replace(STABLE, number=5, owners=S), "something else|must change"),
    "N, W, R changed on the spot": (
        STABLE,
        replace(STABLE, number=5, owners=replace(O, quorums=Quorums(3, 3, 1))),
        "something else|must change",
    ),
    "a floor that falls": (STABLE, replace(STABLE, number=5, floor=9), "can only rise"),
    "floor and settings at once": (STABLE, replace(OTHER_SETTINGS, floor=11), "something else"),
    "settings and owners at once": (STABLE, replace(OTHER_SETTINGS, owners=S), "something else"),
    "a begin while changing": (CHANGING, replace(CHANGING, number=6, successors=ring_of(A, D)), "changing"),
    "the same change again": (CHANGING, replace(CHANGING, number=6), "changing"),
    "a finish to other owners": (CHANGING, replace(finish(CHANGING), owners=ring_of(A, D)), "something else"),
    "a finish under other numbers": (
        CHANGING,
        replace(finish(CHANGING), owners=replace(S, quorums=Quorums(3, 3, 1))),
        "something else",
    ),
    "a finish that moves the floor": (CHANGING, replace(finish(CHANGING), floor=11), "something else"),
    "an abort that moves the floor": (CHANGING, replace(abort(CHANGING), floor=11), "something else"),
    "an abort that changes settings": (CHANGING, replace(abort(CHANGING), settings={}), "something else"),
    "a begin with weak quorums": (STABLE, begin(STABLE, replace(O, quorums=Quorums(3, 1, 1))), "invalid"),
    "a begin with no owners": (STABLE, begin(STABLE, RingSpec({}, Quorums())), "invalid"),
    "a begin with a token given twice": (
        STABLE,
        begin(STABLE, RingSpec({A: Owner((1,)), B: Owner((1,))}, Quorums())),
        "invalid",
    ),
}


@pytest.mark.parametrize(("current", "proposed", "reason"), ILLEGAL.values(), ids=ILLEGAL.keys())
def test_anything_else_is_illegal(current: EpochRecord, proposed: EpochRecord, reason: str) -> None:
    with pytest.raises(IllegalSuccession, match=reason):
        check_succession(current, proposed)


def test_weak_quorums_stay_allowed_as_long_as_a_ring_has_them() -> None:
    """Taking the permission back under a ring that needs it would leave an invalid record."""
    weak = replace(
        STABLE, owners=ring_of(A, B, C, quorums=Quorums(3, 1, 1)), settings={ALLOW_WEAK_QUORUMS: True}
    )
    with pytest.raises(IllegalSuccession, match="invalid"):
        check_succession(weak, replace(weak, number=5, settings={}))


@pytest.mark.parametrize(
    "construct",
    [
        lambda: finish(STABLE),
        lambda: abort(STABLE),
        lambda: begin(STABLE, O),
        lambda: begin(CHANGING, O),
        lambda: raise_floor(CHANGING, 11),
        lambda: raise_floor(STABLE, 10),
    ],
)
def test_a_step_that_is_not_due_cannot_be_built(construct: object) -> None:
    assert callable(construct)
    with pytest.raises(IllegalSuccession):
        construct()


def test_a_begin_evicts_the_owners_it_leaves_out() -> None:
    assert evicted(STABLE, CHANGING) == (C,)
    assert evicted(STABLE, begin(STABLE, ring_of(B))) == (A, C)


def test_no_other_step_evicts_anyone() -> None:
    """A finish only carries out what the begin decided."""
    assert evicted(CHANGING, finish(CHANGING)) == ()
    assert evicted(CHANGING, abort(CHANGING)) == ()
    assert evicted(STABLE, raise_floor(STABLE, 11)) == ()


rings = st.sets(st.sampled_from([A, B, C, D]), min_size=1).map(lambda nodes: ring_of(*sorted(nodes)))
any_record = st.builds(
    EpochRecord,
    number=st.integers(4, 6),
    cluster_id=st.just("cluster"),
    owners=rings,
    successors=st.none() | rings,
    floor=st.integers(9, 11),
    settings=st.sampled_from([{}, {"tombstone_age": 60}]),
)


def naively_legal(current: EpochRecord, proposed: EpochRecord) -> bool:
    """The table of the rules, read out loud."""
    if proposed.number != current.number + 1:
        return False
    same_floor, same_settings = proposed.floor == current.floor, proposed.settings == current.settings
    if current.successors is not None:
        return (
            proposed.successors is None
            and proposed.owners in (current.owners, current.successors)
            and same_floor
            and same_settings
        )
    if proposed.owners != current.owners:
        return False
    if proposed.successors is not None:
        return proposed.successors != current.owners and same_floor and same_settings
    return (proposed.floor > current.floor and same_settings) or (same_floor and not same_settings)


@given(any_record.filter(lambda r: r.successors != r.owners), any_record)
def test_the_check_agrees_with_the_table(current: EpochRecord, proposed: EpochRecord) -> None:
    try:
        check_succession(current, proposed)
    except IllegalSuccession:
        assert not naively_legal(current, proposed)
    else:
        assert naively_legal(current, proposed)
