"""Whom to probe next: every candidate once per shuffled round.

A shuffled round (SWIM, section 4.3) bounds the time until a given member is probed, which independent random
choices would not. A member may be put first, out of turn; at least every second probe follows the round.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence

from ..identity import Identity


class ProbeSchedule:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._round: deque[Identity] = deque()
        self._first: deque[Identity] = deque()
        self._out_of_turn = False

    def put_first(self, identity: Identity) -> None:
        """Probe it next, out of turn."""
        if identity not in self._first:
            self._first.append(identity)

    def next(self, candidates: Sequence[Identity]) -> Identity | None:
        """The next of ``candidates``; one that came to be during a round waits for the next round."""
        eligible = frozenset(candidates)
        first = None if self._out_of_turn else _pop_eligible(self._first, eligible)
        self._out_of_turn = first is not None
        if first is not None or not candidates:
            return first
        in_turn = _pop_eligible(self._round, eligible)
        if in_turn is not None:
            return in_turn
        self._round.extend(self._rng.sample(candidates, len(candidates)))
        return self._round.popleft()


def _pop_eligible(queue: deque[Identity], eligible: frozenset[Identity]) -> Identity | None:
    while queue:
        identity = queue.popleft()
        if identity in eligible:
            return identity
    return None
