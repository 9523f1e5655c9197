"""Which node to send an operation to: any node coordinates any key, but some are the better choice.

Replicas of the key come first, since they save a hop; among them the one with the fewest operations of this
client under way. Nodes that failed lately are in the penalty box and come last, those that get out soonest
first. Nothing here is needed for correctness: without a ring, the addresses the client was given do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..ring.epoch import EpochRecord
    from ..ring.ring import Ring

FIRST_PENALTY_S = 0.5
MAX_PENALTY_S = 15.0
FORGIVEN_AFTER_S = 30.0
"""A node that went this long without failing starts again with the first penalty."""


@dataclass(slots=True)
class _Offence:
    strikes: int
    failed_at: float
    until: float


class PenaltyBox:
    """Nodes that failed lately. Each failure after the penalty doubles the next; a success ends it."""

    def __init__(self) -> None:
        self._offences: dict[str, _Offence] = {}

    def failed(self, address: str, now: float, at_least_s: float = 0.0) -> None:
        offence = self._offences.get(address)
        if offence is None or now - offence.failed_at > FORGIVEN_AFTER_S:
            offence = self._offences[address] = _Offence(0, now, now)
        if now >= offence.until:  # operations that fail together count as one failure
            offence.strikes += 1
        penalty_s = min(MAX_PENALTY_S, FIRST_PENALTY_S * 2 ** (offence.strikes - 1))
        offence.failed_at = now
        offence.until = now + max(penalty_s, at_least_s)

    def succeeded(self, address: str) -> None:
        self._offences.pop(address, None)

    def until(self, address: str, now: float) -> float:
        """When the node gets out; 0 when it is not in."""
        offence = self._offences.get(address)
        return offence.until if offence is not None and now < offence.until else 0.0


class Topology:
    """The newest ring the client has learned, and where its owners listen."""

    def __init__(self, record: EpochRecord, ring: Ring, addresses: Mapping[str, str]) -> None:
        self.record = record
        self._ring = ring
        self._addresses = dict(addresses)
        """By identity text."""

    @classmethod
    def decode(cls, encoded: bytes, addresses: Mapping[str, str]) -> Topology:
        """Read a node's answer; raises ValueError when it holds no usable record."""
        from ..ring.epoch import EpochRecord  # loaded late: a lone command never gets here
        from ..ring.ring import Ring

        record = EpochRecord.decode(encoded)
        return cls(record, Ring(record.owners), addresses)

    def replicas(self, key: bytes) -> list[str]:
        """Addresses of the key's replicas, as far as they are known, in preference order."""
        from ..ring.hashing import token_of

        preferred = self._ring.preference_list(token_of(key))
        return [address for owner in preferred if (address := self._addresses.get(str(owner)))]

    @property
    def addresses(self) -> list[str]:
        return sorted(set(self._addresses.values()))

    def outdated_by(self, other: Topology) -> bool:
        """Whether ``other`` is to be followed instead; at equal epochs it knows newer addresses."""
        if other.record.cluster_id != self.record.cluster_id:
            return True  # the cluster was made anew
        return other.record.number >= self.record.number


class Router:
    """Chooses the node for each attempt."""

    def __init__(self, given: Sequence[str], outstanding: Callable[[str], int]) -> None:
        self.given = tuple(given)
        self.penalties = PenaltyBox()
        self._outstanding = outstanding
        self._topology: Topology | None = None

    @property
    def addresses(self) -> list[str]:
        """Every address there is to try: those of the ring's owners, then those given."""
        learned = self._topology.addresses if self._topology is not None else []
        return list(dict.fromkeys([*learned, *self.given]))

    def learn(self, topology: Topology) -> None:
        if self._topology is None or self._topology.outdated_by(topology):
            self._topology = topology

    def choose(self, key: bytes | None, tried: Collection[str], now: float) -> str | None:
        """The best address not in ``tried`` for an operation on ``key`` (None: any); None when all are."""
        replicas = self._replicas(key)
        untried = [address for address in replicas if address not in tried]
        if not any(self.penalties.until(address, now) == 0 for address in untried):
            untried = [address for address in self._candidates(replicas) if address not in tried]
        return min(untried, key=lambda address: self._cost(address, replicas, now), default=None)

    def choose_given(self, tried: Collection[str], now: float) -> str | None:
        """The first of the given addresses not in ``tried``: whoever names a node wants its own view."""
        untried = [address for address in self.given if address not in tried]
        return min(untried, key=lambda address: self.penalties.until(address, now), default=None)

    def _replicas(self, key: bytes | None) -> list[str]:
        return self._topology.replicas(key) if self._topology is not None and key is not None else []

    def _candidates(self, replicas: Sequence[str]) -> list[str]:
        return list(dict.fromkeys([*replicas, *self.addresses]))

    def _cost(self, address: str, replicas: Sequence[str], now: float) -> tuple[float, bool, int]:
        """Compared first to last; on a tie the first candidate wins."""
        learned = self._topology is not None
        is_spare = learned and address not in replicas
        balanced = self._outstanding(address) if learned else 0  # before the ring is known: as given
        return (self.penalties.until(address, now), is_spare, balanced)
