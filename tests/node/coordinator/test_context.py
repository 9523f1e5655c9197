"""Plans of an epoch: made once, shared, and refused as an invalid request."""

from __future__ import annotations

import pytest

from covey.node.coordinator.context import Plans, live_rings
from covey.node.epoch.epochs import Epoch
from covey.node.errors import InvalidRequest
from covey.quorum.consistency import QUORUM, Consistency, plan_read, plan_write
from tests.support.rings import record, ring

KEYS = [b"key%d" % number for number in range(20)]
STABLE = Epoch(record(ring(1, 2, 3)))
CHANGING = Epoch(record(ring(1, 2, 3), ring(2, 3, 4), 2))


@pytest.mark.parametrize("epoch", [STABLE, CHANGING])
def test_plans_are_those_of_the_key_s_live_rings(epoch: Epoch) -> None:
    plans = Plans()
    for key in KEYS * 2:
        rings = live_rings(epoch, key)
        assert plans.read(epoch, key, QUORUM) == plan_read(rings, QUORUM)
        assert plans.write(epoch, key, QUORUM) == plan_write(rings, QUORUM)


def test_keys_with_the_same_replicas_share_a_plan() -> None:
    plans = Plans()
    assert len({id(plans.write(STABLE, key, QUORUM)) for key in KEYS}) == 1


def test_no_plan_outlives_its_epoch() -> None:
    plans = Plans()
    before = plans.write(STABLE, KEYS[0], QUORUM)
    assert plans.write(CHANGING, KEYS[0], QUORUM) != before


def test_more_replicas_than_a_key_has_are_an_invalid_request() -> None:
    with pytest.raises(InvalidRequest, match="4 replicas were asked for, but each key has 3"):
        Plans().write(STABLE, KEYS[0], Consistency(replicas=4))
