"""Pulls: who, from whom, until when; and when a change may finish (docs/ring-changes.md, rules 6, 8 and 9)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.identity import Identity
from covey.ring.epoch import Owner, Quorums, RingSpec
from covey.ring.moves import FinishCondition, Pull, RangeMove, RingChange, adoption_quorum
from covey.ring.ring import Ring
from covey.ring.tokens import TOKEN_SPACE, WHOLE_RING, TokenRange

A, B, C, D, E = (Identity(name, number) for number, name in enumerate("abcde"))
NODES = [Identity(f"n{number}", number) for number in range(7)]
token_values = st.integers(0, TOKEN_SPACE - 1)


def spec(quorums: Quorums, **tokens: int) -> RingSpec:
    names = {identity.name: identity for identity in (A, B, C, D, E)}
    return RingSpec({names[name]: Owner((token,)) for name, token in tokens.items()}, quorums)


@st.composite
def changes(draw: st.DrawFn) -> tuple[RingSpec, RingSpec]:
    """Two rings over some of the same seven nodes, in the same zones, with the same tokens or moved ones."""
    placed = draw(st.lists(token_values, min_size=21, max_size=21, unique=True))
    zones = draw(st.lists(st.sampled_from("xyz"), min_size=7, max_size=7))

    def ring(shift: int) -> RingSpec:
        members = draw(st.lists(st.sampled_from(range(7)), min_size=1, max_size=7, unique=True))
        owners = {
            NODES[i]: Owner(tuple(sorted(placed[2 * i + shift : 2 * i + 2 + shift])), zones[i])
            for i in sorted(members)
        }
        copies = draw(st.sampled_from([3, 3, 3, 2, 1]))
        return RingSpec(owners, Quorums(copies, copies // 2 + 1, copies // 2 + 1))

    return ring(0), ring(draw(st.sampled_from([0, 0, 1])))


def sampled_tokens(*rings: RingSpec) -> list[int]:
    ends = {token for ring in rings for owner in ring.owners.values() for token in owner.tokens}
    return sorted({0, *ends, *((end + 1) % TOKEN_SPACE for end in ends)})


def expected_gainers(owners: Ring, successors: Ring, token: int) -> set[Identity]:
    """Rule 8, naively, for one token."""
    old, new = owners.preference_list(token), successors.preference_list(token)
    if owners.spec.quorums != successors.spec.quorums or successors.n < owners.n:
        return set(new)
    return set(new) - set(old)


@given(changes())
@settings(max_examples=60, deadline=None)
def test_every_token_is_pulled_by_exactly_the_nodes_that_rule_8_names(
    change: tuple[RingSpec, RingSpec],
) -> None:
    owners, successors = change
    old, new = Ring(owners), Ring(successors)
    found = RingChange.between(owners, successors).moves
    for token in sampled_tokens(owners, successors):
        covering = [move for move in found if move.token_range.contains(token)]
        assert len(covering) <= 1
        gainers = {pull.gainer for move in covering for pull in move.pulls}
        assert gainers == expected_gainers(old, new, token)
        for move in covering:
            assert move.old == old.preference_list(token)
            assert move.new == new.preference_list(token)


@given(changes())
@settings(max_examples=60, deadline=None)
def test_every_pull_asks_the_old_list_and_pairs_no_displaced_node_twice(
    change: tuple[RingSpec, RingSpec],
) -> None:
    owners, successors = change
    for move in RingChange.between(owners, successors).moves:
        assert all(pull.sources == move.old and pull.needed == owners.r for pull in move.pulls)
        displaced = [pull.displaced for pull in move.pulls if pull.displaced is not None]
        assert len(set(displaced)) == len(displaced)
        assert set(displaced) <= set(move.old) - set(move.new)


@given(changes())
@settings(max_examples=60, deadline=None)
def test_adjacent_spans_with_equal_lists_are_one(change: tuple[RingSpec, RingSpec]) -> None:
    found = RingChange.between(*change).moves
    for i, move in enumerate(found):
        before = found[i - 1]
        touching = before.token_range.upto == move.token_range.after and len(found) > 1
        assert not (touching and (before.old, before.new) == (move.old, move.new))


@given(changes())
@settings(max_examples=60, deadline=None)
def test_gained_ranges_are_where_a_node_newly_enters_the_list(change: tuple[RingSpec, RingSpec]) -> None:
    owners, successors = change
    old, new = Ring(owners), Ring(successors)
    gained = {identity: RingChange.between(owners, successors).gained_ranges(identity) for identity in NODES}
    for token in sampled_tokens(owners, successors):
        entering = set(new.preference_list(token)) - set(old.preference_list(token))
        for identity in NODES:
            inside = any(span.contains(token) for span in gained[identity])
            assert inside == (identity in entering)


@given(changes())
@settings(max_examples=60, deadline=None)
def test_max_newcomers_is_the_worst_of_all_lists(change: tuple[RingSpec, RingSpec]) -> None:
    owners, successors = change
    old, new = Ring(owners), Ring(successors)
    entering = [
        len(set(new.preference_list(token)) - set(old.preference_list(token)))
        for token in sampled_tokens(owners, successors)
    ]
    assert RingChange.between(owners, successors).max_newcomers == max(entering)


QUORUMS = Quorums(3, 2, 2)
ABC = spec(QUORUMS, a=10, b=20, c=30)


def test_a_gainer_may_pull_from_the_one_it_displaces_alone() -> None:
    """Rule 8a: d comes in at 15; over (30, 10] it stands between a and b, and c gives way."""
    found = RingChange.between(ABC, spec(QUORUMS, a=10, b=20, c=30, d=15)).moves
    expected = Pull(D, C, (A, B, C), needed=2, own_copy_counts=False)
    assert found[0] == RangeMove(TokenRange(30, 10), (A, B, C), (A, D, B), (expected,))
    assert expected.complete({C})
    assert expected.complete({A, B})
    assert not expected.complete({A})
    assert not expected.complete({D, E})


def test_displaced_and_gaining_nodes_are_paired_in_list_order() -> None:
    found = RingChange.between(spec(Quorums(2, 1, 2), a=10, b=20), spec(Quorums(2, 1, 2), d=5, c=15)).moves
    pairs = {(pull.gainer, pull.displaced) for pull in found[0].pulls}
    assert found[0].token_range == TokenRange(20, 5)
    assert pairs == {(D, A), (C, B)}


def test_a_gainer_that_displaces_nobody_needs_a_read_quorum() -> None:
    """Rule 8b: from two owners to three."""
    (move,) = RingChange.between(
        spec(QUORUMS, a=10, b=20), spec(QUORUMS, a=10, b=20, c=20 + TOKEN_SPACE // 2)
    ).moves[:1]
    (pull,) = move.pulls
    assert (pull.gainer, pull.displaced, pull.needed) == (C, None, 2)
    assert not pull.complete({A})
    assert pull.complete({A, B})


def test_shrinking_below_n_merges_on_those_that_stay() -> None:
    """Rule 8c, abc -> a: what b and c alone acknowledged must reach a."""
    (move,) = RingChange.between(ABC, spec(QUORUMS, a=10)).moves[:1]
    (pull,) = move.pulls
    assert (pull.gainer, pull.displaced, pull.own_copy_counts) == (A, None, True)
    assert not pull.complete(set())
    assert pull.complete({B})
    assert (
        sum(move.token_range.width for move in RingChange.between(ABC, spec(QUORUMS, a=10)).moves)
        == TOKEN_SPACE
    )


def test_a_node_does_not_count_its_own_copy_twice() -> None:
    pull = Pull(A, None, (A, B, C), needed=2, own_copy_counts=True)
    assert not pull.complete({A})


@pytest.mark.parametrize("changed", [Quorums(3, 1, 3), Quorums(3, 3, 2), Quorums(4, 2, 2)])
def test_new_quorums_merge_every_list_on_every_node(changed: Quorums) -> None:
    """(W, R) from (2, 2) to (3, 1) on the spot: v on a and b, a read of c finds nothing."""
    found = RingChange.between(ABC, RingSpec(ABC.owners, changed)).moves
    assert sum(move.token_range.width for move in found) == TOKEN_SPACE
    assert all({pull.gainer for pull in move.pulls} == {A, B, C} for move in found)
    assert all(pull.own_copy_counts for move in found for pull in move.pulls)


def test_the_same_ring_moves_nothing() -> None:
    assert RingChange.between(ABC, ABC).moves == ()


def test_one_owner_joined_by_another_moves_the_whole_ring() -> None:
    (move,) = RingChange.between(spec(QUORUMS, a=10), spec(QUORUMS, a=10, b=20)).moves[:1]
    assert RingChange.between(spec(QUORUMS, a=10), spec(QUORUMS, a=10, b=20)).gained_ranges(B) == (
        WHOLE_RING,
    )
    assert move.pulls == (Pull(B, None, (A,), needed=1, own_copy_counts=False),)


ABCD = spec(QUORUMS, a=10, b=20, c=30, d=15)
JOIN = RingChange.between(ABC, ABCD).moves


def test_a_change_finishes_when_gainers_are_done_and_old_reads_cannot_complete() -> None:
    assert adoption_quorum(ABC) == 2
    assert FinishCondition.of(JOIN).obstacles({D}, {A, B, D}, ABC) == []


def test_a_change_waits_for_its_gainers() -> None:
    assert FinishCondition.of(JOIN).obstacles(set(), {A, B, C, D}, ABC) == [
        f"{D.name} has not pulled all it gains yet"
    ]


def test_a_change_waits_for_enough_of_every_old_list_to_adopt_it() -> None:
    """The gainer's own adoption does not count: it is in no old list."""
    (obstacle,) = FinishCondition.of(JOIN).obstacles({D}, {A, D}, ABC)
    assert f"not yet there: {B.name}, {C.name}" in obstacle
    assert obstacle.startswith("2 of the 3 old replicas")
