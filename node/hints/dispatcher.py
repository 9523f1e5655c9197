"""Replaying hints: a destination that is up again is brought what it missed, with the original versions.

Rules:
- A hint is delivered under the then current epoch, and only if its destination is in the key's preference list in
  some live ring; otherwise it is discarded: who is in the list instead has pulled the key in a handoff.
- The destination's floor applies, as to the write that the hint was: what is refused for age is discarded.
- A hint is forgotten only when the destination has answered that this version or a newer one stands there, or that
  it is settled. Whatever else happens it is kept, and tried again after a pause that grows.
- Gently: one batch at a time for each destination, and a bound on the bytes a second for all of them together.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...identity import Identity
from ...ring.tokens import token_of
from ..epoch.epochs import Epoch, Epochs
from ..epoch.fenced_client import FencedClient
from ..errors import PeerError
from ..messages.data import DataBatch, DataReply, Merge, MergeKind, MergeResult
from ..ports import Clock
from ..throttle import Throttle
from .hint_log import HintEvents
from .store import Hint, HintStore
from .writer import HintWriter

BATCH_HINTS = 512
BATCH_BYTES = 256 << 10
BACKOFF_S = (0.5, 60.0)
"""First and longest pause after a batch that was not taken as a whole."""


@dataclass
class _Brought:
    """What a destination has taken since it was up."""

    keys: int = 0
    bytes: int = 0

    def add(self, taken: Sequence[Hint]) -> None:
        self.keys += len(taken)
        self.bytes += sum(hint.size_bytes for hint in taken)


class HintDispatcher:
    """``is_down`` says whether a member is thought down or unknown."""

    def __init__(
        self,
        store: HintStore,
        keeping: HintWriter,
        peers: FencedClient,
        epochs: Epochs,
        is_down: Callable[[Identity], bool],
        throttle: Throttle,
        clock: Clock,
        rng: random.Random,
        rpc_timeout_s: float,
        log: HintEvents,
    ) -> None:
        self._store = store
        self._keeping = keeping
        self._peers = peers
        self._epochs = epochs
        self._is_down = is_down
        self._throttle = throttle
        self._clock = clock
        self._rng = rng
        self._rpc_timeout_s = rpc_timeout_s
        self._log = log

    async def run(self, to: Identity) -> None:
        """Bring ``to`` its hints until there are none left, or it is down again."""
        began_s = self._clock.monotonic()
        brought = _Brought()
        failures = 0
        while self._store.kept(to).hints and not self._is_down(to):
            failures = 0 if await self._pass(to, brought) else failures + 1
            if failures:
                await asyncio.sleep(self._pause_s(failures))
        if brought.keys and not self._store.kept(to).hints:
            self._log.replayed(to, brought.keys, brought.bytes, self._clock.monotonic() - began_s)

    async def _pass(self, to: Identity, brought: _Brought) -> bool:
        """Go over all hints for ``to`` once; says whether none is left that should have been taken."""
        after, whole = None, True
        while True:
            await self._epochs.settled()
            epoch = self._epochs.current
            if epoch is None:
                return False
            page = self._store.page(to, after, BATCH_HINTS, BATCH_BYTES)
            self._keeping.discard_damaged(to, page.damaged)
            self._keeping.discard_foreign([hint for hint in page.hints if not is_replica(epoch, hint)])
            wanted = [hint for hint in page.hints if is_replica(epoch, hint)]
            if wanted:
                taken = await self._deliver(to, epoch, wanted)
                self._store.forget(taken)
                brought.add(taken)
                if not taken:
                    return False
                whole = whole and len(taken) == len(wanted)
                await self._throttle.spent(sum(hint.size_bytes for hint in wanted))
            if page.next is None:
                return whole
            after = page.next

    async def _deliver(self, to: Identity, epoch: Epoch, hints: Sequence[Hint]) -> list[Hint]:
        """Send a batch; returns those hints that need not be sent again."""
        operations = tuple(Merge(hint.key, hint.entry, MergeKind.WRITE) for hint in hints)
        batch = DataBatch(epoch.stamp, operations)
        try:
            reply = await self._peers.call(to, batch, DataReply, self._rpc_timeout_s)
        except PeerError:
            return []  # kept, and tried again
        if not isinstance(reply, DataReply) or reply.epoch != epoch.stamp:
            return []
        if len(reply.results) != len(hints):
            return []
        return [
            hint for hint, result in zip(hints, reply.results, strict=True) if isinstance(result, MergeResult)
        ]

    def _pause_s(self, failures: int) -> float:
        shortest_s, longest_s = BACKOFF_S
        pause_s: float = min(longest_s, shortest_s * 2 ** min(failures - 1, 10))
        return pause_s * (0.5 + self._rng.random())


def is_replica(epoch: Epoch, hint: Hint) -> bool:
    """Whether the destination is in the key's preference list in some live ring."""
    token = token_of(hint.key)
    return any(hint.to in ring.preference_list(token) for ring in epoch.rings)
