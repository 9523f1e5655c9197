from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from covey.node.anti_entropy.differences import BatchSize, differences
from tests.support.stations import version

SIDES = st.dictionaries(st.sampled_from([b"a", b"b", b"c", b"d"]), st.integers(1, 3).map(version))


@given(SIDES, SIDES)
def test_moving_what_is_newer_makes_the_sides_equal_and_moves_nothing_else(here: dict, there: dict) -> None:
    found = differences(here, there)
    newest = {key: max(side[key] for side in (here, there) if key in side) for key in here | there}
    assert set(found.newer_there) == {key for key in newest if here.get(key) != newest[key]}
    assert set(found.newer_here) == {key for key in newest if there.get(key) != newest[key]}


def test_batches_grow_while_values_are_small_and_shrink_for_large_ones() -> None:
    size = BatchSize(512, 1 << 20)
    began_with = size.keys
    assert 1 < began_with < 512
    for _ in range(5):
        size.saw(size.keys, size.keys * 100)
    assert size.keys == 512
    size.saw(512, 512 << 20)
    assert size.keys == 1


def test_a_batch_that_brought_nothing_does_not_stop_the_next() -> None:
    size = BatchSize(512, 1 << 20)
    size.saw(0, 0)
    assert size.keys >= 1
