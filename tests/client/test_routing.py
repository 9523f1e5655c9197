"""Choosing a node for each attempt; no network, no clock."""

from __future__ import annotations

from covey.client.routing import (
    FIRST_PENALTY_S,
    FORGIVEN_AFTER_S,
    MAX_PENALTY_S,
    PenaltyBox,
    Router,
    Topology,
)
from covey.identity import Identity
from covey.ring.epoch import EpochRecord, Owner, Quorums, RingSpec
from covey.ring.hashing import token_of
from covey.ring.ring import Ring

NAMES = ("a", "b", "c", "d")
KEY = b"key"


def topology(number: int = 1, cluster_id: str = "c", suffix: str = ":1") -> Topology:
    owners = {
        Identity(name, 1): Owner(tuple((2**62) * place + turn for turn in range(4)))
        for place, name in enumerate(NAMES)
    }
    record = EpochRecord(number, cluster_id, RingSpec(owners, Quorums(2, 2, 1)))
    return Topology.decode(record.encoded, {str(identity): identity.name + suffix for identity in owners})


def replicas() -> list[str]:
    ring = Ring(topology().record.owners)
    return [f"{identity.name}:1" for identity in ring.preference_list(token_of(KEY))]


def router(outstanding: dict[str, int] | None = None, *, learned: bool = True) -> Router:
    made = Router(["x:1", "y:1"], lambda address: (outstanding or {}).get(address, 0))
    if learned:
        made.learn(topology())
    return made


def order(made: Router, now: float = 0.0) -> list[str]:
    """All addresses in the order they would be tried."""
    tried: list[str] = []
    while (address := made.choose(KEY, tried, now)) is not None:
        tried.append(address)
    return tried


def test_before_the_ring_is_known_the_given_addresses_are_tried_in_order() -> None:
    assert order(router({"x:1": 5}, learned=False)) == ["x:1", "y:1"]


def test_replicas_come_first_in_preference_order_and_every_address_is_tried_once() -> None:
    tried = order(router())
    assert tried[:2] == replicas()
    assert sorted(tried) == ["a:1", "b:1", "c:1", "d:1", "x:1", "y:1"]


def test_the_replica_with_the_fewest_operations_under_way_comes_first() -> None:
    first, second = replicas()
    assert order(router({first: 2, second: 1}))[:2] == [second, first]


def test_a_node_in_the_penalty_box_comes_last() -> None:
    made = router()
    first, second = replicas()
    made.penalties.failed(first, now=0.0)
    tried = order(made, now=0.1)
    assert tried[0] == second
    assert tried[-1] == first
    assert order(made, now=FIRST_PENALTY_S)[0] == first


def test_with_all_nodes_in_the_box_the_one_that_gets_out_soonest_comes_first() -> None:
    made = router(learned=False)
    made.penalties.failed("y:1", now=0.0)
    made.penalties.failed("x:1", now=0.1)
    assert order(made, now=0.2) == ["y:1", "x:1"]


def test_given_addresses_stay_first_for_administrative_calls() -> None:
    assert router().choose_given([], now=0.0) == "x:1"
    assert router().choose_given(["x:1"], now=0.0) == "y:1"
    assert router().choose_given(["x:1", "y:1"], now=0.0) is None


def test_an_older_ring_is_not_followed() -> None:
    made = router(learned=False)
    made.learn(topology(2, suffix=":2"))
    made.learn(topology(1, suffix=":1"))
    assert "a:2" in made.addresses
    assert "a:1" not in made.addresses


def test_new_addresses_at_the_same_epoch_are() -> None:
    made = router()
    made.learn(topology(1, suffix=":9"))
    assert "a:9" in made.addresses


def test_a_cluster_made_anew_is_followed() -> None:
    made = router(learned=False)
    made.learn(topology(9))
    made.learn(topology(1, cluster_id="anew", suffix=":9"))
    assert "a:9" in made.addresses


def test_penalties_double_up_to_a_limit_and_a_success_ends_them() -> None:
    box, now, lengths = PenaltyBox(), 0.0, []
    for _ in range(8):
        box.failed("a", now)
        lengths.append(box.until("a", now) - now)
        now = box.until("a", now)
    assert lengths[:3] == [FIRST_PENALTY_S, FIRST_PENALTY_S * 2, FIRST_PENALTY_S * 4]
    assert lengths[-1] == MAX_PENALTY_S
    box.succeeded("a")
    assert box.until("a", now) == 0


def test_failures_at_the_same_time_count_once() -> None:
    box = PenaltyBox()
    for _ in range(100):
        box.failed("a", 1.0)
    assert box.until("a", 1.0) == 1.0 + FIRST_PENALTY_S


def test_old_failures_are_forgiven() -> None:
    box = PenaltyBox()
    box.failed("a", 0.0)
    box.failed("a", FIRST_PENALTY_S)
    later = FIRST_PENALTY_S + FORGIVEN_AFTER_S + 1
    box.failed("a", later)
    assert box.until("a", later) == later + FIRST_PENALTY_S


def test_the_pause_a_node_asks_for_is_kept() -> None:
    box = PenaltyBox()
    box.failed("a", 0.0, at_least_s=20.0)
    assert box.until("a", 0.0) == 20.0
