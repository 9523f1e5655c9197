"""Standing suspicions: their timers, and what refutes them."""

from __future__ import annotations

import pytest

from covey.identity import Identity
from covey.membership.member_list import Liveness, Member
from covey.membership.record import MemberRecord, RecordVersion, Status, Suspicion
from covey.membership.settings import GossipSettings
from covey.membership.suspicion import Suspicions, newest_possible, suspicion_timeout_s

A, B, C, X = (Identity(name, 1) for name in "abcx")


def record(generation: int, version: int) -> MemberRecord:
    return MemberRecord(X, generation, version, version, "x:1", Status.SERVING)


def suspicion(version: int = 10, accused: Identity = X, accuser: Identity = A) -> Suspicion:
    return Suspicion(accused, RecordVersion(2, version), accuser)


@pytest.fixture
def suspicions() -> Suspicions:
    standing = Suspicions()
    standing.start(suspicion(), expires_at=5.0)
    return standing


def test_only_a_newer_record_refutes(suspicions: Suspicions) -> None:
    assert suspicions.refute(record(2, 10)) is None
    assert suspicions.refute(record(1, 99)) is None
    assert suspicions.refute(record(2, 11)) == suspicion()
    assert suspicions.get(X) is None


def test_a_newer_process_refutes(suspicions: Suspicions) -> None:
    assert suspicions.refute(record(3, 1)) == suspicion()


def test_what_runs_out_is_reported_once_and_stands_on(suspicions: Suspicions) -> None:
    assert suspicions.expire(4.9) == []
    assert suspicions.expire(5.0) == [X]
    assert suspicions.expire(6.0) == []
    assert suspicions.get(X) == suspicion()
    assert suspicions.next_expiry() is None


def test_hardening_gives_no_more_time(suspicions: Suspicions) -> None:
    assert suspicions.raise_version(suspicion(12, accuser=B))
    assert not suspicions.raise_version(suspicion(11, accuser=C))
    assert suspicions.get(X) == suspicion(12, accuser=B)
    assert suspicions.next_expiry() == 5.0


def test_postponing_moves_only_the_running(suspicions: Suspicions) -> None:
    suspicions.expire(5.0)
    suspicions.start(suspicion(accused=B), expires_at=7.0)
    suspicions.postpone(10.0)
    assert suspicions.next_expiry() == 17.0
    assert suspicions.expire(16.0) == []


def test_a_listener_is_told_first_of_itself_then_of_the_running_then_of_the_down(
    suspicions: Suspicions,
) -> None:
    suspicions.expire(5.0)
    suspicions.start(suspicion(accused=B), expires_at=7.0)
    suspicions.start(suspicion(accused=C), expires_at=8.0)
    assert [told.accused for told in suspicions.most_relevant(X, limit=9)] == [X, C, B]
    assert [told.accused for told in suspicions.most_relevant(A, limit=2)] == [C, B]


@pytest.mark.parametrize(("members", "timeout_s"), [(1, 1.0), (10, 1.0), (100, 2.0), (1000, 3.0)])
def test_the_time_to_refute_grows_with_the_logarithm_of_the_cluster(members: int, timeout_s: float) -> None:
    settings = GossipSettings(heartbeat_interval_s=0.5, suspicion_rounds=2.0)
    assert suspicion_timeout_s(settings, members) == pytest.approx(timeout_s)


@pytest.mark.parametrize("silent_s", [0.0, 0.9, 3.2, 30.0])
def test_the_bound_covers_every_heartbeat_written_since_the_last_one_seen(silent_s: float) -> None:
    member = Member(record(2, 10), Liveness.ALIVE, 0.0, 0.0, heartbeat_gap_s=None, news_at=0.0)
    bound = newest_possible(member, 5, interval_s=1.0, now=silent_s)
    assert bound >= RecordVersion(2, 10 + int(silent_s))
    assert bound < RecordVersion(3, 0)
