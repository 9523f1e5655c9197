"""Which node to send an operation to: any node coordinates any key, and few large messages beat many small ones.

So operations go to one node as long as it keeps up, and spread when there are many. Owners of the ring stand in
an order: by how their scores (``standing.py``) compare to the best, roughly, and among equals in a random order
of this client's own, so that clients do not all take the same. The first that has room takes the operation; when
none has, the one that is filled least. Nodes that failed lately are in the penalty box and come last, those that
get out soonest first. Nothing here is needed for correctness: without a ring, the addresses the client was given
do, in their order.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from math import log
from typing import TYPE_CHECKING, NamedTuple

from .penalties import NodeBackoff
from .standing import FAST_S, NodeScore

if TYPE_CHECKING:
    from ..ring.epoch import EpochRecord

WORSE = 4.0
"""A node stands a rank behind the best for each time that its score is so many times as high."""
RANK_EVERY_S = 0.1


class Topology:
    """The newest ring the client has learned, and where its owners listen."""

    def __init__(self, record: EpochRecord, addresses: Mapping[str, str]) -> None:
        self.record = record
        self.addresses = sorted(set(addresses.values()))

    @classmethod
    def decode(cls, encoded: bytes, addresses: Mapping[str, str]) -> Topology:
        """Read a node's answer; raises ValueError when it holds no usable record."""
        from ..ring.epoch import EpochRecord  # loaded late: a lone command never gets here

        return cls(EpochRecord.decode(encoded), addresses)

    def outdated_by(self, other: Topology) -> bool:
        """Whether ``other`` is to be followed instead; at equal epochs it knows newer addresses."""
        same_cluster = other.record.cluster_id == self.record.cluster_id
        return same_cluster and other.record.number >= self.record.number


class _Place(NamedTuple):
    """An owner in the order of choice."""

    address: str
    room: int
    """As many operations it is given before the next owner's turn."""


class Router:
    """Chooses the node for each attempt."""

    def __init__(
        self,
        given: Sequence[str],
        outstanding: Callable[[str], int],
        silent_since: Callable[[str], float | None],
        rng: random.Random,
        foreign: Collection[str] = (),
    ) -> None:
        """Take ``foreign``, a collection of the addresses that belong to another cluster at the time."""
        self._foreign = foreign
        self.given = tuple(given)
        self.penalties = NodeBackoff()
        self._outstanding = outstanding
        self._silent_since = silent_since
        self._rng = rng
        self._topology: Topology | None = None
        self._standings: dict[str, NodeScore] = {}
        self._ranked: list[_Place] = []
        """Owners, the best first."""
        self._ranked_until = 0.0

    @property
    def addresses(self) -> list[str]:
        """Every address there is to try: those of the ring's owners, then those given."""
        learned = self._topology.addresses if self._topology is not None else []
        return list(dict.fromkeys([*learned, *self.given]))

    def learn(self, topology: Topology) -> None:
        if self._topology is None or self._topology.outdated_by(topology):
            self._topology = topology
            self._standings = {address: self._standing(address) for address in self.addresses}
            self._ranked_until = 0.0

    def heard(self, address: str, now: float, round_trip_s: float, operations: int, others: int) -> None:
        """The first answer to a batch of so many ``operations`` came; ``others`` are under way there."""
        self._standing(address).heard(now, round_trip_s, operations, others)

    def served(self, address: str, now: float) -> None:
        """The node did what it was asked."""
        self.penalties.succeeded(address)
        self._standing(address).served(now)

    def served_since(self, address: str, moment: float) -> bool:
        return self._standing(address).well_at >= moment

    def failed(self, address: str, now: float, at_least_s: float = 0.0) -> None:
        """It could not. For ``at_least_s`` it wants to be left alone."""
        self.penalties.failed(address, now, at_least_s)
        self._standing(address).failed()
        self._ranked_until = 0.0

    def choose(self, tried: Collection[str], now: float) -> str | None:
        """The best address not in ``tried``; None when all are."""
        if self._topology is None:
            return self.choose_given(tried, now)
        if now >= self._ranked_until:
            self._rank(now)
        for address, room in self._ranked:
            if self._outstanding(address) < room and self._is_free(address, tried, now):
                return address
        free = [place for place in self._ranked if self._is_free(place.address, tried, now)]
        if free:
            return min(free, key=lambda place: self._outstanding(place.address) / place.room).address
        return self._least_penalised(self.addresses, tried, now)

    def choose_given(self, tried: Collection[str], now: float) -> str | None:
        """The first of the given addresses not in ``tried``: whoever names a node wants its own view."""
        return self._least_penalised(self.given, tried, now)

    def _is_free(self, address: str, tried: Collection[str], now: float) -> bool:
        return (
            address not in tried and address not in self._foreign and not self.penalties.until(address, now)
        )

    def _least_penalised(self, addresses: Sequence[str], tried: Collection[str], now: float) -> str | None:
        for address in addresses:
            if self._is_free(address, tried, now):
                return address
        untried = [address for address in addresses if address not in tried]
        return min(
            untried,
            key=lambda address: (address in self._foreign, self.penalties.until(address, now)),
            default=None,
        )

    def _standing(self, address: str) -> NodeScore:
        standing = self._standings.get(address)
        if standing is None:
            standing = self._standings[address] = NodeScore(self._rng.random())
        return standing

    def _rank(self, now: float) -> None:
        self._ranked_until = now + RANK_EVERY_S
        owners = self._topology.addresses if self._topology is not None else []
        scores = {address: self._score(address, now) for address in owners}
        best = min(scores.values(), default=FAST_S)
        ranks = {address: int(log(score / best, WORSE)) for address, score in scores.items()}
        owners = sorted(owners, key=lambda address: (ranks[address], self._standings[address].place))
        self._ranked = [
            _Place(address, max(1, int(self._standings[address].fill / WORSE ** ranks[address])))
            for address in owners
        ]

    def _score(self, address: str, now: float) -> float:
        silent_since = self._silent_since(address)
        silent_s = 0.0 if silent_since is None else now - silent_since
        score = self._standings[address].score(now, silent_s)
        return FAST_S if score is None else score
