"""Replicated ownership stays even while a cluster grows, and a join moves no more than it must."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.identity import Identity
from covey.ring.allocation import MAX_TOKENS, Joiner, allocate
from covey.ring.epoch import Owner, Quorums, RingSpec
from covey.ring.fairness import fair_shares, share_ratio
from covey.ring.moves import RingChange
from covey.ring.ring import Ring
from covey.ring.tokens import TOKEN_SPACE

QUORUMS = Quorums()


def node(number: int, zone: str = "", weight: float = 1.0) -> Joiner:
    return Joiner(Identity(f"n{number:04}", number), zone, weight)


def seat(
    owners: Mapping[Identity, Owner], joiners: Sequence[Joiner], quorums: Quorums = QUORUMS
) -> dict[Identity, Owner]:
    tokens = allocate(owners, joiners, quorums)
    return {**owners, **{j.identity: Owner(tokens[j.identity], j.zone, j.weight) for j in joiners}}


@cache
def grown(size: int, zones: int = 1, copies: int = 3) -> dict[Identity, Owner]:
    """Owners that joined one by one, into zones in turn."""
    if size == 0:
        return {}
    quorums = Quorums(copies, copies // 2 + 1, copies // 2 + 1)
    return seat(grown(size - 1, zones, copies), [node(size, f"z{size % zones}")], quorums)


def ratio(owners: Mapping[Identity, Owner], quorums: Quorums = QUORUMS) -> float:
    return share_ratio(RingSpec(owners, quorums))


def cpu_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


@pytest.mark.parametrize("size", [3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 30, 45, 60, 80, 100])
def test_no_owner_exceeds_its_fair_share_by_5_percent_growing_one_by_one(size: int) -> None:
    assert ratio(grown(size)) <= 1.05


@pytest.mark.parametrize(
    ("zones", "size"), [(2, 4), (2, 8), (2, 12), (3, 6), (3, 12), (3, 21), (5, 10), (5, 15)]
)
def test_no_owner_exceeds_its_fair_share_by_5_percent_in_equal_zones(zones: int, size: int) -> None:
    assert ratio(grown(size, zones)) <= 1.05


def test_five_copies_are_as_even_as_three() -> None:
    assert max(ratio(grown(size, copies=5), Quorums(5, 3, 3)) for size in range(5, 13)) <= 1.05


@pytest.mark.parametrize("size", [1, 3, 10])
def test_seeds_that_begin_together_are_even_and_so_is_what_joins_them(size: int) -> None:
    owners = seat({}, [node(number) for number in range(size)])
    assert ratio(owners) <= 1.05
    assert ratio(seat(owners, [node(1000 + i) for i in range(2)])) <= 1.05


@pytest.mark.parametrize("size", [1, 2, 3, 4, 9, 29, 99])
def test_a_join_moves_at_most_a_tenth_more_than_the_joiners_fair_share(size: int) -> None:
    before, after = RingSpec(grown(size), QUORUMS), RingSpec(grown(size + 1), QUORUMS)
    moved = sum(move.token_range.width for move in RingChange.between(before, after).moves) / TOKEN_SPACE
    assert moved <= 1.1 * fair_shares(after.owners, after.n)[node(size + 1).identity]


def test_a_join_moves_data_to_the_joiner_alone() -> None:
    before, after = RingSpec(grown(9, 3), QUORUMS), RingSpec(grown(10, 3), QUORUMS)
    gainers = {pull.gainer for move in RingChange.between(before, after).moves for pull in move.pulls}
    assert gainers == {node(10).identity}


def test_heavier_nodes_hold_more() -> None:
    owners: dict[Identity, Owner] = {}
    for number in range(8):
        owners = seat(owners, [node(number, weight=1.0 + number % 2)])
    assert ratio(owners) <= 1.05
    shares = Ring(RingSpec(owners, QUORUMS)).ownership()
    assert shares[node(1).identity] == pytest.approx(2 * shares[node(0).identity], rel=0.1)
    assert len(owners[node(1).identity].tokens) == 2 * len(owners[node(0).identity].tokens)


def test_a_join_evens_out_what_leaves_have_made_uneven() -> None:
    owners = {name: owner for i, (name, owner) in enumerate(grown(20).items()) if i % 3}
    uneven = ratio(owners)
    for number in range(100, 106):
        owners = seat(owners, [node(number)])
    assert ratio(owners) < min(uneven, 1.05)


def test_joiners_are_seated_in_order_of_identity_however_they_are_listed() -> None:
    joiners = [node(14, "x"), node(12, "y"), node(17, "x", 2.0)]
    assert allocate(grown(5), joiners, QUORUMS) == allocate(grown(5), joiners[::-1], QUORUMS)


def test_a_heavy_joiner_beside_many_owners_is_seated_at_small_cost() -> None:
    """1,000 tokens beside 100 owners: 40 ms where a million squares take 35; before, they took 3 s."""
    owners = grown(100)
    heavy = [node(900 + i, "z0", 31.25) for i in range(3)]
    cost_s = min(cpu_s(partial(allocate, owners, [joiner], QUORUMS)) for joiner in heavy)
    unit_s = min(cpu_s(lambda: [i * i for i in range(1_000_000)]) for _ in range(3))
    assert cost_s < 4 * unit_s


def test_no_weight_makes_more_tokens_than_a_node_may_have() -> None:
    assert len(allocate({}, [node(1, weight=100.0)], QUORUMS, 1024)[node(1).identity]) == MAX_TOKENS


def test_an_owner_does_not_join_again() -> None:
    with pytest.raises(ValueError, match="already"):
        allocate(grown(2), [node(2)], QUORUMS)


@given(
    st.lists(st.tuples(st.sampled_from("xyz"), st.floats(0.05, 4)), min_size=1, max_size=7),
    st.integers(1, 5),
    st.integers(1, 8),
)
@settings(max_examples=30, deadline=None)
def test_any_zones_and_weights_make_a_ring(
    nodes: list[tuple[str, float]], copies: int, tokens_per_weight: int
) -> None:
    """Each joiner gets tokens by its weight, and they are nobody else's."""
    joiners = [node(i, zone, weight) for i, (zone, weight) in enumerate(nodes)]
    quorums = Quorums(copies, copies, 1)
    tokens = allocate({}, joiners, quorums, tokens_per_weight)
    for joiner in joiners:
        assert len(tokens[joiner.identity]) == max(1, round(joiner.weight * tokens_per_weight))
        assert list(tokens[joiner.identity]) == sorted(tokens[joiner.identity])
    owners = {j.identity: Owner(tokens[j.identity], j.zone, j.weight) for j in joiners}
    Ring(RingSpec(owners, quorums)).check()
