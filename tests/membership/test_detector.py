"""The shuffled round: everyone once, and now and then somebody out of turn."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from covey.identity import Identity
from covey.membership.detector import ProbeSchedule

A, B, C, D = MEMBERS = [Identity(name, 1) for name in "abcd"]


def schedule(seed: int = 1) -> ProbeSchedule:
    return ProbeSchedule(random.Random(seed))


@given(st.integers(), st.integers(1, 5))
def test_every_round_visits_everyone_once(seed: int, rounds: int) -> None:
    probes = schedule(seed)
    for _ in range(rounds):
        assert sorted(probes.next(MEMBERS) for _ in MEMBERS) == MEMBERS


def test_rounds_differ() -> None:
    probes = schedule()
    assert len({tuple(probes.next(MEMBERS) for _ in MEMBERS) for _ in range(20)}) > 5


def test_nobody_to_probe() -> None:
    assert schedule().next([]) is None


def test_those_who_are_no_candidates_any_more_are_skipped() -> None:
    probes = schedule()
    first = probes.next(MEMBERS)
    rest = [member for member in MEMBERS if member != first]
    assert [probes.next(rest[:1]) for _ in range(3)] == rest[:1] * 3


def test_one_put_first_is_next() -> None:
    probes = schedule()
    for member in (D, B, A, C):
        probes.probe_next(member)
        assert probes.next(MEMBERS) == member
        probes.next(MEMBERS)


def test_at_least_every_second_probe_follows_the_round() -> None:
    probes = schedule()
    in_turn = []
    for number in range(8):
        probes.probe_next(A)
        probe = probes.next(MEMBERS)
        in_turn += [probe] if number % 2 else []
    assert sorted(in_turn) == MEMBERS


def test_one_put_first_twice_is_probed_out_of_turn_once() -> None:
    probes = schedule()
    probes.probe_next(A)
    probes.probe_next(A)
    probes.next(MEMBERS)
    assert sorted(probes.next(MEMBERS) for _ in MEMBERS) == MEMBERS
