"""Whole clusters of gossip machines under virtual time: what members come to think of each other."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import pytest

from covey.membership.directives import MemberDown, MemberUp
from covey.membership.member_list import Liveness
from covey.membership.record import Status
from covey.membership.settings import GossipSettings

MakeFlock = Callable[..., Any]


@pytest.mark.parametrize(("size", "limit_s"), [(2, 2.0), (5, 3.0), (20, 5.0), (50, 6.0)])
def test_all_learn_of_all_through_one_seed(make_flock: MakeFlock, size: int, limit_s: float) -> None:
    flock = make_flock()
    flock.grow(size)
    flock.until(flock.all_know_all, limit_s)


def test_all_hold_recent_heartbeats_of_all(make_flock: MakeFlock) -> None:
    flock = make_flock()
    machines = flock.settled(20)
    ages = [member.heartbeat_age_s(flock.now) for m in machines for member in m.gossip.members()]
    assert max(ages) < 6.0


def test_the_same_seed_gives_the_same_run(make_flock: MakeFlock) -> None:
    def trace() -> list[Any]:
        flock = make_flock()
        flock.loss = 0.3
        machines = flock.settled(7)
        flock.kill(machines[3])
        flock.run(10.0)
        return [machine.events for machine in machines]

    assert trace() == trace()


def test_a_killed_member_is_down_everywhere_within_about_five_intervals(make_flock: MakeFlock) -> None:
    took_s = []
    for run in range(1, 31):
        flock = make_flock(run)
        machines = flock.settled(5)
        flock.kill(machines[run % 5])
        took_s.append(flock.until(lambda f=flock, m=machines[run % 5]: f.all_think(m, Liveness.DOWN), 7.0))
    assert statistics.median(took_s) <= 3.2
    assert sorted(took_s)[-2] <= 5.0


def test_a_machine_that_vanished_without_refusing_calls_is_down_too(make_flock: MakeFlock) -> None:
    flock = make_flock()
    flock.silent_deaths = True
    machines = flock.settled(5)
    flock.kill(machines[2])
    flock.until(lambda: flock.all_think(machines[2], Liveness.DOWN), 8.0)


def test_of_two_the_survivor_needs_no_helpers(make_flock: MakeFlock) -> None:
    flock = make_flock()
    machines = flock.settled(2)
    flock.kill(machines[0])
    flock.until(lambda: flock.all_think(machines[0], Liveness.DOWN), 5.0)


def test_the_survivors_do_not_refute_each_others_suspicions_of_the_dead(make_flock: MakeFlock) -> None:
    for run in range(1, 11):
        flock = make_flock(run)
        machines = flock.settled(8)
        flock.kill(machines[run % 8])
        flock.run(10.0)
        assert not [kind for machine in flock.running for kind in machine.kinds() if kind == "MemberUp"]


def test_nearly_half_the_cluster_killed_at_once_is_down_everywhere(make_flock: MakeFlock) -> None:
    flock = make_flock()
    machines = flock.settled(20)
    for machine in machines[:9]:
        flock.kill(machine)
    flock.until(lambda: all(flock.all_think(m, Liveness.DOWN) for m in machines[:9]), 15.0)
    assert flock.all_know_all()


@pytest.mark.parametrize("size", [2, 5, 20])
def test_a_member_paused_for_a_second_is_never_down(make_flock: MakeFlock, size: int) -> None:
    for run in range(1, 6):
        flock = make_flock(run)
        machines = flock.settled(size)
        for machine in machines[:3]:
            flock.pause(machine, 1.0)
            flock.run(4.0)
        assert flock.ever_down() == []


def test_a_member_that_slept_long_accuses_nobody_when_it_wakes(make_flock: MakeFlock) -> None:
    for run in range(1, 6):
        flock = make_flock(run)
        machines = flock.settled(5)
        sleeper = machines[0]
        flock.pause(sleeper, 20.0)
        flock.run(15.0)
        assert flock.all_think(sleeper, Liveness.DOWN)
        flock.until(flock.all_know_all, 10.0)
        assert "MemberDown" not in sleeper.kinds()
        flock.run(10.0)
        assert flock.all_know_all()


def test_a_sleeper_is_up_again_in_every_view_that_held_it_down(make_flock: MakeFlock) -> None:
    flock = make_flock()
    machines = flock.settled(5)
    flock.pause(machines[0], 12.0)
    flock.run(12.0)
    flock.until(flock.all_know_all, 5.0)
    returns = [e for m in machines[1:] for _, e in m.events if isinstance(e, MemberUp)]
    assert [event.previous for event in returns] == [Liveness.DOWN] * 4
    assert "Refuted" in machines[0].kinds()


def test_losing_three_messages_in_ten_leaves_nobody_down_for_long(make_flock: MakeFlock) -> None:
    flock = make_flock()
    machines = flock.settled(10)
    flock.loss = 0.3
    down_s = 0.0
    for _ in range(240):
        flock.run(0.25)
        down = [m for m in machines if Liveness.DOWN in flock.opinions(m)]
        down_s += 0.25 * len(down)
    assert down_s < 0.01 * 60.0 * 10
    flock.loss = 0.0
    flock.until(flock.all_know_all, 5.0)


@pytest.mark.parametrize("size", [4, 10, 30])
def test_the_sides_of_a_partition_find_each_other_again(make_flock: MakeFlock, size: int) -> None:
    flock = make_flock()
    machines = flock.settled(size)
    half = size // 2
    flock.partition(machines[:half], machines[half:])
    flock.run(60.0)
    assert {event.identity for _, event in machines[0].events if isinstance(event, MemberDown)} == {
        machine.identity for machine in machines[half:]
    }
    flock.heal()
    flock.until(flock.all_know_all, 10.0)


def test_one_member_cut_off_from_all_finds_back(make_flock: MakeFlock) -> None:
    flock = make_flock()
    machines = flock.settled(10)
    flock.partition(machines[:1], machines[1:])
    flock.run(60.0)
    assert len(machines[0].gossip.alive()) == 1
    flock.heal()
    flock.until(flock.all_know_all, 10.0)


def test_a_restarted_member_is_up_at_its_new_address(make_flock: MakeFlock) -> None:
    flock = make_flock()
    machines = flock.settled(5)
    flock.kill(machines[1])
    flock.run(8.0)
    again = flock.start("n02", generation=2, port=7777)
    flock.until(flock.all_know_all, 5.0)
    seen = [m.gossip.member(again.identity).record for m in machines if m.running]
    assert {(record.generation, record.address) for record in seen} == {(2, "n02:7777")}


def test_a_seed_that_was_restarted_before_anyone_noticed_is_known_as_restarted(make_flock: MakeFlock) -> None:
    flock = make_flock()
    machines = flock.settled(5)
    flock.kill(machines[0])
    again = flock.start("n01", generation=2)
    flock.until(flock.all_know_all, 5.0)
    flock.run(5.0)
    assert flock.ever_down() == []
    assert {m.gossip.member(again.identity).record.generation for m in flock.running} == {2}


def test_a_joiner_learns_that_a_dead_member_is_down(make_flock: MakeFlock) -> None:
    flock = make_flock()
    machines = flock.settled(5)
    flock.kill(machines[4])
    flock.run(10.0)
    joiner = flock.start("n06")
    flock.until(lambda: flock.all_think(machines[4], Liveness.DOWN), 6.0)
    assert len(joiner.gossip.alive()) == 5


def test_a_wiped_disk_is_another_member_beside_the_old_one(make_flock: MakeFlock) -> None:
    flock = make_flock()
    machines = flock.settled(4)
    flock.kill(machines[3])
    flock.run(8.0)
    wiped = flock.start("n04", disk_id=2)
    flock.until(flock.all_know_all, 5.0)
    assert flock.all_think(wiped, Liveness.ALIVE)
    assert all(m.gossip.member(machines[3].identity).liveness is Liveness.DOWN for m in machines[:3])


def test_a_leave_is_known_everywhere_and_accuses_nobody(make_flock: MakeFlock) -> None:
    flock = make_flock()
    machines = flock.settled(8)
    leaver = machines[5]
    leaver.perform(leaver.gossip.update_self(flock.now, status=Status.LEFT))
    flock.run(0.1)
    flock.kill(leaver)
    flock.run(20.0)
    others = [machine for machine in machines if machine is not leaver]
    assert all(machine.kinds()[-1] == "MemberLeft" for machine in others)
    assert not [kind for machine in others for kind in machine.kinds() if kind == "MemberSuspected"]
    assert all(leaver.identity not in {m.identity for m in other.gossip.alive()} for other in others)


def test_members_long_gone_are_forgotten_by_all_and_stay_forgotten(make_flock: MakeFlock) -> None:
    flock = make_flock(settings=GossipSettings(forget_after_s=20.0))
    machines = flock.settled(6)
    flock.kill(machines[5])
    flock.run(40.0)
    joined = sum(machine.kinds().count("MemberJoined") for machine in machines[:5])
    flock.run(40.0)
    assert all(machine.gossip.member(machines[5].identity) is None for machine in machines[:5])
    assert sum(machine.kinds().count("MemberJoined") for machine in machines[:5]) == joined


def test_owners_are_never_forgotten(make_flock: MakeFlock) -> None:
    flock = make_flock(settings=GossipSettings(forget_after_s=20.0))
    machines = flock.settled(4)
    for machine in machines:
        machine.gossip.set_owners([m.identity for m in machines])
    flock.kill(machines[3])
    flock.run(60.0)
    assert flock.all_think(machines[3], Liveness.DOWN)
