"""Merging records of one member: order, repetition and grouping do not matter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from covey.identity import Identity
from covey.membership.record import UNHEARD, MemberRecord, RecordVersion, Status, fresher
from covey.membership.view import View

ME = MemberRecord(Identity("me", 1), 1, 1, 0, "me:1", Status.SERVING)


def written(generation: int, version: int) -> MemberRecord:
    """The record that the one writer wrote at this freshness."""
    return MemberRecord(
        Identity("a", 1), generation, version, version // 2, f"a:{generation}", Status.SERVING, epoch=version
    )


records = st.builds(written, st.integers(1, 4), st.integers(1, 6))


@given(records)
def test_merging_is_idempotent(one: MemberRecord) -> None:
    assert fresher(one, one) == one


@given(records, records)
def test_merging_is_commutative(one: MemberRecord, other: MemberRecord) -> None:
    assert fresher(one, other) == fresher(other, one)


@given(records, records, records)
def test_merging_is_associative(one: MemberRecord, two: MemberRecord, three: MemberRecord) -> None:
    assert fresher(fresher(one, two), three) == fresher(one, fresher(two, three))


@given(st.lists(records, min_size=1), st.randoms())
def test_views_that_heard_the_same_records_in_any_order_agree(
    heard: list[MemberRecord], shuffler: object
) -> None:
    again = [*heard, heard[0]]
    shuffler.shuffle(again)  # type: ignore[attr-defined]
    views = []
    for order in (heard, again):
        view = View(ME, 0.0)
        for record in order:
            view.merge(record, 0.0)
        views.append(view.get(heard[0].identity).record)  # type: ignore[union-attr]
    assert views[0] == views[1] == max(heard, key=lambda record: record.freshness)


def test_a_newer_process_is_fresher_than_any_version_of_an_older_one() -> None:
    assert RecordVersion(2, 1) > RecordVersion(1, 999) > UNHEARD
