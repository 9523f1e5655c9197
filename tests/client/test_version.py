"""Versions as clients see them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from covey import Version
from covey.node.quorum.version import Version as NodeVersion

parts = st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))


@given(parts, parts)
def test_order_and_text_are_those_of_the_node(one: tuple[int, int, int], other: tuple[int, int, int]) -> None:
    assert (Version(*one) < Version(*other)) == (NodeVersion(*one) < NodeVersion(*other))
    assert str(Version(*one)) == str(NodeVersion(*one))


def test_being_superseded_is_no_part_of_the_order() -> None:
    assert Version(1, 2, 3, superseded=True) == Version(1, 2, 3)
    assert not Version(1, 2, 3) < Version(1, 2, 3, superseded=True)
