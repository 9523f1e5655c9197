from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from covey.node.epoch.epochs import Epoch
from covey.node.ring_change.handoff import foreign_ranges
from covey.ring.epoch import RingSpec
from covey.ring.tokens import WHOLE_RING
from tests.support.rings import identity, record, ring, rings


@settings(deadline=None)
@given(rings(), st.integers(1, 8), st.data())
def test_foreign_is_exactly_what_the_node_does_not_replicate(
    spec: RingSpec, number: int, data: st.DataObject
) -> None:
    epoch, me = Epoch(record(spec)), identity(number)
    edges = [token for owner in spec.owners.values() for token in owner.tokens]
    near = st.sampled_from(edges).flatmap(lambda edge: st.sampled_from([edge - 1, edge, (edge + 1) % 2**64]))
    token = data.draw(near | st.integers(0, 2**64 - 1))
    foreign = sum(span.contains(token) for span in foreign_ranges(epoch, me))
    assert foreign == (me not in epoch.rings[0].preference_list(token))


def test_everything_is_foreign_to_a_node_that_is_no_owner() -> None:
    assert foreign_ranges(Epoch(record(ring(1, 2, 3))), identity(4)) == (WHOLE_RING,)


def test_nothing_is_foreign_where_every_node_replicates_everything() -> None:
    assert foreign_ranges(Epoch(record(ring(1, 2, 3))), identity(2)) == ()
