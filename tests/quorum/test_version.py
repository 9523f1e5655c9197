from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from covey.quorum.version import COUNTER_BITS, Version

versions = st.builds(Version, st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))


@settings(deadline=None)
@given(versions, versions)
def test_two_versions_are_equal_or_one_is_newer(a: Version, b: Version) -> None:
    assert (a < b) + (a == b) + (a > b) == 1


def test_a_later_timestamp_is_newer_whichever_node_drew_it() -> None:
    assert Version(2, 0, 0) > Version(1, 2**64 - 1, 99)


def test_generations_keep_versions_of_one_node_and_timestamp_apart() -> None:
    assert Version(1, 5, 2) > Version(1, 5, 1)


@settings(deadline=None)
@given(st.integers(0, 2**47), st.integers(0, 2**COUNTER_BITS - 1))
def test_text_has_wall_time_counter_and_coordinator(wall_ms: int, counter: int) -> None:
    version = Version(wall_ms << COUNTER_BITS | counter, 0xAB, 3)
    assert version.wall_ms == wall_ms
    assert str(version) == f"{wall_ms}.{counter}-00000000000000ab-3"
