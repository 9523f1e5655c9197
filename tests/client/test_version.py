"""Versions as clients see them."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from covey import Version
from covey.quorum.version import Version as NodeVersion

parts = st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))


@given(parts, parts)
def test_order_and_text_are_those_of_the_node(one: tuple[int, int, int], other: tuple[int, int, int]) -> None:
    assert (Version(*one) < Version(*other)) == (NodeVersion(*one) < NodeVersion(*other))
    assert str(Version(*one)) == str(NodeVersion(*one))


def test_being_superseded_is_no_part_of_the_order() -> None:
    assert Version(1, 2, 3, superseded=True) == Version(1, 2, 3)
    assert not Version(1, 2, 3) < Version(1, 2, 3, superseded=True)


def test_a_version_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Version(1, 2, 3).timestamp = 4  # type: ignore[misc]


def test_equal_versions_are_one_in_a_set() -> None:
    assert len({Version(1, 2, 3), Version(1, 2, 3, superseded=True)}) == 1


def test_another_type_is_not_equal_and_has_no_order() -> None:
    assert Version(1, 2, 3) != (1, 2, 3)
    with pytest.raises(TypeError):
        sorted([Version(1, 2, 3), (1, 2, 3)])  # type: ignore[type-var]


def test_a_version_shows_all_its_parts() -> None:
    shown = "Version(timestamp=1, disk_id=2, generation=3, superseded=True)"
    assert repr(Version(1, 2, 3, superseded=True)) == shown


def test_a_version_can_be_copied_and_pickled() -> None:
    version = Version(1, 2, 3, superseded=True)
    assert repr(pickle.loads(pickle.dumps(version))) == repr(copy.deepcopy(version)) == repr(version)
