"""What the allocator foresees of a join is what the ring does."""

from __future__ import annotations

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from covey.identity import Identity
from covey.ring.displacement import displacement
from covey.ring.epoch import Owner, Quorums, RingSpec
from covey.ring.ring import Ring
from covey.ring.tokens import TOKEN_SPACE

JOINER = Identity("joiner", 99)
COPIES = 3


@st.composite
def rings(draw: st.DrawFn) -> dict[Identity, Owner]:
    count = draw(st.integers(COPIES, 8))
    zones = draw(st.lists(st.sampled_from("wxyz"), min_size=count, max_size=count))
    placed = draw(
        st.lists(st.integers(0, 1000), min_size=2 * count, max_size=4 * count, unique=True).map(
            lambda drawn: [token * (TOKEN_SPACE // 1001) for token in drawn]
        )
    )
    return {
        Identity(f"n{i}", i): Owner(tuple(sorted(placed[i::count])), zone) for i, zone in enumerate(zones)
    }


@given(rings(), st.sampled_from("wxyz"), st.integers(1, 60), st.data())
@settings(deadline=None)
def test_a_token_takes_the_slots_that_reach_it_from_whom_they_name(
    owners: dict[Identity, Owner], zone: str, least_slots: int, data: st.DataObject
) -> None:
    zones = {owner.zone for owner in owners.values()}
    assume(zone in zones or len(zones) >= COPIES)
    view = displacement(owners, zone, COPIES, least_slots)
    slots = view.slots
    chosen = data.draw(st.integers(0, len(slots) - 1))
    joined = {
        **owners,
        JOINER: Owner(((slots[chosen].after + slots[chosen].tokens - 1) % TOKEN_SPACE,), zone),
    }
    before, after = Ring(RingSpec(owners, Quorums())), Ring(RingSpec(joined, Quorums()))
    for distance in range(len(slots)):
        slot = slots[chosen - distance]
        first = (slot.after + 1) % TOKEN_SPACE
        lost = set(before.preference_list(first)) - set(after.preference_list(first))
        assert lost == ({view.owners[slot.owner]} if distance <= slot.reach else set())


@given(rings(), st.sampled_from("wxyz"), st.integers(1, 60))
@settings(deadline=None)
def test_no_slot_reaches_beyond_what_the_next_one_reaches(
    owners: dict[Identity, Owner], zone: str, least_slots: int
) -> None:
    slots = displacement(owners, zone, COPIES, least_slots).slots
    assert all(slots[i - 1].reach - 1 <= slot.reach for i, slot in enumerate(slots))


@given(rings(), st.integers(1, 100))
@settings(deadline=None)
def test_slots_tile_the_ring(owners: dict[Identity, Owner], least_slots: int) -> None:
    slots = displacement(owners, owners[min(owners)].zone, COPIES, least_slots).slots
    assert len(slots) >= least_slots
    assert sum(slot.tokens for slot in slots) == TOKEN_SPACE
    assert all(
        (slots[i - 1].after + slots[i - 1].tokens) % TOKEN_SPACE == slot.after for i, slot in enumerate(slots)
    )


@given(rings())
@settings(deadline=None)
def test_what_virtual_nodes_hold_adds_up_to_ownership(owners: dict[Identity, Owner]) -> None:
    zone = owners[min(owners)].zone
    view = displacement(owners, zone, COPIES, 1)
    held = dict.fromkeys(view.owners, 0.0)
    for place, copies in zip(view.virtual_nodes, view.held, strict=True):
        held[view.owners[place]] += copies / COPIES
    for identity, share in Ring(RingSpec(owners, Quorums())).ownership().items():
        assert abs(held[identity] - share) < 1e-9
