"""Replay of hints: once a destination is up again, it is sent the writes that it missed, with their versions.

Rules
- A hint is delivered under the current epoch, and only if its destination is in the key's preference list in some
  live ring. Otherwise it is discarded: the node that replaced the destination has pulled the key in a handoff.
- The destination's floor applies, as to the original write: a hint that is refused at the floor is discarded.
- A hint is deleted only when the destination has replied that it holds this version or a newer one, or that the
  version is at or below its floor. In any other case it is kept, and sent again after an increasing pause.
- One batch is in flight for each destination, and the total rate in bytes per second is bounded.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

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
from .store import Hint
from .writer import HintWriter

BATCH_HINTS = 512
BATCH_BYTES = 256 << 10
BACKOFF_S = (0.5, 60.0)
"""First and maximum pause after a replay in which some hints must be sent again."""


class HintDispatcher:
    def __init__(
        self,
        runtime: Runtime,
        data: DataPlane,
        members: Members,
        writer: HintWriter,
        throttle: Throttle,
    ) -> None:
        self._data = data
        self._writer = writer
        self._store = writer.store
        self._members = members
        self._throttle = throttle
        self._rng = runtime.rng

    async def replay(self, to: Identity) -> None:
        """Send ``to`` its hints until none is left or it is down again."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        delivered = Counter(keys=0, bytes=0)
        failures = 0
        while self._store.stored(to).hints and not self._members.is_down(to):
            failures = 0 if await self._replay_once(to, delivered) else failures + 1
            if failures:
                await asyncio.sleep(backoff_s(failures - 1, BACKOFF_S, self._rng))
        if delivered["keys"] and not self._store.stored(to).hints:
            after_s = loop.time() - began_s
            self._writer.log.replayed(to, delivered["keys"], delivered["bytes"], after_s)

    async def _replay_once(self, to: Identity, delivered: Counter[str]) -> bool:
        """Send all hints for ``to`` once. Return False if any of them must be sent again."""
        after, complete = None, True
        while True:
            await self._data.epochs.settled()
            epoch = self._data.epochs.current
            if epoch is None:
                return False
            page = self._store.page(to, after, BATCH_HINTS, BATCH_BYTES)
            self._writer.drop_damaged(to, page.damaged)
            self._writer.discard_foreign(to, [hint for hint in page.hints if not is_replica(epoch, hint)])
            wanted = [hint for hint in page.hints if is_replica(epoch, hint)]
            if wanted:
                taken = await self._deliver(to, epoch, wanted)
                self._store.delete(taken)
                delivered.update(keys=len(taken), bytes=sum(hint.size_bytes for hint in taken))
                if not taken:
                    return False
                complete = complete and len(taken) == len(wanted)
                await self._throttle.spent(sum(hint.size_bytes for hint in wanted))
            if page.next is None:
                return complete
            after = page.next

    async def _deliver(self, to: Identity, epoch: Epoch, hints: Sequence[Hint]) -> list[Hint]:
        """Send a batch. Return the hints that need not be sent again."""
        operations = tuple(Merge(hint.key, hint.entry, MergeKind.WRITE) for hint in hints)
        batch = DataBatch(epoch.stamp, operations)
        try:
            reply = await self._data.peers.call(to, batch, DataReply)
        except PeerError:
            return []  # the hints are kept and sent again
        if not isinstance(reply, DataReply) or reply.epoch != epoch.stamp or len(reply.results) != len(hints):
            return []
        results = zip(hints, reply.results, strict=True)
        return [hint for hint, result in results if isinstance(result, MergeResult)]


def is_replica(epoch: Epoch, hint: Hint) -> bool:
    """Return whether the destination is in the key's preference list in some live ring."""
    token = token_of(hint.key)
    return any(hint.to in ring.preference_list(token) for ring in epoch.rings)
