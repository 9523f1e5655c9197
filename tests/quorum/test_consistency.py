"""What each consistency level requires of each live ring."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.node.coordinator.context import live_rings
from covey.node.epoch.epochs import Epoch
from covey.quorum.consistency import QUORUM, Consistency, Level, TooManyReplicas, plan_read, plan_write
from covey.quorum.counter import Requirement
from covey.ring.epoch import Quorums
from covey.ring.tokens import token_of
from tests.support.rings import epochs, record, ring

keys = st.binary(min_size=1, max_size=3)
ONE, ALL = Consistency(Level.ONE), Consistency(Level.ALL)
KEY = b"key"

CHANGING = Epoch(record(ring(1, 2, 3, 4), ring(2, 3, 4, 5), 2))
STABLE = Epoch(record(ring(1, 2, 3, 4)))


def _lists(epoch: Epoch, key: bytes = KEY) -> list[tuple[object, ...]]:
    return [tuple(sorted(found.preference_list(token_of(key)))) for found in epoch.rings]


@settings(deadline=None)
@given(epochs(), keys)
def test_quorum_asks_w_and_r_of_every_live_ring_and_w_holders_of_what_is_read(
    epoch: Epoch, key: bytes
) -> None:
    read, write = plan_read(live_rings(epoch, key), QUORUM), plan_write(live_rings(epoch, key), QUORUM)
    lists = [tuple(sorted(found.preference_list(token_of(key)))) for found in epoch.rings]
    w = tuple(Requirement(list_, found.w) for list_, found in zip(lists, epoch.rings, strict=True))
    r = tuple(Requirement(list_, found.r) for list_, found in zip(lists, epoch.rings, strict=True))
    assert (read.replies, read.holders, write.acknowledgements) == (r, w, w)


@settings(deadline=None)
@given(epochs(), keys, st.sampled_from([ONE, QUORUM, ALL, Consistency(replicas=1)]))
def test_a_write_is_sent_to_every_replica_of_every_live_ring_whatever_it_waits_for(
    epoch: Epoch, key: bytes, consistency: Consistency
) -> None:
    receivers = plan_write(live_rings(epoch, key), consistency).receivers
    assert receivers == tuple(dict.fromkeys(replica for list_ in _lists(epoch, key) for replica in list_))


def test_all_asks_every_replica_of_every_live_ring() -> None:
    asked = [Requirement(list_, 3) for list_ in _lists(CHANGING)]
    assert list(plan_read(live_rings(CHANGING, KEY), ALL).replies) == asked
    assert list(plan_write(live_rings(CHANGING, KEY), ALL).acknowledgements) == asked


@pytest.mark.parametrize("weak", [ONE, Consistency(replicas=1)])
@pytest.mark.parametrize("epoch", [STABLE, CHANGING])
def test_what_is_weaker_than_quorum_asks_the_old_ring_only(epoch: Epoch, weak: Consistency) -> None:
    old = (Requirement(tuple(sorted(epoch.rings[0].preference_list(token_of(KEY)))), 1),)
    assert plan_read(live_rings(epoch, KEY), weak).replies == old
    assert plan_write(live_rings(epoch, KEY), weak).acknowledgements == old


def test_a_weak_read_writes_nothing_back() -> None:
    assert plan_read(live_rings(STABLE, KEY), ONE).holders == ()


@pytest.mark.parametrize("replicas", [2, 3])
def test_an_explicit_number_at_or_above_quorum_is_asked_of_every_live_ring(replicas: int) -> None:
    consistency = Consistency(replicas=replicas)
    plan = plan_read(live_rings(CHANGING, KEY), consistency)
    assert [part.needed for part in plan.replies] == [replicas, replicas]
    assert [part.needed for part in plan.holders] == [2, 2]
    assert [part.needed for part in plan_write(live_rings(CHANGING, KEY), consistency).acknowledgements] == [
        replicas
    ] * 2


def test_an_explicit_number_that_one_live_ring_finds_too_weak_is_weak() -> None:
    epoch = Epoch(record(ring(1, 2, 3, quorums=Quorums(3, 2, 2)), ring(1, 2, 3, quorums=Quorums(3, 3, 1)), 2))
    assert len(plan_write(live_rings(epoch, KEY), Consistency(replicas=2)).acknowledgements) == 1
    assert len(plan_write(live_rings(epoch, KEY), Consistency(replicas=3)).acknowledgements) == 2


@pytest.mark.parametrize("plan", [plan_read, plan_write])
def test_more_replicas_than_a_key_has_are_refused(plan: object) -> None:
    with pytest.raises(TooManyReplicas, match="4 replicas were asked for, but each key has 3"):
        plan(live_rings(STABLE, KEY), Consistency(replicas=4))  # type: ignore[operator]


def test_in_a_cluster_smaller_than_n_all_and_explicit_numbers_shrink_to_what_there_is() -> None:
    lone = Epoch(record(ring(1)))
    for consistency in (ALL, QUORUM, ONE, Consistency(replicas=3)):
        assert [part.needed for part in plan_read(live_rings(lone, KEY), consistency).replies] == [1]
        assert [part.needed for part in plan_write(live_rings(lone, KEY), consistency).acknowledgements] == [
            1
        ]
