"""Routing: the choice of the node to which an operation is sent.

Any node can coordinate operations on any key, and few large messages cost less than many small messages. So operations
are sent to one node as long as it has room for them, and to several nodes when there are many.

The owners of the ring are ordered by rank, which is their score (``quorum.ranking``) relative to the best score, on a
logarithmic scale. Nodes of equal rank are in a random order, so that clients choose different nodes. An operation is
sent to the first owner that has room or, if none has, to the owner with the smallest part of its room in use.

Nodes that failed are backed off and are used last, in the order in which their backoff ends. A node that left an
operation unanswered is silent until it answers any request. It is used after all other nodes of the cluster, because an
operation sent to it may wait there until its deadline.

Correctness does not depend on routing. Without a ring, the given addresses are tried in order.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from math import log
from typing import TYPE_CHECKING, NamedTuple

from ..quorum.node_backoff import NodeBackoff
from ..quorum.ranking import FAST_S, NodeScore

if TYPE_CHECKING:
    from ..ring.epoch import EpochRecord

RANK_BASE = 4.0
"""The rank of a node is the logarithm, to this base, of its score relative to the best score, rounded down."""
RANK_EVERY_S = 0.1
MIN_BACKOFF_S, MAX_BACKOFF_S = 0.5, 15.0
FORGIVEN_AFTER_S = 30.0
"""After this time without failures, a node starts again with the shortest backoff."""


class Topology:
    """The newest ring that the client has learned, and its owners' addresses."""

    def __init__(self, record: EpochRecord, addresses: Mapping[str, str]) -> None:
        self.record = record
        self.addresses = sorted(set(addresses.values()))

    @classmethod
    def decode(cls, encoded: bytes, addresses: Mapping[str, str]) -> Topology:
        """Decode a node's answer. Raise ValueError if it holds no usable record."""
        from ..ring.epoch import EpochRecord  # imported late: a single command does not need it

        return cls(EpochRecord.decode(encoded), addresses)

    def outdated_by(self, other: Topology) -> bool:
        """Return True if ``other`` replaces this one; at equal epochs it has newer addresses."""
        same_cluster = other.record.cluster_id == self.record.cluster_id
        return same_cluster and other.record.number >= self.record.number


class _Choice(NamedTuple):
    """An owner in the order of choice."""

    address: str
    room: int
    """Number of operations outstanding at it up to which it is preferred to later owners."""


class Router:
    """Chooses the node for each attempt at an operation."""

    def __init__(
        self,
        given: Sequence[str],
        outstanding: Callable[[str], int],
        silent_since: Callable[[str], float | None],
        rng: random.Random,
        foreign: Collection[str] = (),
    ) -> None:
        """Take ``foreign``, a live view of the addresses that belong to another cluster."""
        self._foreign = foreign
        self.given = tuple(given)
        self.backoff: NodeBackoff[str] = NodeBackoff(
            MIN_BACKOFF_S, MAX_BACKOFF_S, forgiven_after_s=FORGIVEN_AFTER_S, merge_concurrent=True
        )
        self._outstanding = outstanding
        self._silent_since = silent_since
        self._rng = rng
        self._topology: Topology | None = None
        self._scores: dict[str, NodeScore] = {}
        self._ranked: list[_Choice] = []
        """Owners, the best first."""
        self._ranked_until_s = 0.0
        self._silent: dict[str, None] = {}

    @property
    def silent(self) -> list[str]:
        """Addresses of silent nodes: each left an operation unanswered and has answered no request since."""
        return list(self._silent)

    @property
    def addresses(self) -> list[str]:
        """All addresses to try: those of the ring's owners, then the given addresses."""
        learned = self._topology.addresses if self._topology is not None else []
        return list(dict.fromkeys([*learned, *self.given]))

    def learn(self, topology: Topology) -> None:
        if self._topology is None or self._topology.outdated_by(topology):
            self._topology = topology
            self._scores = {address: self._score_of(address) for address in self.addresses}
            self._silent = {address: None for address in self._silent if address in self._scores}
            self._ranked_until_s = 0.0

    def replied(self, address: str, now_s: float, round_trip_s: float, operations: int, others: int) -> None:
        """Record the first answer to a batch; ``others`` is what other clients have outstanding there."""
        self._score_of(address).replied(now_s, round_trip_s, operations, others)

    def served(self, address: str, now_s: float) -> None:
        """Record a completed operation."""
        self.answered(address)
        self.backoff.succeeded(address)
        self._score_of(address).served(now_s)

    def served_since(self, address: str, instant_s: float) -> bool:
        return self._score_of(address).served_s > instant_s

    def failed(self, address: str, now_s: float, at_least_s: float = 0.0) -> None:
        """Record a failure; the backoff lasts at least ``at_least_s``, which the node asked for."""
        self.backoff.failed(address, now_s, at_least_s)
        self._score_of(address).failed()
        self._ranked_until_s = 0.0

    def answered(self, address: str) -> None:
        """Record an answer of any kind, including a refusal."""
        self._silent.pop(address, None)

    def unanswered(self, address: str) -> None:
        """Record an operation that was sent and not answered."""
        self._silent[address] = None

    def is_silent(self, address: str) -> bool:
        return address in self._silent

    def choose(self, tried: Collection[str], now_s: float) -> str | None:
        """Return the best address that is not in ``tried``; None if all are in it."""
        if self._topology is None:
            return self.choose_given(tried, now_s)
        if now_s >= self._ranked_until_s:
            self._rank(now_s)
        for address, room in self._ranked:
            if self._outstanding(address) < room and self._is_free(address, tried, now_s):
                return address
        free = [choice for choice in self._ranked if self._is_free(choice.address, tried, now_s)]
        if free:
            return min(free, key=lambda choice: self._outstanding(choice.address) / choice.room).address
        return self._least_backed_off(self.addresses, tried, now_s)

    def choose_given(self, tried: Collection[str], now_s: float) -> str | None:
        """Return the first given address that is not in ``tried``, for requests that show a node's own view."""
        return self._least_backed_off(self.given, tried, now_s)

    def _is_free(self, address: str, tried: Collection[str], now_s: float) -> bool:
        return (
            address not in tried
            and address not in self._foreign
            and address not in self._silent
            and not self.backoff.is_backed_off(address, now_s)
        )

    def _least_backed_off(self, addresses: Sequence[str], tried: Collection[str], now_s: float) -> str | None:
        for address in addresses:
            if self._is_free(address, tried, now_s):
                return address
        untried = [address for address in addresses if address not in tried]
        return min(
            untried,
            key=lambda address: (
                address in self._foreign,
                address in self._silent,
                self.backoff.until_s(address, now_s),
            ),
            default=None,
        )

    def _score_of(self, address: str) -> NodeScore:
        score = self._scores.get(address)
        if score is None:
            score = self._scores[address] = NodeScore(self._rng.random())
        return score

    def _rank(self, now_s: float) -> None:
        self._ranked_until_s = now_s + RANK_EVERY_S
        owners = self._topology.addresses if self._topology is not None else []
        scores = {address: self._current_score(address, now_s) for address in owners}
        best = min(scores.values(), default=FAST_S)
        ranks = {address: int(log(score / best, RANK_BASE)) for address, score in scores.items()}
        owners = sorted(owners, key=lambda address: (ranks[address], self._scores[address].tie_break))
        self._ranked = [
            _Choice(address, max(1, int(self._scores[address].fill / RANK_BASE ** ranks[address])))
            for address in owners
        ]

    def _current_score(self, address: str, now_s: float) -> float:
        silent_since_s = self._silent_since(address)
        silent_s = 0.0 if silent_since_s is None else now_s - silent_since_s
        score = self._scores[address].score(now_s, silent_s)
        return FAST_S if score is None else score
