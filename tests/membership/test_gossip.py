"""One gossip machine: what it directs its shell to do, call by call."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from covey.identity import Identity
from covey.membership.directives import (
    Directive,
    DuplicateIdentity,
    ExchangeWith,
    MemberDown,
    MemberJoined,
    MemberLeft,
    MemberSuspected,
    MemberUp,
    ProbeVia,
    Push,
    Refuted,
)
from covey.membership.gossip import DUPLICATE_VERSION_LEAD, Gossip
from covey.membership.member_list import Liveness
from covey.membership.record import (
    DigestEntry,
    HandoffProgress,
    LoadReport,
    MemberRecord,
    RecordVersion,
    Status,
    Suspicion,
)
from covey.membership.settings import GossipSettings


def record(name: str, version: int = 10, **changes: object) -> MemberRecord:
    plain = MemberRecord(Identity(name, 1), 3, version, version, f"{name}:1", Status.SERVING)
    return replace(plain, **changes)  # type: ignore[arg-type]


ME = record("me")
A, B, C, D, E, X = (Identity(name, 1) for name in "abcdex")


def machine(*names: str, settings: GossipSettings | None = None, process: int = 0) -> Gossip:
    """A machine that knows the named members; time 0."""
    gossip = Gossip(replace(ME, process=process), settings or GossipSettings(), random.Random(1), now=0.0)
    for name in names:
        gossip.receive(Identity(name, 1), [record(name)], [], 0.0)
    return gossip


def suspicion(accused: Identity, version: int = 12, accuser: Identity = A) -> Suspicion:
    return Suspicion(accused, RecordVersion(3, version), accuser)


def pushes(directives: list[Directive]) -> list[Push]:
    return [directive for directive in directives if isinstance(directive, Push)]


def events(directives: list[Directive]) -> list[Directive]:
    return [d for d in directives if not isinstance(d, Push | ExchangeWith | ProbeVia)]


def told(directives: list[Directive]) -> set[Identity]:
    return {target.identity for push in pushes(directives) for target in push.targets}


def probe_until_suspect(gossip: Gossip, identity: Identity, now: float) -> list[Directive]:
    gossip.exchange_failed(identity, now)
    return gossip.probe_failed(identity, now + 0.5)


# --- the round ---


def test_a_tick_beats_and_makes_an_exchange_that_says_what_is_known() -> None:
    gossip = machine("a")
    (exchange,) = gossip.tick(1.0)
    assert (gossip.me.heartbeat, gossip.me.version) == (ME.heartbeat + 1, ME.version + 1)
    digest = (DigestEntry(ME.identity, gossip.me.record_version), DigestEntry(A, RecordVersion(3, 10)))
    assert exchange == ExchangeWith(A, "a:1", digest, ())


def test_a_node_alone_has_nobody_to_make_an_exchange_with() -> None:
    assert machine().tick(1.0) == []


def test_an_exchange_brings_both_sides_up_to_date() -> None:
    here, there = machine("a", "b"), Gossip(record("a", 14), GossipSettings(), random.Random(2), 0.0)
    exchange = next(d for now in (1.0, 2.0) for d in here.tick(now) if d.identity == A)  # type: ignore[union-attr]
    answer, _ = there.answer_exchange(ME.identity, exchange.digest, exchange.suspicions, 2.0)  # type: ignore[union-attr]
    assert answer.records == (there.me,)
    here.receive(A, answer.records, answer.suspicions, 2.0)
    joined = there.receive(ME.identity, here.records_newer_than(answer.wanted), (), 2.0)
    assert {event.record.identity for event in events(joined)} == {ME.identity, B}  # type: ignore[union-attr]
    assert [m.record for m in here.members()] == [m.record for m in there.members()]


def test_records_that_were_not_asked_for_are_not_sent() -> None:
    gossip = machine("a", "b")
    assert gossip.records_newer_than([DigestEntry(A, RecordVersion(3, 9))]) == (record("a"),)
    assert gossip.records_newer_than([DigestEntry(A, RecordVersion(3, 10))]) == ()


# --- from a failed exchange to down ---


def test_a_failed_exchange_asks_others_to_try_and_accuses_nobody() -> None:
    gossip = machine(*"abcdx")
    (probe,) = gossip.exchange_failed(X, 1.0)
    assert isinstance(probe, ProbeVia)
    assert (probe.target, probe.address, len(set(probe.helpers))) == (X, "x:1", 3)
    assert X not in {helper.identity for helper in probe.helpers}
    assert gossip.member(X).liveness is Liveness.ALIVE


def test_a_failed_indirect_probe_makes_a_suspect_and_says_so_also_to_the_accused() -> None:
    gossip = machine(*"abcdx")
    directives = probe_until_suspect(gossip, X, 1.0)
    assert events(directives) == [MemberSuspected(X, ME.identity)]
    assert X in told(directives)
    assert len(told(directives)) == 4
    assert pushes(directives)[0].suspicions[0].accused == X


def test_without_helpers_the_failed_exchange_is_enough() -> None:
    assert events(machine("x").exchange_failed(X, 1.0)) == [MemberSuspected(X, ME.identity)]


def test_a_suspect_that_stays_silent_is_down_when_its_time_is_up() -> None:
    gossip = machine(*"abx")
    probe_until_suspect(gossip, X, 0.5)
    assert gossip.next_expiry() == 3.0
    assert gossip.expire(2.9) == []
    assert gossip.expire(3.0) == [MemberDown(X)]
    assert gossip.member(X).liveness is Liveness.DOWN
    assert (gossip.member(X).since, gossip.next_expiry()) == (3.0, None)


def test_a_tick_expires_suspicions_too() -> None:
    gossip = machine(*"abx")
    probe_until_suspect(gossip, X, 0.5)
    gossip.tick(2.0)
    assert MemberDown(X) in gossip.tick(3.5)


def test_one_helper_that_reached_it_settles_the_doubt() -> None:
    gossip = machine(*"abx")
    gossip.exchange_failed(X, 1.0)
    gossip.probe_succeeded(X, 1.2)
    assert gossip.member(X).liveness is Liveness.ALIVE


def test_a_member_heard_from_during_the_probe_is_not_accused() -> None:
    gossip = machine(*"abx")
    gossip.exchange_failed(X, 1.0)
    gossip.receive(X, [], [], 1.3)
    assert gossip.probe_failed(X, 1.5) == []
    assert gossip.member(X).liveness is Liveness.ALIVE


def test_the_down_are_not_probed_again_and_again() -> None:
    gossip = machine(*"abx")
    probe_until_suspect(gossip, X, 0.5)
    gossip.expire(3.0)
    assert gossip.exchange_failed(X, 3.5) == []


def test_the_down_are_tried_now_and_then_with_the_suspicion_they_must_refute() -> None:
    gossip = machine("x")
    gossip.exchange_failed(X, 0.5)
    gossip.expire(2.5)
    (exchange,) = gossip.tick(3.0)
    assert isinstance(exchange, ExchangeWith)
    assert [told.accused for told in exchange.suspicions] == [X]


@pytest.mark.parametrize("others", [2, 4, 40])
def test_all_members_together_try_one_that_is_down_several_times_per_interval(others: int) -> None:
    """Of ``others`` survivors each is like this one, so it should try the dead 4 / others times, or every time."""
    gossip = machine(*(f"n{number}" for number in range(others - 1)), "x")
    probe_until_suspect(gossip, X, 0.5)
    gossip.expire(30.0)
    ticks = range(40, 440)
    tried = sum(X in next_exchanges(gossip, float(now)) for now in ticks)
    assert tried / len(ticks) == pytest.approx(min(1.0, 4 / others), abs=0.06)


def test_a_suspect_is_tried_in_every_interval_by_a_few() -> None:
    gossip = machine(*"abx")
    probe_until_suspect(gossip, X, 0.5)
    assert X in next_exchanges(gossip, 1.0)


def test_a_node_that_was_paused_trusts_neither_its_probes_nor_its_timers() -> None:
    gossip = machine(*"abx")
    probe_until_suspect(gossip, X, 0.5)
    assert gossip.expire(20.0) == []
    assert gossip.exchange_failed(A, 20.1) == []
    assert gossip.probe_failed(B, 20.1) == []
    gossip.tick(21.0)
    gossip.tick(22.0)
    assert MemberDown(X) in gossip.tick(23.0)


def next_exchanges(gossip: Gossip, *ticks: float) -> list[Identity]:
    directives = [directive for now in ticks for directive in gossip.tick(now)]
    return [directive.identity for directive in directives if isinstance(directive, ExchangeWith)]


def test_a_member_whose_heartbeat_is_overdue_is_probed_out_of_turn() -> None:
    names = [f"n{number:02d}" for number in range(20)] + ["x"]
    gossip = machine(*names, settings=GossipSettings(indirect_probes=99))
    for beat in range(1, 5):
        gossip.receive(A, [record(name, 10 + beat) for name in names], [], float(beat))
    for beat in range(5, 8):
        gossip.receive(A, [record(name, 10 + beat) for name in names[:-1]], [], float(beat))
    assert next_exchanges(gossip, 7.1) == [X]


def test_those_who_hear_of_a_suspicion_seek_a_second_opinion() -> None:
    gossip = machine(
        *(f"n{number:02d}" for number in range(20)), "x", settings=GossipSettings(indirect_probes=99)
    )
    gossip.receive(A, [], [suspicion(X)], 0.5)
    assert next_exchanges(gossip, 1.0) == [X]


def test_an_accuser_proved_wrong_by_hearsay_tries_the_member_again() -> None:
    gossip = machine(*(f"n{number:02d}" for number in range(20)), "x")
    probe_until_suspect(gossip, X, 0.2)
    gossip.receive(A, [record("x", 40)], [], 0.9)
    assert next_exchanges(gossip, 1.0) == [X]


# --- suspicions of others ---


def test_a_suspicion_heard_makes_a_suspect_and_is_passed_on_once() -> None:
    gossip = machine(*"abcdex")
    directives = gossip.receive(A, [], [suspicion(X)], 1.0)
    assert events(directives) == [MemberSuspected(X, accuser=A)]
    assert pushes(directives)[0].suspicions == (suspicion(X),)
    assert not told(directives) & {A, X}
    assert gossip.receive(B, [], [suspicion(X)], 1.1) == []


def test_everyone_runs_a_timer_of_their_own() -> None:
    gossip = machine(*"abx")
    gossip.receive(A, [], [suspicion(X)], 1.0)
    assert gossip.expire(3.0) == [MemberDown(X)]


def test_an_outdated_suspicion_is_answered_with_the_newer_record() -> None:
    gossip = machine(*"abx")
    directives = gossip.receive(A, [], [suspicion(X, version=9, accuser=B)], 1.0)
    assert events(directives) == []
    assert told(directives) == {A, B}
    assert pushes(directives)[0].records == (record("x"),)


def test_a_suspicion_of_someone_unknown_is_left_alone() -> None:
    assert machine("a").receive(A, [], [suspicion(X)], 1.0) == []


def test_a_newer_record_refutes_and_is_passed_on() -> None:
    gossip = machine(*"abx")
    gossip.receive(A, [], [suspicion(X)], 1.0)
    directives = gossip.receive(B, [record("x", 13)], [], 1.5)
    assert events(directives) == [MemberUp(record("x", 13), previous=Liveness.SUSPECT)]
    assert pushes(directives)[0].records == (record("x", 13),)
    assert gossip.expire(3.5) == []


def test_a_record_within_the_suspicion_refutes_nothing() -> None:
    gossip = machine(*"abx")
    gossip.receive(A, [], [suspicion(X)], 1.0)
    gossip.receive(B, [record("x", 12)], [], 1.5)
    assert gossip.member(X).liveness is Liveness.SUSPECT


def test_a_new_process_of_a_member_that_was_down_is_up() -> None:
    gossip = machine(*"abx")
    gossip.receive(A, [], [suspicion(X)], 0.5)
    gossip.expire(2.5)
    again = record("x", 1, generation=4)
    assert events(gossip.receive(X, [again], [], 4.0)) == [MemberUp(again, previous=Liveness.DOWN)]


def test_an_accused_that_calls_is_told_at_most_once_an_interval() -> None:
    gossip = machine(*"abx")
    gossip.receive(A, [], [suspicion(X)], 0.5)
    assert told(gossip.receive(X, [], [], 0.6)) == {X}
    assert gossip.receive(X, [], [], 1.0) == []
    assert told(gossip.receive(X, [], [], 1.7)) == {X}


def test_an_answer_to_an_accused_tells_it_of_the_suspicion() -> None:
    gossip = machine(*"abx")
    gossip.receive(A, [], [suspicion(X)], 0.5)
    answer, _ = gossip.answer_exchange(X, [], [], 0.6)
    assert answer.suspicions == (suspicion(X),)


# --- this node accused ---


def test_the_accused_rises_above_the_suspicion_and_tells_at_once() -> None:
    gossip = machine(*"abcde")
    directives = gossip.receive(B, [], [suspicion(ME.identity, version=40, accuser=A)], 1.0)
    assert events(directives) == [Refuted(A)]
    assert gossip.me.version == 41
    assert {A, B} < told(directives)
    assert all(push.records == (gossip.me,) for push in pushes(directives))


def test_the_answer_to_an_accuser_carries_the_refutation() -> None:
    gossip = machine("a")
    accusation = suspicion(ME.identity, version=40)
    answer, _ = gossip.answer_exchange(A, [DigestEntry(ME.identity, ME.record_version)], [accusation], 1.0)
    assert gossip.me in answer.records
    assert gossip.me.record_version > accusation.record_version


def test_an_accusation_of_an_earlier_process_is_answered_without_alarm() -> None:
    gossip = machine("a")
    earlier = Suspicion(ME.identity, RecordVersion(2, 99), A)
    directives = gossip.receive(A, [], [earlier], 1.0)
    assert events(directives) == []
    assert pushes(directives)[0].records == (ME,)


def test_a_twin_of_the_same_generation_is_reported_and_outrun() -> None:
    gossip = machine("a")
    twin = replace(ME, version=50, address="elsewhere:1")
    assert events(gossip.receive(A, [twin], [], 1.0)) == [DuplicateIdentity(twin)]
    assert (gossip.me.version, gossip.me.address) == (50 + DUPLICATE_VERSION_LEAD, "me:1")


def test_a_twin_that_has_to_end_is_outrun_and_told_so() -> None:
    """Whoever has met the twin must hear the record of the one that stays, and pass it on to the twin."""
    gossip = machine("a", process=7)
    twin = replace(ME, version=50, address="elsewhere:1", process=6)
    directives = gossip.receive(A, [twin], [], 1.0)
    assert events(directives) == [DuplicateIdentity(twin)] and not twin.outranks(gossip.me)
    assert pushes(directives)[0].records == (gossip.me,) and gossip.me.version > twin.version


def test_a_twin_that_stays_is_reported_and_not_outrun() -> None:
    gossip = machine("a", process=6)
    before = gossip.me
    twin = replace(ME, version=50, address="elsewhere:1", process=7)
    assert gossip.receive(A, [twin], [], 1.0) == [DuplicateIdentity(twin)]
    assert gossip.me == before and twin.outranks(before)


def test_a_twin_that_changed_less_often_is_a_twin_too() -> None:
    gossip = machine("a", process=6)
    twin = replace(ME, version=0, address="elsewhere:1", process=7)
    assert gossip.receive(A, [twin], [], 1.0) == [DuplicateIdentity(twin)]


def test_an_earlier_process_of_this_node_is_no_twin() -> None:
    gossip = machine("a", process=6)
    earlier = replace(ME, generation=ME.generation - 1, version=99, address="elsewhere:1", process=7)
    assert gossip.receive(A, [earlier], [], 1.0) == []


def test_an_echo_at_another_address_is_no_twin() -> None:
    """One process, known by two addresses."""
    gossip = machine("a", process=6)
    assert gossip.receive(A, [replace(gossip.me, address="elsewhere:1")], [], 1.0) == []


def test_a_twin_of_a_higher_generation_is_reported_and_not_imitated() -> None:
    gossip = machine("a")
    twin = replace(ME, generation=9, address="elsewhere:1")
    assert gossip.receive(A, [twin], [], 1.0) == [DuplicateIdentity(twin)]
    assert gossip.me == ME


def test_echoes_of_what_this_node_said_change_nothing() -> None:
    gossip = machine("a")
    gossip.tick(1.0)
    assert gossip.receive(A, [ME, replace(ME, generation=2, version=99)], [], 1.0) == []


# --- own changes ---


@pytest.mark.parametrize(
    "change",
    [{"status": Status.LEAVING}, {"epoch": 8}, {"handoff": HandoffProgress(8, 5, 5, done=True)}],
)
def test_own_news_is_pushed_at_once(change: dict[str, object]) -> None:
    gossip = machine(*"abcde")
    directives = gossip.update_self(1.0, **change)  # type: ignore[arg-type]
    assert len(told(directives)) == 3
    assert pushes(directives)[0].records == (gossip.me,)
    assert gossip.me.version == ME.version + 1


def test_own_news_certainly_reaches_those_it_is_meant_for() -> None:
    gossip = machine(*"abcde")
    for epoch in range(1, 9):
        assert D in told(gossip.update_self(1.0, also_to=[D], epoch=epoch))


def test_setting_what_is_already_so_changes_nothing() -> None:
    gossip = machine("a")
    assert gossip.update_self(1.0, status=Status.SERVING, epoch=0) == []
    assert gossip.me == ME


def test_bytes_handed_off_ride_with_the_exchanges() -> None:
    gossip = machine("a")
    gossip.update_self(1.0, handoff=HandoffProgress(8, 0, 100))
    assert gossip.update_self(1.1, handoff=HandoffProgress(8, 50, 100)) == []
    assert gossip.me.handoff == HandoffProgress(8, 50, 100)


def test_load_is_told_when_it_moved_and_never_pushed() -> None:
    gossip = machine("a")
    assert gossip.update_self(1.0, load=LoadReport(in_flight=2)) == []
    assert gossip.me == ME
    assert gossip.update_self(1.0, load=LoadReport(in_flight=50)) == []
    assert (gossip.me.load, gossip.me.version) == (LoadReport(in_flight=50), ME.version + 1)


def test_a_small_drift_of_load_is_told_in_the_end() -> None:
    gossip = machine("a")
    for now in range(1, 11):
        assert gossip.me.load == LoadReport()
        gossip.tick(float(now))
        gossip.update_self(float(now), load=LoadReport(in_flight=7))
    assert gossip.me.load == LoadReport(in_flight=7)


# --- passing on ---


def test_a_joiner_is_reported_and_passed_on() -> None:
    gossip = machine(*"abcd")
    directives = gossip.receive(A, [record("x")], [], 1.0)
    assert events(directives) == [MemberJoined(record("x"))]
    assert pushes(directives)[0].records == (record("x"),)
    assert A not in told(directives)


@pytest.mark.parametrize("change", [{"heartbeat": 11}, {"epoch": 4}, {"load": LoadReport(99)}])
def test_heartbeats_load_and_new_epochs_of_others_are_not_passed_on(change: dict[str, object]) -> None:
    assert machine(*"abx").receive(A, [record("x", 11, **change)], [], 1.0) == []


def test_what_comes_in_bulk_is_not_passed_on() -> None:
    directives = machine("a").receive(A, [record(f"n{number}") for number in range(40)], [], 1.0)
    assert len(events(directives)) == 40
    assert pushes(directives) == []


def test_passing_on_is_limited_per_interval() -> None:
    gossip = machine("a", "b", settings=GossipSettings(relays_per_interval=3))

    def relayed(names: list[str], now: float) -> int:
        return sum(len(pushes(gossip.receive(A, [record(name)], [], now))) for name in names)

    gossip.tick(1.0)
    assert relayed(["f", "g", "h", "i", "j"], 1.0) == 3
    gossip.tick(2.0)
    assert relayed(["k"], 2.0) == 1


# --- leaving, forgetting ---


def test_a_leave_is_reported_once_and_ends_every_doubt() -> None:
    gossip = machine(*"abx")
    gossip.receive(A, [], [suspicion(X)], 0.5)
    left = record("x", 11, status=Status.LEFT)
    assert events(gossip.receive(B, [left], [], 1.0)) == [MemberLeft(left)]
    assert gossip.next_expiry() is None
    assert gossip.receive(A, [record("x", 10)], [suspicion(X)], 1.1) == []
    assert gossip.exchange_failed(X, 1.2) == []
    assert X not in {member.identity for member in gossip.alive()}


def test_a_member_that_left_is_forgotten_in_time_and_old_records_do_not_bring_it_back() -> None:
    gossip = machine("a", "x", settings=GossipSettings(forget_after_s=2.0))
    gossip.receive(X, [record("x", 11, status=Status.LEFT)], [], 1.0)
    gossip.tick(2.0)
    assert gossip.member(X).left
    gossip.tick(3.0)
    assert gossip.member(X) is None
    assert gossip.receive(A, [record("x", 10)], [], 3.5) == []


def test_an_owner_is_kept_however_long_it_is_down() -> None:
    gossip = machine("x", settings=GossipSettings(forget_after_s=2.0))
    gossip.set_owners([X])
    gossip.exchange_failed(X, 0.5)
    for now in range(1, 12):
        gossip.tick(float(now))
    assert gossip.member(X).liveness is Liveness.DOWN
    gossip.set_owners([])
    gossip.tick(12.0)
    assert gossip.member(X) is None


# --- the view ---


def test_members_are_listed_by_identity_oneself_among_them() -> None:
    assert [m.identity.name for m in machine("x", "a", "z").members()] == ["a", "me", "x", "z"]


def test_a_name_is_taken_while_its_bearer_is_not_down() -> None:
    gossip = machine("a", "x")
    wiped = Identity("x", 2)
    assert gossip.conflicting_name(wiped).identity == X
    assert gossip.conflicting_name(X) is None
    gossip.receive(A, [], [suspicion(X)], 0.5)
    assert gossip.conflicting_name(wiped).identity == X
    gossip.expire(2.5)
    assert gossip.conflicting_name(wiped) is None


def test_an_identity_is_taken_while_it_lives_at_another_address() -> None:
    gossip = machine("a", "x")
    elsewhere = record("x", 20, address="elsewhere:1")
    assert gossip.conflicting_identity(elsewhere).record.address == "x:1"
    assert gossip.conflicting_identity(record("x", 20, generation=4)) is None
    assert gossip.conflicting_identity(record("y")) is None
    gossip.receive(A, [], [suspicion(X)], 0.5)
    gossip.expire(2.5)
    assert gossip.conflicting_identity(elsewhere) is None
