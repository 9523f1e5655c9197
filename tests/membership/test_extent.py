"""What others remember of a member's data, and when its disk cannot be the one that they remember."""

from __future__ import annotations

import pytest

from covey.identity import Identity
from covey.membership.extent import (
    MAX_IDENTITIES,
    MAX_REMEMBERED,
    Extent,
    Opening,
    RememberedExtents,
    find_contradiction,
)

N1 = Identity("n1", 1)
HISTORY = (Opening(1, 11, 5), Opening(2, 22, 100), Opening(3, 33, 200))
"""The first process took the data from 5 to 100, the second one from there to 200."""


@pytest.mark.parametrize(
    "extent",
    [
        Extent(1, 11, 5),
        Extent(1, 11, 100),
        Extent(2, 22, 200),
        Extent(3, 33, 10_000),
    ],
)
def test_what_the_history_accounts_for_fits(extent: Extent) -> None:
    assert find_contradiction(HISTORY, [extent]) is None


@pytest.mark.parametrize(
    "extent",
    [
        pytest.param(Extent(1, 11, 101), id="an earlier process had gone further"),
        pytest.param(Extent(2, 23, 150), id="another process had the generation"),
        pytest.param(Extent(3, 34, 200), id="another process has this one's generation"),
        pytest.param(Extent(4, 44, 150), id="a later process than this one"),
    ],
)
def test_what_the_history_cannot_account_for_contradicts(extent: Extent) -> None:
    assert find_contradiction(HISTORY, [Extent(1, 11, 6), extent]) == extent


def test_a_gain_made_after_being_set_back_does_not_hide_it() -> None:
    """The disk was set back from 100 to 60 and has grown to 200 since, over two restarts."""
    history = (Opening(1, 11, 5), Opening(2, 22, 60), Opening(3, 33, 200))
    assert find_contradiction(history, [Extent(1, 11, 100)]) == Extent(1, 11, 100)


def test_what_lies_before_the_history_is_compared_with_its_beginning() -> None:
    later = (Opening(8, 88, 100),)
    assert find_contradiction(later, [Extent(7, 77, 100)]) is None
    assert find_contradiction(later, [Extent(7, 77, 101)]) is not None


def test_what_an_operator_forgave_is_not_compared() -> None:
    extent = Extent(2, 99, 999)
    assert find_contradiction(HISTORY, [extent], forgiven=3) is None
    assert find_contradiction(HISTORY, [extent], forgiven=2) == extent


def test_the_highest_mark_of_each_process_is_remembered() -> None:
    remembered = RememberedExtents()
    for extent in (Extent(1, 11, 5), Extent(1, 11, 9), Extent(1, 11, 7), Extent(2, 22, 6)):
        remembered.note(N1, extent)
    assert remembered.of(N1) == (Extent(1, 11, 9), Extent(2, 22, 6))


def test_two_processes_of_one_generation_are_both_remembered() -> None:
    remembered = RememberedExtents([(N1, [Extent(2, 22, 6), Extent(2, 23, 5)])])
    assert set(remembered.of(N1)) == {Extent(2, 22, 6), Extent(2, 23, 5)}


def test_a_member_that_does_not_say_is_not_remembered() -> None:
    remembered = RememberedExtents()
    remembered.note(N1, Extent(1, 11, 0))
    assert remembered.of(N1) == ()


def test_what_is_remembered_is_bounded() -> None:
    remembered = RememberedExtents()
    for generation in range(1, 2 * MAX_REMEMBERED):
        remembered.note(N1, Extent(generation, 1, 1))
    assert [extent.generation for extent in remembered.of(N1)] == list(
        range(MAX_REMEMBERED, 2 * MAX_REMEMBERED)
    )
    for disk_id in range(2 * MAX_IDENTITIES):
        remembered.note(Identity("n2", disk_id), Extent(1, 1, 1))
    assert len(remembered.all()) == MAX_IDENTITIES


def test_a_change_is_told_from_none_and_a_new_process_from_a_mark() -> None:
    remembered = RememberedExtents([(N1, [Extent(1, 11, 5)])])
    assert not remembered.changed and not remembered.processes_changed
    remembered.note(N1, Extent(1, 11, 5))
    assert not remembered.changed
    remembered.note(N1, Extent(1, 11, 6))
    assert remembered.changed and not remembered.processes_changed
    remembered.note(N1, Extent(2, 22, 6))
    assert remembered.processes_changed


def test_members_that_are_gone_are_forgotten() -> None:
    remembered = RememberedExtents([(N1, [Extent(1, 11, 5)]), (Identity("n2", 2), [Extent(1, 2, 3)])])
    remembered.keep({N1})
    assert list(remembered.all()) == [N1]
