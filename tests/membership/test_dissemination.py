"""Digests and deltas: what is asked, what is told, and how much at once."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from covey.identity import Identity
from covey.membership.dissemination import DeltaPacker, digest_of, estimated_bytes, newer_here, newer_there
from covey.membership.member_list import MembershipList
from covey.membership.record import (
    UNKNOWN_VERSION,
    DigestEntry,
    HandoffProgress,
    MemberRecord,
    RecordVersion,
    Status,
)

ME = MemberRecord(Identity("me", 1), 1, 1, 0, "me:1", Status.SERVING)


def record(number: int, version: int = 5) -> MemberRecord:
    return MemberRecord(Identity(f"n{number:03d}", 1), 1, version, 0, "host:7001", Status.SERVING)


def view_of(*records: MemberRecord, now: float = 0.0) -> MembershipList:
    members = MembershipList(ME, 0.0)
    for known in records:
        members.merge(known, now)
    return members


def test_a_digest_names_every_member_and_oneself() -> None:
    digest = digest_of(view_of(record(1), record(2)), 10, random.Random(1))
    assert dict(digest) == {
        ME.identity: ME.record_version,
        record(1).identity: RecordVersion(1, 5),
        record(2).identity: RecordVersion(1, 5),
    }


def test_a_large_cluster_is_digested_in_parts_that_cover_it_over_time() -> None:
    members = view_of(*(record(number) for number in range(40)))
    rng = random.Random(1)
    digests = [digest_of(members, 10, rng) for _ in range(40)]
    assert {len(digest) for digest in digests} == {10}
    assert len({entry.identity for digest in digests for entry in digest}) == 41


def test_each_side_finds_what_the_other_lacks() -> None:
    here = view_of(record(1, 9), record(2, 3), record(3))
    digest = (
        DigestEntry(ME.identity, ME.record_version),
        DigestEntry(record(1).identity, RecordVersion(1, 8)),
        DigestEntry(record(2).identity, RecordVersion(1, 4)),
        DigestEntry(record(4).identity, RecordVersion(1, 1)),
    )
    assert [m.record for m in newer_here(here, digest)] == [record(1, 9), record(3)]
    assert newer_there(here, digest) == (
        DigestEntry(record(2).identity, RecordVersion(1, 3)),
        DigestEntry(record(4).identity, UNKNOWN_VERSION),
    )


def test_what_was_forgotten_is_not_asked_for() -> None:
    here = view_of(record(1))
    here.forget(record(1).identity, version=RecordVersion(1, 7))
    assert newer_there(here, [DigestEntry(record(1).identity, RecordVersion(1, 7))]) == ()
    assert newer_there(here, [DigestEntry(record(1).identity, RecordVersion(1, 8))]) != ()


def test_a_delta_stays_within_its_bytes() -> None:
    members = view_of(*(record(number) for number in range(100)))
    packed = DeltaPacker(max_bytes=2000).pack(members.all(), members.size())
    assert 1500 < sum(map(estimated_bytes, packed)) <= 2000


def test_a_delta_carries_at_least_one_record() -> None:
    members = view_of()
    assert DeltaPacker(max_bytes=1).pack(members.all(), 1) == (ME,)


def test_no_record_starves() -> None:
    members = view_of(*(record(number) for number in range(100)))
    packer = DeltaPacker(max_bytes=2000)
    told = {r.identity for _ in range(400) for r in packer.pack(members.all(), members.size())}
    assert len(told) == 101


def test_the_latest_news_goes_first_even_when_all_was_told_often() -> None:
    members = view_of(*(record(number) for number in range(100)))
    packer = DeltaPacker(max_bytes=2000)
    for _ in range(500):
        packer.pack(members.all(), members.size())
    older = replace(record(70, 6), status=Status.LEAVING)
    later = replace(record(30, 6), status=Status.LEAVING)
    members.merge(older, 5.0)
    members.merge(later, 6.0)
    assert packer.pack(members.all(), members.size())[:2] == (later, older)


def test_what_must_be_told_goes_before_all() -> None:
    members = view_of(*(record(number) for number in range(100)))
    packed = DeltaPacker(max_bytes=500).pack(members.all(), members.size(), first={record(57).identity})
    assert packed[0] == record(57)


@pytest.mark.parametrize("name", ["a", "ñandú" * 10])
def test_the_estimate_counts_the_texts_as_encoded(name: str) -> None:
    plain = replace(record(1), identity=Identity(name, 1))
    assert estimated_bytes(plain) >= 100 + len(name.encode())
    assert estimated_bytes(replace(plain, handoff=HandoffProgress(1))) > estimated_bytes(plain)
