"""Merging records of one member: order, repetition and grouping do not matter.

Which load reports moved enough to be told.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from covey.identity import Identity
from covey.membership.member_list import MembershipList
from covey.membership.record import (
    UNKNOWN_VERSION,
    LoadReport,
    MemberRecord,
    RecordVersion,
    Status,
    differs_notably,
    newer_record,
)

ME = MemberRecord(Identity("me", 1), 1, 1, 0, "me:1", Status.SERVING)


def written(generation: int, version: int) -> MemberRecord:
    """The record that the one writer wrote at this freshness."""
    return MemberRecord(
        Identity("a", 1), generation, version, version // 2, f"a:{generation}", Status.SERVING, epoch=version
    )


records = st.builds(written, st.integers(1, 4), st.integers(1, 6))


@given(records)
def test_merging_is_idempotent(one: MemberRecord) -> None:
    assert newer_record(one, one) == one


@given(records, records)
def test_merging_is_commutative(one: MemberRecord, other: MemberRecord) -> None:
    assert newer_record(one, other) == newer_record(other, one)


@given(records, records, records)
def test_merging_is_associative(one: MemberRecord, two: MemberRecord, three: MemberRecord) -> None:
    assert newer_record(newer_record(one, two), three) == newer_record(one, newer_record(two, three))


@given(st.lists(records, min_size=1), st.randoms())
def test_views_that_heard_the_same_records_in_any_order_agree(
    heard: list[MemberRecord], shuffler: object
) -> None:
    again = [*heard, heard[0]]
    shuffler.shuffle(again)  # type: ignore[attr-defined]
    views = []
    for order in (heard, again):
        members = MembershipList(ME, 0.0)
        for record in order:
            members.merge(record, 0.0)
        views.append(members.get(heard[0].identity).record)  # type: ignore[union-attr]
    assert views[0] == views[1] == max(heard, key=lambda record: record.record_version)


def test_a_newer_process_is_fresher_than_any_version_of_an_older_one() -> None:
    assert RecordVersion(2, 1) > RecordVersion(1, 999) > UNKNOWN_VERSION


TOLD = LoadReport(in_flight=100, queue_depth=50, service_time_ms=20.0, cpu=0.6, keys=10_000, bytes=10 << 20)


@pytest.mark.parametrize(
    "measured",
    [
        replace(TOLD, in_flight=126),
        replace(TOLD, in_flight=0),
        replace(TOLD, queue_depth=63),
        replace(TOLD, service_time_ms=15.9),
        replace(TOLD, cpu=0.8),
        replace(TOLD, keys=10_200),
        replace(TOLD, bytes=11 << 20),
    ],
)
def test_a_fifth_of_work_or_a_hundredth_of_holdings_has_moved(measured: LoadReport) -> None:
    assert differs_notably(TOLD, measured)


def test_less_than_that_has_not_moved() -> None:
    assert not differs_notably(TOLD, LoadReport(110, 55, 22.0, 0.65, 10_050, (10 << 20) + 1000))


def test_small_numbers_are_noise_however_much_they_change() -> None:
    assert not differs_notably(LoadReport(), LoadReport(7, 3, 0.9, 0.09, 0, 0))


def test_the_first_key_is_told() -> None:
    assert differs_notably(LoadReport(), LoadReport(keys=1, bytes=10))
