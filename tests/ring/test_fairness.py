"""Fair shares follow weights as far as one copy a node, and distinct zones, allow."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.identity import Identity
from covey.ring.epoch import Owner, Quorums, RingSpec
from covey.ring.fairness import fair_shares, share_ratio


def seats(*zones_and_weights: tuple[str, float]) -> dict[Identity, Owner]:
    return {
        Identity(f"n{i}", i): Owner((100 * i,), zone, weight)
        for i, (zone, weight) in enumerate(zones_and_weights)
    }


def shares(*zones_and_weights: tuple[str, float], copies: int = 3) -> list[float]:
    return list(fair_shares(seats(*zones_and_weights), copies).values())


def test_equal_nodes_have_equal_shares() -> None:
    assert shares(*[("", 1.0)] * 6) == pytest.approx([0.5] * 6)


def test_shares_follow_weights() -> None:
    assert shares(("", 2.0), *[("", 1.0)] * 6) == pytest.approx([0.75, *[0.375] * 6])


def test_nobody_holds_two_copies_of_a_key() -> None:
    assert shares(("", 100.0), *[("", 1.0)] * 4) == pytest.approx([1, *[0.5] * 4])


def test_a_lone_node_in_one_of_few_zones_holds_everything() -> None:
    assert shares(("x", 1.0), *[("y", 1.0)] * 8) == pytest.approx([1, *[0.25] * 8])


def test_a_big_zone_among_many_holds_one_copy() -> None:
    assert shares(*[("x", 1.0)] * 10, ("y", 1.0), ("z", 1.0), ("w", 1.0)) == pytest.approx(
        [*[0.1] * 10, *[2 / 3] * 3]
    )


@given(
    st.lists(st.tuples(st.sampled_from("wxyz"), st.floats(0.1, 10)), min_size=1, max_size=12),
    st.integers(1, 5),
)
@settings(deadline=None)
def test_shares_add_up_to_the_copies(zones_and_weights: list[tuple[str, float]], copies: int) -> None:
    copies = min(copies, len(zones_and_weights))
    found = shares(*zones_and_weights, copies=copies)
    assert sum(found) == pytest.approx(copies)
    assert all(0 < share <= 1 + 1e-9 for share in found)


def test_the_ratio_is_that_of_the_fullest_node() -> None:
    """Of two nodes one holds three quarters of the ring, where a half is fair."""
    quarter = 2**62
    owners = {Identity("a", 1): Owner((0,)), Identity("b", 2): Owner((quarter,))}
    assert share_ratio(RingSpec(owners, Quorums(1, 1, 1))) == pytest.approx(1.5)
