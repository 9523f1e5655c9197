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
from collections.abc import Sequence
from dataclasses import dataclass

from ...api.backoff import backoff_s
from ...identity import Identity
from ...ring.tokens import token_of
from ..epoch.epochs import Epoch
from ..epoch.fenced_client import DataPlane
from ..errors import PeerError
from ..members.members import Members
from ..messages.data import DataBatch, DataReply, Merge, MergeKind, MergeResult
from ..runtime import Runtime
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
    def __init__(
        self,
        runtime: Runtime,
        data: DataPlane,
        members: Members,
        store: HintStore,
        writer: HintWriter,
        throttle: Throttle,
        log: HintEvents,
    ) -> None:
        self._clock = runtime.clock
        self._rng = runtime.rng
        self._epochs = data.epochs
        self._peers = data.peers
        self._members = members
        self._store = store
        self._writer = writer
        self._throttle = throttle
        self._log = log

    async def run(self, to: Identity) -> None:
        """Bring ``to`` its hints until there are none left, or it is down again."""
        began_s = self._clock.monotonic()
        brought = _Brought()
        failures = 0
        while self._store.kept(to).hints and not self._members.is_down(to):
            failures = 0 if await self._pass(to, brought) else failures + 1
            if failures:
                await asyncio.sleep(backoff_s(failures - 1, BACKOFF_S, self._rng))
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
            self._writer.discard_damaged(to, page.damaged)
            self._writer.discard_foreign([hint for hint in page.hints if not is_replica(epoch, hint)])
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
            reply = await self._peers.call(to, batch, DataReply)
        except PeerError:
            return []  # kept, and tried again
        if not isinstance(reply, DataReply) or reply.epoch != epoch.stamp:
            return []
        if len(reply.results) != len(hints):
            return []
        return [
            hint for hint, result in zip(hints, reply.results, strict=True) if isinstance(result, MergeResult)
        ]


def is_replica(epoch: Epoch, hint: Hint) -> bool:
    """Whether the destination is in the key's preference list in some live ring."""
    token = token_of(hint.key)
    return any(hint.to in ring.preference_list(token) for ring in epoch.rings)
