"""Operations that are under way together, under one epoch: one message to each replica, one count for all.

This is the short way, which nearly all go: it ends when enough replicas have answered well. An operation that meets
something out of the ordinary (a replica refuses, fails or disagrees, the epoch moves on, its time runs out) leaves the
others and is handed over to the long way (``read``, ``write``), which goes on with it alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from ..epoch.epochs import Epochs


def alike(plans: Sequence[object]) -> Iterable[list[int]]:
    """The places of operations that have the very same plan."""
    places: dict[int, list[int]] = {}
    for place, plan in enumerate(plans):
        places.setdefault(id(plan), []).append(place)
    return places.values()


class FastPath:
    """Which of the operations are open still, and what ends the short way for all of them."""

    def __init__(self, epochs: Epochs, count: int) -> None:
        self._epochs = epochs
        self._open = bytearray(b"\1") * count
        self._left = count
        self._timer: asyncio.TimerHandle | None = None

    def _begin(self, deadline_s: float) -> None:
        self._epochs.watch(self._hand_over_the_rest)
        self._timer = asyncio.get_running_loop().call_at(deadline_s, self._hand_over_the_rest)

    def _is_open(self, place: int) -> bool:
        return self._open[place] == 1

    def _close(self, places: Sequence[int]) -> list[int]:
        """Those of ``places`` that were open; from now on they are not."""
        opened = self._open
        closed = [place for place in places if opened[place]]
        for place in closed:
            opened[place] = 0
        self._left -= len(closed)
        if self._left == 0 and self._timer is not None:
            self._epochs.unwatch(self._hand_over_the_rest)
            self._timer.cancel()
            self._timer = None
            self._over()
        return closed

    def _over(self) -> None:
        """Nothing is open any more."""

    def _hand_over(self, place: int) -> None:
        raise NotImplementedError

    def _hand_over_the_rest(self) -> None:
        for place in [place for place, is_open in enumerate(self._open) if is_open]:
            self._hand_over(place)
