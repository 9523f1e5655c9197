"""Listing of keys: a merge, in token order, of the keys that the replicas of each range hold.

- A page of keys is read from every usable owner concurrently.
- The merge is complete up to the end of the shortest page, provided that r replicas of every range were read.
- A key is used only if it comes from a node in its own preference lists. Its newest version determines whether it is
  live.
- When the epoch changes, the page is read again, beginning after the last key that was returned.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection

from ...identity import Identity
from ...quorum.counter import Requirement, satisfied
from ...ring.tokens import TOKEN_SPACE, TokenRange, token_of
from ..epoch.epochs import Epoch, Epochs
from ..epoch.fenced_client import FencedClient
from ..errors import InvalidRequest, OperationTimeout, PeerError, StorageFailed, Unavailable
from ..messages.data import Scan, ScanPurpose, ScanReply
from ..replica.service import ReplicaService
from ..storage.interface import Cursor, Entry
from .replica_selector import ReplicaSelector

FROM_TOKEN_ZERO = TokenRange(TOKEN_SPACE - 1, TOKEN_SPACE - 1)
"""Range of the whole ring, which is scanned in token order."""
PAGE_ENTRIES = 2000
PAGE_BYTES = 128 << 10
MAX_PAGES = 4
"""Maximum number of pages that are read and merged at the same time, over all listings; others wait."""
MAX_TRIES = 20
RETRY_PAUSE_S = 0.1

Page = dict[Identity, ScanReply]


class KeyListing:
    def __init__(
        self,
        epochs: Epochs,
        peers: FencedClient,
        replicas: ReplicaSelector,
        replica: ReplicaService,
        max_key_bytes: int,
    ) -> None:
        self._epochs = epochs
        self._peers = peers
        self._replicas = replicas
        self._replica = replica
        self._max_key_bytes = max_key_bytes
        self._turns = asyncio.Semaphore(MAX_PAGES)

    async def keys(
        self, prefix: bytes, after_key: bytes | None, timeout_s: float
    ) -> AsyncGenerator[list[bytes], None]:
        """Yield batches of live keys in token order; an empty batch shows that the listing proceeds.

        Raise OperationError if a range has too few replicas.
        """
        for given in (prefix, after_key or b""):
            if len(given) > self._max_key_bytes:
                raise InvalidRequest(f"a key has at most {self._max_key_bytes} bytes, not {len(given)}")
        after = Cursor(token_of(after_key), after_key) if after_key else None
        while True:
            live, after = await self._live(prefix, after, timeout_s)
            yield live
            if after is None:
                return

    async def _live(
        self, prefix: bytes, after: Cursor | None, timeout_s: float
    ) -> tuple[list[bytes], Cursor | None]:
        """Return the live keys of the next page, and where it ends: None at the end of the ring."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._turns.acquire()
        except TimeoutError:
            raise OperationTimeout(
                f"the listing did not proceed in time: {MAX_PAGES} others are being read",
                maybe_applied=False,
            ) from None
        try:
            epoch, page = await self._page(prefix, after, timeout_s)
            # The end of the shortest page; None if all pages are the last of their nodes.
            end = min((reply.next for reply in page.values() if reply.next is not None), default=None)
            return [key for key, entry in _merged(epoch, page, end) if not entry.tombstone], end
        finally:
            self._turns.release()

    async def _page(self, prefix: bytes, after: Cursor | None, timeout_s: float) -> tuple[Epoch, Page]:
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        for _ in range(MAX_TRIES):
            epoch = self._epochs.current
            if epoch is None:
                raise Unavailable("this node belongs to no cluster yet")
            owners = self._replicas.ranked(
                sorted({owner for spec in epoch.record.live_rings for owner in spec.owners})
            )
            if not _covers(epoch, owners):
                raise Unavailable("some range has too few replicas up to list its keys")
            scan = Scan(
                epoch=epoch.stamp,
                purpose=ScanPurpose.KEYS,
                span=FROM_TOKEN_ZERO,
                after=after,
                max_entries=PAGE_ENTRIES,
                max_bytes=PAGE_BYTES,
                prefix=prefix,
            )
            replies = await asyncio.gather(*(self._scan(owner, scan, timeout_s) for owner in owners))
            page = {o: reply for o, reply in zip(owners, replies, strict=True) if reply is not None}
            if self._epochs.stamp == epoch.stamp and _covers(epoch, list(page)):
                return epoch, page
            if asyncio.get_running_loop().time() > deadline_s:
                break
            await asyncio.sleep(RETRY_PAUSE_S)
        raise OperationTimeout("too few replicas answered the listing in time", maybe_applied=False)

    async def _scan(self, owner: Identity, scan: Scan, timeout_s: float) -> ScanReply | None:
        """Return the owner's reply, None if it is unusable. The page is read again unless others cover all ranges."""
        try:
            if owner == self._replicas.me:
                reply = await self._replica.scan(scan)
                return reply if isinstance(reply, ScanReply) else None
            return await self._peers.fetch_chunk(owner, scan, timeout_s)
        except (PeerError, StorageFailed):
            return None


def _covers(epoch: Epoch, owners: Collection[Identity]) -> bool:
    """Return True if r replicas of every range of every live ring are among ``owners``."""
    return all(
        satisfied([Requirement(found.preference_list, ring.r) for found in ring.ranges()], owners)
        for ring in epoch.rings
    )


def _merged(epoch: Epoch, page: Page, end: Cursor | None) -> list[tuple[bytes, Entry]]:
    """Return the newest entry of each key up to ``end``, in token order, from the replicas of that key only."""
    newest: dict[Cursor, Entry] = {}
    for owner, reply in page.items():
        for key, entry in reply.entries:
            place = Cursor(token_of(key), key)
            if end is not None and place > end:
                break
            if not any(owner in ring.preference_list(place.token) for ring in epoch.rings):
                continue
            held = newest.get(place)
            if held is None or entry.version > held.version:
                newest[place] = entry
    return [(place.key, newest[place]) for place in sorted(newest)]
