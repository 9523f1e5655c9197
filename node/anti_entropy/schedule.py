"""Schedule of comparisons with peers. Pure: the time and a random source are passed in.

Rules
- A comparison becomes pending when the node starts, when the peer returns, and when the peer is marked. Pending
  comparisons precede those of the round.
- The round visits the peers in shuffled order, one in each interval.
- If two nodes both have a comparison with each other pending, the node with the lower identity begins. The other node
  waits for a short time, and then finds no difference.
- A comparison that fails becomes or remains pending, and is retried after an increasing pause.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from ...identity import Identity

MAX_START_DELAY_S = 0.2
"""A pending comparison begins within this time, unless another one is running."""
FOLLOWER_DELAY_S = 0.5
POSTPONED_S = 1.0
MAX_PAUSE_S = 30.0


@dataclass(frozen=True, eq=False)
class PendingComparison:
    """A comparison that is due at ``due_at``. Compared by object identity: each mark of a peer creates a new one."""

    due_at: float
    failures: int = 0


class Schedule:
    """With an ``interval_s`` of 0 there is no round; only requested comparisons run."""

    def __init__(self, me: Identity, interval_s: float, rng: random.Random) -> None:
        self.automatic = interval_s > 0
        self._me = me
        self._interval_s = interval_s if self.automatic else math.inf
        self._rng = rng
        self.peers: frozenset[Identity] = frozenset()
        self._pending: dict[Identity, PendingComparison] = {}
        self._round: list[Identity] = []
        self._round_at = 0.0

    def set_peers(self, peers: Iterable[Identity], now: float) -> None:
        """Continue with these peers, and drop the comparisons that are pending with others."""
        self.peers = frozenset(peers)
        self._pending = {peer: pending for peer, pending in self._pending.items() if peer in self.peers}
        self._round = []
        self._round_at = now + self._pause_s()

    def mark(self, peer: Identity, now: float) -> None:
        """Make a comparison pending that begins from now on."""
        if peer in self.peers:
            wait_s = FOLLOWER_DELAY_S if peer < self._me else 0.0
            self._pending[peer] = PendingComparison(now + wait_s + self._rng.uniform(0.0, MAX_START_DELAY_S))

    def pending(self, is_up: Callable[[Identity], bool]) -> Collection[Identity]:
        """Return the peers that are up with which a comparison is pending."""
        return [peer for peer in self._pending if is_up(peer)]

    def take(
        self, now: float, is_up: Callable[[Identity], bool]
    ) -> tuple[Identity, PendingComparison | None] | None:
        """Return the peer to compare with now and its pending comparison, if it has one; None if no peer is due."""
        due = [(p.due_at, peer) for peer, p in self._pending.items() if p.due_at <= now and is_up(peer)]
        if due:
            _, peer = min(due)
            return peer, self._pending[peer]
        if now >= self._round_at:
            self._round_at = now + self._pause_s()
            if up := sorted(filter(is_up, self.peers)):
                return self._next_of_round(up), None
        return None

    def next_at(self, is_up: Callable[[Identity], bool]) -> float:
        """Return when the next peer will be due."""
        return min([p.due_at for peer, p in self._pending.items() if is_up(peer)] + [self._round_at])

    def completed(self, peer: Identity, pending: PendingComparison | None) -> None:
        """Record that this node and ``peer`` are equal; ``pending`` is the comparison that ``take`` returned."""
        if self._pending.get(peer) is pending:
            self._pending.pop(peer, None)

    def postponed(self, peer: Identity, pending: PendingComparison | None, now: float) -> None:
        if pending is not None and self._pending.get(peer) is pending:
            wait_s = POSTPONED_S * self._rng.uniform(0.75, 1.25)
            self._pending[peer] = PendingComparison(now + wait_s, pending.failures)

    def failed(self, peer: Identity, pending: PendingComparison | None, now: float) -> None:
        if peer in self.peers and self._pending.get(peer) is pending:
            failures = pending.failures + 1 if pending is not None else 1
            wait_s = min(MAX_PAUSE_S, POSTPONED_S * 2.0 ** (failures - 1)) * self._rng.uniform(0.75, 1.25)
            self._pending[peer] = PendingComparison(now + wait_s, failures)

    def _next_of_round(self, up: list[Identity]) -> Identity:
        self._round = [peer for peer in self._round if peer in up]
        if not self._round:
            self._round = self._rng.sample(up, len(up))
        return self._round.pop()

    def _pause_s(self) -> float:
        return self._interval_s * self._rng.uniform(0.75, 1.25)
