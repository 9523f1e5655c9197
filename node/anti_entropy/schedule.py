"""Whom to compare with next. Pure: told the time, given a random source.

Rules
- A comparison that is owed comes before those of the round: after a start, after a peer returned or was marked.
- The round visits the peers in shuffled order, one each interval.
- Of two that owe each other a comparison, the one with the lower identity begins; the other waits a while, and
  then finds nothing left to do.
- A comparison that failed stays owed, or becomes so, and is tried again after a pause that grows.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from ...identity import Identity

PROMPT_S = 0.2
"""What is owed begins within so long, when nothing else is under way."""
FOLLOWER_WAITS_S = 0.5
POSTPONED_S = 1.0
LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True, eq=False)
class PendingComparison:
    """A comparison that is owed. Equal only to itself: one marked anew is another."""

    due_at: float
    failures: int = 0


class Schedule:
    """``interval_s`` of 0: nothing is due but what was asked for."""

    def __init__(self, me: Identity, interval_s: float, rng: random.Random) -> None:
        self.by_itself = interval_s > 0
        self._me = me
        self._interval_s = interval_s if self.by_itself else math.inf
        self._rng = rng
        self._peers: frozenset[Identity] = frozenset()
        self._debts: dict[Identity, PendingComparison] = {}
        self._round: list[Identity] = []
        self._round_at = 0.0

    @property
    def peers(self) -> frozenset[Identity]:
        return self._peers

    def follow(self, peers: Iterable[Identity], now: float) -> None:
        """Go on with these peers; what was owed to others is no longer."""
        self._peers = frozenset(peers)
        self._debts = {peer: debt for peer, debt in self._debts.items() if peer in self._peers}
        self._round = []
        self._round_at = now + self._pause_s()

    def owe(self, peer: Identity, now: float) -> None:
        """A comparison with ``peer`` that begins from now on is owed."""
        if peer in self._peers:
            wait_s = FOLLOWER_WAITS_S if peer < self._me else 0.0
            self._debts[peer] = PendingComparison(now + wait_s + self._rng.uniform(0.0, PROMPT_S))

    def owed(self, is_up: Callable[[Identity], bool]) -> Collection[Identity]:
        """Whom of those that are up a comparison is owed to."""
        return [peer for peer in self._debts if is_up(peer)]

    def take(
        self, now: float, is_up: Callable[[Identity], bool]
    ) -> tuple[Identity, PendingComparison | None] | None:
        """Whom to compare with now, and by which debt; None when nobody is due."""
        due = [
            (debt.due_at, peer) for peer, debt in self._debts.items() if debt.due_at <= now and is_up(peer)
        ]
        if due:
            _, peer = min(due)
            return peer, self._debts[peer]
        if now >= self._round_at:
            self._round_at = now + self._pause_s()
            if up := sorted(filter(is_up, self._peers)):
                return self._next_of_round(up), None
        return None

    def next_at(self, is_up: Callable[[Identity], bool]) -> float:
        """When somebody will be due, as things stand."""
        return min([debt.due_at for peer, debt in self._debts.items() if is_up(peer)] + [self._round_at])

    def compared(self, peer: Identity, debt: PendingComparison | None) -> None:
        """The two are equal: what was owed when the comparison began is settled."""
        if self._debts.get(peer) is debt:
            self._debts.pop(peer, None)

    def postponed(self, peer: Identity, debt: PendingComparison | None, now: float) -> None:
        if debt is not None and self._debts.get(peer) is debt:
            wait_s = POSTPONED_S * self._rng.uniform(0.75, 1.25)
            self._debts[peer] = PendingComparison(now + wait_s, debt.failures)

    def failed(self, peer: Identity, debt: PendingComparison | None, now: float) -> None:
        if peer in self._peers and self._debts.get(peer) is debt:
            failures = debt.failures + 1 if debt is not None else 1
            wait_s = min(LONGEST_PAUSE_S, POSTPONED_S * 2.0 ** (failures - 1)) * self._rng.uniform(0.75, 1.25)
            self._debts[peer] = PendingComparison(now + wait_s, failures)

    def _next_of_round(self, up: list[Identity]) -> Identity:
        self._round = [peer for peer in self._round if peer in up]
        if not self._round:
            self._round = self._rng.sample(up, len(up))
        return self._round.pop()

    def _pause_s(self) -> float:
        return self._interval_s * self._rng.uniform(0.75, 1.25)
