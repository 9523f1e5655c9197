"""Preference lists, against an oracle that sorts by distance; and what follows from them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.identity import Identity
from covey.ring.epoch import Owner, Quorums, RingSpec
from covey.ring.ring import Ring
from covey.ring.tokens import TOKEN_SPACE, WHOLE_RING, TokenRange

A, B, C, D, E = (Identity(name, number) for number, name in enumerate("abcde"))
tokens = st.integers(0, TOKEN_SPACE - 1)


@st.composite
def specs(draw: st.DrawFn) -> RingSpec:
    """Rings of one to seven owners in one to four zones."""
    count = draw(st.integers(1, 7))
    zones = draw(st.lists(st.sampled_from("wxyz"), min_size=count, max_size=count))
    placed = draw(st.lists(tokens | st.integers(0, 40), min_size=count, max_size=4 * count, unique=True))
    owners = {
        Identity(f"n{i}", i): Owner(tuple(sorted(placed[i::count])), zone) for i, zone in enumerate(zones)
    }
    return RingSpec(owners, Quorums(draw(st.integers(1, 5)), 1, 1))


def oracle(spec: RingSpec, key_token: int) -> tuple[Identity, ...]:
    """All owners by their nearest token clockwise; then the nearest of each zone, then the others."""
    distance = {
        name: min((token - key_token) % TOKEN_SPACE for token in owner.tokens)
        for name, owner in spec.owners.items()
    }
    by_distance = sorted(distance, key=distance.__getitem__)
    zone = {name: spec.owners[name].zone for name in by_distance}
    firsts = [
        name for i, name in enumerate(by_distance) if zone[name] not in [zone[n] for n in by_distance[:i]]
    ]
    others = [name for name in by_distance if name not in firsts]
    return tuple([*firsts, *others][: spec.n])


@given(specs(), st.lists(tokens, max_size=8))
@settings(deadline=None)
def test_a_preference_list_is_the_nearest_owners_distinct_zones_first(
    spec: RingSpec, sampled: list[int]
) -> None:
    ring = Ring(spec)
    ends = [token for owner in spec.owners.values() for token in owner.tokens]
    for token in [*sampled, 0, TOKEN_SPACE - 1, *ends, *((end + 1) % TOKEN_SPACE for end in ends)]:
        assert ring.preference_list(token) == oracle(spec, token)


@given(specs())
@settings(deadline=None)
def test_every_ring_keeps_its_own_rules(spec: RingSpec) -> None:
    Ring(spec).check()


@given(specs())
@settings(deadline=None)
def test_ranges_tile_the_ring_and_name_their_replicas(spec: RingSpec) -> None:
    ranges = list(Ring(spec).ranges())
    assert all(before.upto == after.after for before, after in pairwise(ranges))
    assert ranges[-1].upto == ranges[0].after
    assert all(found.preference_list == oracle(spec, found.upto) for found in ranges)


@given(specs(), tokens)
@settings(deadline=None)
def test_an_owner_replicates_exactly_the_spans_that_ranges_of_names(spec: RingSpec, token: int) -> None:
    ring = Ring(spec)
    for identity in spec.owners:
        held = any(span.contains(token) for span in ring.ranges_of(identity))
        assert held == (identity in ring.preference_list(token))


@given(specs(), tokens)
@settings(deadline=None)
def test_every_token_is_led_by_one_owner_under_its_list(spec: RingSpec, token: int) -> None:
    ring = Ring(spec)
    found = [
        owners
        for identity in spec.owners
        for owners, spans in ring.primary_ranges(identity).items()
        for span in spans
        if span.contains(token)
    ]
    assert found == [ring.preference_list(token)]


@given(specs())
@settings(deadline=None)
def test_ownership_is_the_width_of_what_is_replicated(spec: RingSpec) -> None:
    ring = Ring(spec)
    for identity, share in ring.ownership().items():
        width = sum(span.width for span in ring.ranges_of(identity))
        assert share == pytest.approx(width / (ring.n * TOKEN_SPACE))
    assert sum(ring.ownership().values()) == pytest.approx(1)


def test_a_zone_already_met_waits_until_all_zones_are_met() -> None:
    """Walking from 0: a(x) b(x) c(y) d(x); b is passed over for c, then taken before d."""
    owners = {A: Owner((1,), "x"), B: Owner((2,), "x"), C: Owner((3,), "y"), D: Owner((4,), "x")}
    ring = Ring(RingSpec(owners, Quorums(3, 2, 2)))
    assert ring.preference_list(0) == (A, C, B)


def test_with_zones_enough_no_zone_comes_twice() -> None:
    owners = {A: Owner((1,), "x"), B: Owner((2,), "x"), C: Owner((3,), "y"), D: Owner((4,), "z")}
    assert Ring(RingSpec(owners, Quorums(3, 2, 2))).preference_list(0) == (A, C, D)


def test_a_range_wraps_past_zero() -> None:
    ring = Ring(RingSpec({A: Owner((10,)), B: Owner((20,))}, Quorums(1, 1, 1)))
    assert ring.ranges_of(A) == (TokenRange(20, 10),)
    assert [ring.preference_list(t) for t in (21, 0, 10, 11, 20)] == [(A,), (A,), (A,), (B,), (B,)]


def test_fewer_owners_than_copies_replicate_everything() -> None:
    ring = Ring(RingSpec({A: Owner((10, 30)), B: Owner((20,))}, Quorums(3, 2, 2)))
    assert (ring.n, ring.w, ring.r) == (2, 2, 2)
    assert ring.ranges_of(A) == ring.ranges_of(B) == (WHOLE_RING,)


@pytest.mark.parametrize(
    ("owners", "complaint"),
    [
        ({}, "at least one owner"),
        ({A: Owner(())}, "no tokens"),
        ({A: Owner((5,)), B: Owner((5,))}, "belongs to both"),
        ({A: Owner((TOKEN_SPACE,))}, "64-bit"),
        ({A: Owner((5,), weight=0.0)}, "weight"),
    ],
)
def test_what_describes_no_ring_is_refused(owners: dict[Identity, Owner], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Ring(RingSpec(owners, Quorums()))
