"""What a view keeps, forgets and refuses to take back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from covey.identity import Identity
from covey.membership import member_list as member_list_module
from covey.membership.member_list import Liveness, MembershipList, is_news
from covey.membership.record import HandoffProgress, LoadReport, MemberRecord, RecordVersion, Status

ME = MemberRecord(Identity("me", 1), 1, 1, 0, "me:1", Status.SERVING)
A = MemberRecord(Identity("a", 1), 3, 10, 5, "a:1", Status.SERVING)


@pytest.fixture
def members() -> MembershipList:
    return MembershipList(ME, 0.0)


def test_an_older_record_changes_nothing(members: MembershipList) -> None:
    members.merge(A, 1.0)
    assert members.merge(replace(A, version=9, status=Status.LEAVING), 2.0) is None
    assert members.merge(replace(A, generation=2, version=99), 2.0) is None
    assert members.get(A.identity).record == A


def test_a_fresher_record_does_not_change_the_liveness_by_itself(members: MembershipList) -> None:
    members.merge(A, 1.0)
    members.set_liveness(A.identity, Liveness.DOWN, 2.0)
    members.merge(replace(A, version=11), 3.0)
    assert members.get(A.identity).liveness is Liveness.DOWN
    assert members.get(A.identity).since == 2.0


def test_only_a_newer_heartbeat_resets_the_heartbeat_age(members: MembershipList) -> None:
    members.merge(A, 1.0)
    members.merge(replace(A, version=11), 4.0)
    assert members.get(A.identity).heartbeat_age_s(5.0) == 4.0
    members.merge(replace(A, version=12, heartbeat=6), 6.0)
    assert members.get(A.identity).heartbeat_age_s(6.5) == 0.5


def test_a_heartbeat_is_overdue_by_the_measure_of_those_before_it(members: MembershipList) -> None:
    for beat in range(10):
        members.merge(replace(A, version=10 + beat, heartbeat=5 + beat), 2.0 * beat)
    assert not members.get(A.identity).overdue(18.0 + 4.9)
    assert members.get(A.identity).overdue(18.0 + 5.1)


def test_a_forgotten_member_does_not_come_back_by_what_it_wrote_before(members: MembershipList) -> None:
    members.merge(A, 1.0)
    members.forget(A.identity, version=RecordVersion(3, 20))
    assert members.merge(replace(A, version=20), 2.0) is None
    assert members.merge(replace(A, version=21), 2.0).joined


def test_a_member_heard_of_only_after_it_left_never_joins(members: MembershipList) -> None:
    assert members.merge(replace(A, version=11, status=Status.LEFT), 1.0) is None
    assert members.merge(A, 2.0) is None
    assert members.get(A.identity) is None


def test_a_member_that_left_comes_back_only_by_a_newer_record(members: MembershipList) -> None:
    members.merge(A, 1.0)
    assert members.merge(replace(A, version=11, status=Status.LEFT), 2.0).left
    assert members.merge(A, 3.0) is None
    assert members.merge(replace(A, generation=4, version=1), 4.0).joined
    assert members.get(A.identity).alive


def test_the_memory_of_forgotten_members_is_bounded(
    members: MembershipList, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member_list_module, "MAX_FORGOTTEN", 2)
    left = [replace(A, identity=Identity(name, 1), status=Status.LEFT) for name in "xyz"]
    for record in left:
        members.merge(record, 1.0)
    known = [members.record_version(record.identity) for record in left]
    assert known == [RecordVersion(0, 0), RecordVersion(3, 10), RecordVersion(3, 10)]


@pytest.mark.parametrize(
    "change",
    [
        {"status": Status.LEAVING},
        {"epoch": 4},
        {"address": "a:2"},
        {"generation": 4},
        {"zone": "z"},
        {"handoff": HandoffProgress(4)},
    ],
)
def test_what_others_act_upon_is_news(change: dict[str, object]) -> None:
    assert is_news(A, replace(A, **change))  # type: ignore[arg-type]


def test_heartbeats_load_and_bytes_handed_off_are_no_news() -> None:
    pulling = replace(A, handoff=HandoffProgress(4, 1, 100))
    later = replace(pulling, version=11, heartbeat=6, load=LoadReport(5), handoff=HandoffProgress(4, 50, 100))
    assert not is_news(pulling, later)
    assert is_news(later, replace(later, handoff=HandoffProgress(4, 100, 100, done=True)))
