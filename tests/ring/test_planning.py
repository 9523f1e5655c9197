"""What the steward proposes, rule by rule."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.identity import Identity
from covey.ring.begin_planner import Plan, Propose, Wait, newcomer_limit
from covey.ring.epoch import EpochRecord, Owner, Quorums, RingSpec
from covey.ring.moves import RingChange
from covey.ring.planning import abort_backoff_s, plan, steward
from covey.ring.ring import Ring
from covey.ring.steward_view import MemberStatus, MemberView, Policy, ProgressWatch, StewardView
from covey.ring.succession import Step, begin, check_succession, finish

A, B, C, D, E, F, G, H = NODES = tuple(Identity(name, 7) for name in "abcdefgh")
TOKENS = 4
POLICY = Policy(evict_after_s=600, handoff_timeout_s=60, tokens_per_weight=TOKENS)


def ring_of(*nodes: Identity, quorums: Quorums = Quorums()) -> RingSpec:  # noqa: B008 - frozen
    """Tokens interleaved in the order of the nodes, so that lists are what one reads off the order."""
    step = 2**64 // (len(nodes) * TOKENS)
    return RingSpec(
        {
            node: Owner(tuple((place + turn * len(nodes)) * step for turn in range(TOKENS)))
            for place, node in enumerate(nodes)
        },
        quorums,
    )


def record_of(*nodes: Identity, **kwargs: Any) -> EpochRecord:
    return EpochRecord(5, "cluster", ring_of(*nodes, **kwargs))


def serving(identity: Identity, **fields: Any) -> MemberView:
    return MemberView(identity, **{"alive": True, "status": MemberStatus.SERVING, "epoch": 5, **fields})


def joining(identity: Identity, **fields: Any) -> MemberView:
    return serving(identity, status=MemberStatus.JOINING, **fields)


def leaving(identity: Identity, **fields: Any) -> MemberView:
    return serving(identity, status=MemberStatus.LEAVING, **fields)


def down(identity: Identity, down_for_s: float = 10.0, **fields: Any) -> MemberView:
    return serving(identity, alive=False, down_for_s=down_for_s, **fields)


def decide(record: EpochRecord, members: Iterable[MemberView], now: float = 1000.0, **fields: Any) -> Plan:
    view = StewardView({member.identity: member for member in members}, now, **fields)
    return plan(record, view, POLICY)


def begun(decision: Plan) -> RingSpec:
    assert isinstance(decision, Propose), decision
    assert decision.step is Step.BEGIN
    assert decision.record.successors is not None
    return decision.record.successors


def waits(decision: Plan, reason: str) -> bool:
    return isinstance(decision, Wait) and reason in decision.reason


ABC = record_of(A, B, C)
ALL_SERVE = [serving(A), serving(B), serving(C)]


def test_the_steward_is_the_lowest_owner_alive() -> None:
    assert steward(ABC, {C, B}) == B
    assert steward(ABC, {D}) is None


def test_the_back_off_grows_with_every_abort_up_to_a_limit() -> None:
    waits_s = [abort_backoff_s(aborts) for aborts in range(12)]
    assert waits_s[0] == 0
    assert all(a < b or b == 600 for a, b in pairwise(waits_s))
    assert abort_backoff_s(10**6) == 600


# --- beginning ------------------------------------------------------------


def test_nothing_is_proposed_when_nothing_waits() -> None:
    assert waits(decide(ABC, ALL_SERVE), "nothing waits")


def test_a_joiner_joins_and_the_others_keep_their_seats() -> None:
    successors = begun(decide(ABC, [*ALL_SERVE, joining(D, zone="east", weight=2.0)]))
    assert sorted(successors.owners) == [A, B, C, D]
    assert (successors.owners[D].zone, len(successors.owners[D].tokens)) == ("east", 2 * TOKENS)
    assert all(successors.owners[node] == ABC.owners.owners[node] for node in (A, B, C))


def test_a_joiner_that_is_down_or_only_serving_is_not_taken_in() -> None:
    assert waits(decide(ABC, [*ALL_SERVE, joining(D, alive=False), serving(E)]), "nothing waits")


def test_a_leaver_is_left_out() -> None:
    assert sorted(begun(decide(ABC, [serving(A), leaving(B), serving(C)])).owners) == [A, C]


def test_a_leaver_that_went_down_still_leaves() -> None:
    assert sorted(
        begun(decide(ABC, [serving(A), down(B, status=MemberStatus.LEAVING), serving(C)])).owners
    ) == [A, C]


def test_a_leaver_that_is_down_for_long_leaves_once() -> None:
    """Not by leave and eviction both."""
    members = [serving(A), down(B, 700, status=MemberStatus.LEAVING), serving(C)]
    assert sorted(begun(decide(ABC, members)).owners) == [A, C]


def test_an_owner_is_evicted_only_after_evict_after() -> None:
    assert waits(decide(ABC, [serving(A), down(B, 600), serving(C)]), "nothing waits")
    assert sorted(begun(decide(ABC, [serving(A), down(B, 601), serving(C)])).owners) == [A, C]


def test_an_operator_removes_an_owner_that_is_down_at_once() -> None:
    members = [serving(A), down(B), serving(C)]
    assert sorted(begun(decide(ABC, members, removals=frozenset({B}))).owners) == [A, C]


def test_an_owner_that_gossip_never_heard_of_can_be_removed() -> None:
    members = [serving(A), serving(C)]
    assert waits(decide(ABC, members), "nothing waits")
    assert sorted(begun(decide(ABC, members, removals=frozenset({B}))).owners) == [A, C]


def test_an_owner_that_is_alive_is_not_removed() -> None:
    assert waits(decide(ABC, ALL_SERVE, removals=frozenset({B})), "nothing waits")


def test_a_wiped_disk_is_replaced_at_once_and_keeps_the_old_tokens() -> None:
    """The name is back on another disk, so the old one is gone for good: nobody waits for evict_after."""
    wiped = Identity("b", 8)
    successors = begun(decide(ABC, [serving(A), down(B, 1), serving(C), joining(wiped, zone="west")]))
    assert sorted(successors.owners) == [A, wiped, C]
    assert successors.owners[wiped] == replace(ABC.owners.owners[B], zone="west")


def test_a_wiped_disk_with_another_weight_gets_tokens_by_its_weight() -> None:
    wiped = Identity("b", 8)
    successors = begun(decide(ABC, [serving(A), down(B, 1), serving(C), joining(wiped, weight=3.0)]))
    assert len(successors.owners[wiped].tokens) == 3 * TOKENS


def test_a_joiner_under_the_name_of_a_live_owner_waits() -> None:
    assert waits(decide(ABC, [*ALL_SERVE, joining(Identity("b", 8))]), "nothing waits")


def test_of_two_joiners_with_one_name_one_is_taken() -> None:
    twins = [joining(Identity("d", 9)), joining(Identity("d", 8))]
    successors = begun(decide(ABC, [*ALL_SERVE, *twins], stores_data=False))
    assert sorted(successors.owners) == [A, B, C, Identity("d", 8)]


def test_a_changed_zone_keeps_the_tokens_and_a_changed_weight_does_not() -> None:
    moved = begun(decide(ABC, [serving(A, zone="east"), serving(B), serving(C)]))
    assert moved.owners[A] == replace(ABC.owners.owners[A], zone="east")
    grown = begun(decide(ABC, [serving(A, weight=2.0), serving(B), serving(C)]))
    assert len(grown.owners[A].tokens) == 2 * TOKENS


def test_a_down_owner_is_not_reshaped_by_old_gossip() -> None:
    assert waits(decide(ABC, [serving(A), serving(B), down(C, zone="east")]), "nothing waits")


@pytest.mark.parametrize("weight", [0.0, -1.0, math.inf, math.nan])
def test_a_weight_that_is_none_is_left_alone(weight: float) -> None:
    """One member's bad gossip must not stop the steward."""
    members = [serving(A, weight=weight), serving(B), serving(C), joining(D, weight=weight)]
    assert waits(decide(ABC, members), "nothing waits")


def test_without_data_everything_that_waits_begins_together() -> None:
    members = [serving(A), serving(B), down(C, 700), *map(joining, (D, E, F))]
    assert sorted(begun(decide(ABC, members, stores_data=False)).owners) == [A, B, D, E, F]


def test_a_leave_and_a_join_begin_together_where_a_quorum_of_old_nodes_remains() -> None:
    successors = begun(decide(ABC, [serving(A), serving(B), leaving(C), joining(D)]))
    assert sorted(successors.owners) == [A, B, D]


@pytest.mark.parametrize(("quorums", "together"), [(Quorums(3, 2, 2), 1), (Quorums(5, 3, 3), 2)])
def test_with_data_no_list_gets_more_new_nodes_than_it_can_do_without(
    quorums: Quorums, together: int
) -> None:
    """A dead joiner must not block reads or writes while the change runs."""
    record = record_of(A, B, C, D, E, quorums=quorums)
    members = [*map(serving, (A, B, C, D, E)), *map(joining, (F, G, H))]
    successors = begun(decide(record, members))
    assert len(successors.owners) == 5 + together
    assert (
        RingChange.between(record.owners, successors).max_newcomers <= newcomer_limit(successors) == together
    )


def test_a_single_change_begins_whatever_it_brings() -> None:
    """With one copy there is no old node beside the new one, and still the cluster can grow."""
    record = record_of(A, quorums=Quorums(1, 1, 1))
    assert sorted(begun(decide(record, [serving(A), joining(B)])).owners) == [A, B]


def test_nothing_begins_before_the_back_off_is_over() -> None:
    members = [*ALL_SERVE, joining(D)]
    assert waits(decide(ABC, members, now=10, not_before=15), "in 5 s")
    assert begun(decide(ABC, members, now=15, not_before=15))


def test_the_last_owner_stays() -> None:
    assert waits(decide(record_of(A), [leaving(A)]), "last owner stays")
    assert list(begun(decide(ABC, [leaving(A), leaving(B), leaving(C)], stores_data=False)).owners) == [C]


def test_the_last_owner_leaves_once_a_joiner_has_come_in() -> None:
    joined = begun(decide(record_of(A), [leaving(A), joining(B)], stores_data=False))
    assert sorted(joined.owners) == [A, B]
    left = decide(EpochRecord(7, "cluster", joined), [leaving(A), serving(B)], stores_data=False)
    assert sorted(begun(left).owners) == [B]


def test_without_a_majority_of_owners_no_change_is_tried() -> None:
    """Of two owners, one dead: no majority, and status must say so."""
    two = record_of(A, B)
    assert waits(
        decide(two, [serving(A), down(B, 700), joining(D)]), "1 of 2 owners are alive, and 2 must agree"
    )
    changing = begin(two, ring_of(A, B, D))
    assert waits(decide(changing, [serving(A), down(B), serving(D)]), "1 of 2 owners are alive")


def test_nothing_begins_while_a_range_lacks_live_sources() -> None:
    record = record_of(A, B, C, D, E)
    members = [serving(A), serving(B), serving(C), down(D, 700), down(E, 700)]
    assert waits(decide(record, members), "a range has 1 live replicas, and moving it takes 2")


@pytest.mark.parametrize("quorums", [Quorums(3, 3, 1), Quorums(3, 2, 3)])
def test_nothing_begins_that_could_not_be_finished(quorums: Quorums) -> None:
    """R = 1: one source would do to pull, but every old replica has to move on; R = N: all are sources."""
    record = record_of(A, B, C, quorums=quorums)
    assert waits(decide(record, [serving(A), serving(B), down(C, 700)]), "moving it takes 3")


def test_nothing_begins_after_which_nothing_could_be_agreed() -> None:
    """Without c, only one of the two owners left would be alive."""
    assert waits(decide(ABC, [serving(A), down(B), leaving(C)]), "1 of 2 owners would be alive")


def test_nothing_begins_that_a_down_node_would_have_to_pull_for() -> None:
    """The lists of d and g never meet, so every range has its sources; but g inherits from d."""
    members = [serving(node) for node in NODES if node not in (D, G)]
    record = record_of(*NODES)
    assert waits(decide(record, [*members, down(D, 700), down(G)]), f"{G.name} would have to pull")
    assert G not in begun(decide(record, [*members, down(D, 700), down(G, 700)])).owners


def test_who_would_have_to_pull_and_is_down_too_long_is_taken_out_before_a_leave() -> None:
    members = [serving(node) for node in NODES if node not in (D, G)]
    record = record_of(*NODES)
    assert waits(decide(record, [*members, leaving(D), down(G, 50)]), f"{G.name} would have to pull")
    assert begun(decide(record, [*members, leaving(D), down(G, 61)])).owners.keys() == {*NODES} - {G}


def test_a_change_that_has_to_wait_does_not_keep_another_waiting() -> None:
    joiner = Identity("new", 99)
    members = [serving(node) for node in NODES if node not in (D, G)]
    decided = begun(decide(record_of(*NODES), [*members, leaving(D), down(G), joining(joiner)]))
    assert {joiner, D} <= decided.owners.keys()


# --- ending ---------------------------------------------------------------

CHANGING = begin(ABC, ring_of(A, B, C, D))
K = CHANGING.number
GAINERS = sorted(
    {pull.gainer for m in RingChange.between(CHANGING.owners, ring_of(A, B, C, D)).moves for pull in m.pulls}
)


def at_k(*nodes: Identity, done: Iterable[Identity] = (), **fields: Any) -> list[MemberView]:
    finished = frozenset(done)
    return [
        serving(node, epoch=K, handoff_done_epoch=K if node in finished else None, **fields) for node in nodes
    ]


def test_a_change_is_finished_once_its_handoff_is() -> None:
    decision = decide(CHANGING, at_k(A, B, C, D, done=GAINERS))
    assert isinstance(decision, Propose)
    assert (decision.step, decision.record) == (Step.FINISH, finish(CHANGING))


def test_a_report_of_another_epoch_finishes_nothing() -> None:
    members = [replace(member, handoff_done_epoch=K - 1) for member in at_k(A, B, C, D)]
    assert waits(decide(CHANGING, members), f"{GAINERS[0].name} has not pulled")


def test_a_change_waits_for_owners_that_have_not_adopted_it() -> None:
    members = at_k(*GAINERS, done=GAINERS)
    behind = [serving(node, epoch=K - 1) for node in (A, B, C) if node not in GAINERS]
    assert waits(decide(CHANGING, [*members, *behind]), "must have adopted")


def test_an_owner_that_is_down_does_not_keep_a_change_from_finishing() -> None:
    members = [*at_k(A, B, D, done=GAINERS), down(C, epoch=K - 1)]
    decision = decide(CHANGING, members)
    assert isinstance(decision, Propose)
    assert decision.step is Step.FINISH


@pytest.mark.parametrize(
    "gone",
    [[down(D, 16.0)], [], [down(D, 0.0, status=MemberStatus.LEFT)]],
    ids=["down", "unknown", "left"],
)
def test_a_change_is_aborted_when_a_node_that_has_to_pull_is_gone(gone: list[MemberView]) -> None:
    decision = decide(CHANGING, [*at_k(A, B, C), *gone])
    assert isinstance(decision, Propose)
    assert decision.step is Step.ABORT
    assert f"{D.name} still" in decision.reason


def test_a_change_waits_for_a_node_that_has_just_gone_down_and_may_go_on_where_it_was() -> None:
    assert waits(decide(CHANGING, [*at_k(A, B, C), down(D, 15.0)]), f"{D.name} has not pulled")


def test_a_node_that_has_pulled_all_may_go_down() -> None:
    members = [*at_k(A, B, C, done=GAINERS), down(D, epoch=K, handoff_done_epoch=K)]
    decision = decide(CHANGING, members)
    assert isinstance(decision, Propose)
    assert decision.step is Step.FINISH


def test_a_change_goes_on_when_one_gainer_is_done_and_down_and_another_still_pulls() -> None:
    changing = begin(ABC, ring_of(A, B, C, D, E))
    members = [*at_k(A, B, C, E, done=(A, B, C)), down(D, epoch=K, handoff_done_epoch=K)]
    assert waits(decide(changing, members), f"{E.name} has not pulled")


def watched(record: EpochRecord, *rounds: tuple[float, list[MemberView]]) -> ProgressWatch:
    watch = ProgressWatch()
    for now, members in rounds:
        watch = watch.observe(record, {member.identity: member for member in members}, now)
    return watch


def test_a_change_is_aborted_when_a_node_makes_no_progress() -> None:
    members = at_k(A, B, C, D, handoff_bytes=7)
    watch = watched(CHANGING, (0, members), (60, members), (61, members))
    assert waits(decide(CHANGING, members, now=60, progress=watch), "has not pulled")
    decision = decide(CHANGING, members, now=61, progress=watch)
    assert isinstance(decision, Propose)
    assert (decision.step, "no progress for 61 s" in decision.reason) == (Step.ABORT, True)


def test_any_progress_starts_the_time_anew() -> None:
    early, late = at_k(A, B, C, D, handoff_bytes=7), at_k(A, B, C, D, handoff_bytes=8)
    watch = watched(CHANGING, (0, early), (50, late), (100, late))
    assert waits(decide(CHANGING, late, now=100, progress=watch), "has not pulled")


def test_progress_under_another_record_does_not_count() -> None:
    members = at_k(A, B, C, D, handoff_bytes=7)
    watch = watched(CHANGING, (0, members)).observe(
        replace(CHANGING, number=K + 2), {member.identity: member for member in members}, 90.0
    )
    assert watch.stalled_s(D, 100.0) == 10.0
    assert ProgressWatch().stalled_s(D, 100.0) == 0.0


# --- always ---------------------------------------------------------------

EVERYONE = [*NODES[:6], Identity("a", 8), Identity("b", 9)]


def views_of(identity: Identity) -> st.SearchStrategy[MemberView]:
    return st.builds(
        MemberView,
        identity=st.just(identity),
        alive=st.sampled_from([True, True, True, True, False]),
        status=st.sampled_from(list(MemberStatus)),
        zone=st.sampled_from(["", "", "east"]),
        weight=st.sampled_from([1.0, 1.0, 2.0]),
        epoch=st.integers(5, 6),
        handoff_done_epoch=st.sampled_from([None, 6, 6, 6]),
        down_for_s=st.sampled_from([10.0, 700.0]),
        floor_wanted=st.sampled_from([0, 0, 0, 7, 9]),
    )


flocks = st.tuples(*map(views_of, EVERYONE)).map(list)
some_nodes = st.sets(st.sampled_from(NODES[:6]), min_size=1, max_size=5).map(sorted)
some_quorums = st.sampled_from([Quorums(), Quorums(1, 1, 1), Quorums(3, 3, 1), Quorums(2, 2, 1)])


@settings(max_examples=150, deadline=None)
@given(
    some_nodes,
    st.none() | some_nodes,
    some_quorums,
    flocks,
    st.booleans(),
    st.sets(st.sampled_from(NODES[:6])),
)
def test_whatever_is_planned_is_a_legal_succession(
    nodes: list[Identity],
    successors: list[Identity] | None,
    quorums: Quorums,
    members: list[MemberView],
    stores_data: bool,
    removals: set[Identity],
) -> None:
    """And it keeps an owner, moves nobody twice, and says why; a wait says why as well."""
    record = record_of(*nodes, quorums=quorums)
    if successors is not None and successors != nodes:
        record = begin(record, ring_of(*successors, quorums=quorums))
    decision = decide(record, members, stores_data=stores_data, removals=frozenset(removals), settled=8)
    assert decision.reason
    if isinstance(decision, Propose):
        assert check_succession(record, decision.record) is decision.step
        for spec in decision.record.live_rings:
            Ring(spec).check()


def test_after_an_abort_who_would_have_to_pull_must_have_been_up_for_a_while() -> None:
    """One that flaps would pull the same data again and again."""
    members = [*(serving(node, up_for_s=5) for node in (A, B, C)), joining(D, up_for_s=5)]
    assert D in begun(decide(record_of(A, B, C), members)).owners
    assert waits(
        decide(record_of(A, B, C), members, min_up_s=10), "d would have to pull, and a change was aborted"
    )
    steady = [*members[:3], joining(D, up_for_s=10)]
    assert D in begun(decide(record_of(A, B, C), steady, min_up_s=10)).owners


def test_one_that_flaps_keeps_no_other_from_joining() -> None:
    members = [*(serving(node) for node in (A, B, C)), joining(D, up_for_s=1), joining(E)]
    assert set(begun(decide(record_of(A, B, C), members, min_up_s=10)).owners) == {A, B, C, E}
