"""Choosing a node for each attempt; no network, no clock."""

from __future__ import annotations

import random
from collections import Counter

from covey.client.routing import MIN_BACKOFF_S, RANK_EVERY_S, Router, Topology
from covey.identity import Identity
from covey.quorum.ranking import FILL, FIRST_FILL, KEPT_FOR_S
from covey.ring.epoch import EpochRecord, Owner, Quorums, RingSpec

NAMES = ("a", "b", "c", "d")
OWNERS = [f"{name}:1" for name in NAMES]
FAST_S, SLOW_S = 0.002, 0.5


def topology(number: int = 1, cluster_id: str = "c", suffix: str = ":1") -> Topology:
    owners = {
        Identity(name, 1): Owner(tuple((2**62) * place + turn for turn in range(4)))
        for place, name in enumerate(NAMES)
    }
    record = EpochRecord(number, cluster_id, RingSpec(owners, Quorums(2, 2, 1)))
    return Topology.decode(record.encoded, {str(identity): identity.name + suffix for identity in owners})


class Client:
    """A router, and how much its client has under way where."""

    def __init__(self, *, learned: bool = True, seed: int = 1) -> None:
        self.now = 0.0
        self.outstanding: Counter[str] = Counter()
        self.silent_since: dict[str, float] = {}
        self.router = Router(
            given=["x:1", "y:1"],
            outstanding=self.outstanding.__getitem__,
            silent_since=self.silent_since.get,
            rng=random.Random(seed),
        )
        if learned:
            self.router.learn(topology())

    def choose(self) -> str:
        address = self.router.choose((), self.now)
        assert address is not None
        return address

    def begin(self, count: int) -> Counter[str]:
        """Where so many operations go, which all stay under way."""
        before = Counter(self.outstanding)
        for _ in range(count):
            self.outstanding[self.choose()] += 1
        return self.outstanding - before

    def hear(self, address: str, round_trip_s: float, others: int = 0, times: int = 1) -> None:
        for _ in range(times):
            self.router.replied(address, self.now, round_trip_s, 1, others)
            self.router.served(address, self.now)
        self.now += RANK_EVERY_S

    def trust_all(self) -> None:
        for address in OWNERS:
            self.hear(address, FAST_S, times=10)

    def order(self) -> list[str]:
        """All addresses in the order they would be tried."""
        tried: list[str] = []
        while (address := self.router.choose(tried, self.now)) is not None:
            tried.append(address)
        return tried


def test_before_the_ring_is_known_the_given_addresses_are_tried_in_order() -> None:
    client = Client(learned=False)
    client.outstanding["x:1"] = 500
    assert client.order() == ["x:1", "y:1"]


def test_owners_come_first_and_every_address_is_tried_once() -> None:
    tried = Client().order()
    assert sorted(tried[:4]) == OWNERS
    assert tried[4:] == ["x:1", "y:1"]


def test_few_operations_all_go_to_one_node() -> None:
    client = Client()
    client.trust_all()
    assert list(client.begin(FILL).values()) == [FILL]


def test_when_that_node_is_full_the_next_takes_further_operations() -> None:
    client = Client()
    client.trust_all()
    first, second, *_ = client.order()
    assert client.begin(FILL + 10) == {first: FILL, second: 10}


def test_when_all_are_full_each_takes_its_share() -> None:
    client = Client()
    client.trust_all()
    taken = client.begin(len(OWNERS) * FILL * 2)
    assert taken == dict.fromkeys(OWNERS, FILL * 2)


def test_clients_choose_different_nodes() -> None:
    assert len({Client(seed=seed).choose() for seed in range(50)}) == len(OWNERS)


def test_the_choice_stays_when_the_ring_is_learned_again() -> None:
    client = Client()
    before = client.order()
    client.router.learn(topology(2))
    assert client.order() == before


def test_an_unknown_node_gets_few_operations() -> None:
    assert set(Client().begin(len(OWNERS) * FIRST_FILL).values()) == {FIRST_FILL}


def test_the_operations_a_node_gets_double_with_each_good_reply() -> None:
    client = Client()
    first, *_ = client.order()
    client.hear(first, FAST_S)
    assert client.begin(FIRST_FILL * 2) == {first: FIRST_FILL * 2}


def test_a_slow_node_is_moved_away_from() -> None:
    client = Client()
    first, second, *_ = client.order()
    client.hear(first, SLOW_S)
    assert client.choose() == second


def test_small_differences_move_nothing() -> None:
    client = Client()
    first, *_ = client.order()
    client.trust_all()
    client.hear(first, FAST_S * 1.5, times=10)
    assert client.choose() == first


def test_equally_slow_nodes_are_equally_good() -> None:
    client = Client()
    first, *_ = client.order()
    for address in OWNERS:
        client.hear(address, SLOW_S)
    assert client.choose() == first


def test_a_node_that_others_keep_busy_is_moved_away_from() -> None:
    client = Client()
    client.trust_all()
    first, second, *_ = client.order()
    client.hear(first, FAST_S, others=5 * FILL, times=10)
    assert client.choose() == second


def test_a_node_that_falls_silent_is_moved_away_from_before_it_answers() -> None:
    client = Client()
    client.trust_all()
    first, second, *_ = client.order()
    client.silent_since[first] = client.now
    client.now += 0.2
    assert client.choose() == second


def test_slowness_is_forgotten_and_the_slow_start_begins_again() -> None:
    client = Client()
    first, second, *_ = client.order()
    client.hear(first, SLOW_S, times=10)
    client.now += KEPT_FOR_S
    assert client.begin(FIRST_FILL + 1) == {first: FIRST_FILL, second: 1}


def test_a_node_that_failed_gets_few_operations_when_it_returns() -> None:
    client = Client()
    client.trust_all()
    first, second, *_ = client.order()
    client.router.failed(first, client.now)
    client.now += MIN_BACKOFF_S
    assert client.begin(FIRST_FILL + 1) == {first: FIRST_FILL, second: 1}


def test_a_node_that_is_backed_off_comes_last() -> None:
    client = Client()
    first, second, *_ = client.order()
    client.router.failed(first, client.now)
    tried = client.order()
    assert tried[0] == second
    assert tried[-1] == first


def test_a_silent_node_comes_last_until_it_answers() -> None:
    client = Client()
    client.trust_all()
    first, *_ = client.order()
    client.router.failed(first, client.now)
    client.router.unanswered(first)
    client.now += 2 * MIN_BACKOFF_S
    assert client.order()[-1] == first
    client.router.answered(first)
    assert client.choose() == first


def test_a_silent_node_that_left_the_ring_is_forgotten() -> None:
    client = Client()
    client.router.unanswered("a:1")
    client.router.learn(topology(2, suffix=":2"))
    assert client.router.silent == []


def test_a_node_that_served_when_an_operation_began_may_be_at_fault_for_it() -> None:
    """Clocks of event loops are as coarse as a millisecond."""
    client = Client()
    client.router.served("a:1", client.now)
    assert not client.router.served_since("a:1", client.now)


def test_with_all_nodes_backed_off_the_one_whose_backoff_ends_first_comes_first() -> None:
    client = Client(learned=False)
    client.router.failed("y:1", now_s=0.0)
    client.router.failed("x:1", now_s=0.1)
    client.now = 0.2
    assert client.order() == ["y:1", "x:1"]


def test_given_addresses_stay_first_for_administrative_calls() -> None:
    router = Client().router
    assert router.choose_given([], now_s=0.0) == "x:1"
    assert router.choose_given(["x:1"], now_s=0.0) == "y:1"
    assert router.choose_given(["x:1", "y:1"], now_s=0.0) is None


def test_an_older_ring_is_not_followed() -> None:
    router = Client(learned=False).router
    router.learn(topology(2, suffix=":2"))
    router.learn(topology(1, suffix=":1"))
    assert "a:2" in router.addresses
    assert "a:1" not in router.addresses


def test_new_addresses_at_the_same_epoch_are() -> None:
    router = Client().router
    router.learn(topology(1, suffix=":9"))
    assert "a:9" in router.addresses


def test_the_ring_of_another_cluster_is_not_followed() -> None:
    router = Client(learned=False).router
    router.learn(topology(1))
    router.learn(topology(9, cluster_id="another", suffix=":9"))
    assert "a:9" not in router.addresses
