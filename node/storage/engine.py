"""The engine: implements versions, checksums, segments and durability over any ``Store``.

Invariants:
- An entry is replaced only by a newer version, in whatever order they arrive.
- Every change is one atomic batch of the store: entries, the rows of the ledger that they change, and named values.
- Under ``sync``, a write is durable only when a flush that began after it has ended.
- After a failed write or flush the engine changes nothing more; it still reads.
- A read that finds damage puts the damaged segment in quarantine; damaged entries are never served (``reads``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Literal

from ...quorum.version import Version
from ...ring.tokens import TokenRange
from ..errors import Corruption, StorageFailed
from .commit import GroupCommit, UnsyncedWrites
from .encoding import (
    KeyRange,
    beginning_with,
    entry_in,
    key_in,
    key_ranges,
    pack,
    pack_named,
    rank_in,
    stored_key,
    token_in,
    unpack_named,
    version_in,
)
from .interface import Chunk, Cursor, Entry, TombstonePage, Usage
from .ledger import Changes, Ledger, range_delete_changes
from .quarantine import Watcher
from .reads import VerifiedReads
from .scan import gather, gather_tombstones
from .segments import segment_in
from .store import FreeSpace, Store, WriteBatch
from .summary import replace_row

Durability = Literal["sync", "periodic"]
FLUSH_INTERVAL_S = 1.0
"""Maximum age of an unsynced write under ``periodic``."""


class StoreEngine:
    """An ``Engine`` (``interface``) over a store; belongs to one event loop."""

    def __init__(
        self,
        store: Store,
        durability: Durability,
        on_failure: Callable[[StorageFailed], None],
        reserve_bytes: int = 0,
    ) -> None:
        self._store = store
        self._periodic = durability == "periodic"
        self._unsynced = UnsyncedWrites()
        self._durable_extent = store.extent()
        """The extent that is known to be on disk. All that a store finds when it is opened is on disk."""
        self._commit = GroupCommit(
            self._sync,
            interval_s=FLUSH_INTERVAL_S if self._periodic else None,
            on_synced=self._unsynced.synced,
            on_failure=on_failure,
        )
        self._ledger = Ledger.open(store)
        self._reads = VerifiedReads(store, self._ledger, on_damage=self._quarantine_segments)
        self._space = FreeSpace(store.free_bytes, reserve_bytes)
        self._closed = False

    @property
    def failed(self) -> StorageFailed | None:
        return self._commit.failed

    def get(self, key: bytes) -> Entry | None:
        (entry,) = self._held([key])
        return entry

    def get_many(self, keys: Sequence[bytes]) -> list[Entry | Corruption | None]:
        try:
            return [*self._held(keys)]
        except Corruption as corruption:
            if len(keys) == 1:
                return [corruption]
        return [found for key in keys for found in self.get_many([key])]

    def merge(
        self, entries: Sequence[tuple[bytes, Entry]], meta: Mapping[str, bytes | None] | None = None
    ) -> list[Version]:
        self._raise_if_refusing()
        self._take_space(entries)
        merged: dict[bytes, bytes] = {}
        changes = Changes(latest=_latest(entries))
        versions = self._merge(entries, merged, changes)
        self._write(WriteBatch(puts=merged.items()), changes, meta, touched=merged)
        return versions

    def scan(
        self,
        token_range: TokenRange,
        after: Cursor | None,
        max_entries: int,
        max_bytes: int,
        prefix: bytes = b"",
        *,
        with_values: bool = True,
    ) -> Chunk:
        self._raise_if_closed()
        return gather(self._reads, token_range, after, max_entries, max_bytes, prefix, with_values)

    def size(self, token_range: TokenRange) -> int:
        self._raise_if_closed()
        return self._ledger.summaries.size(token_range)

    def drop(self, ranges: Sequence[TokenRange], meta: Mapping[str, bytes | None] | None = None) -> None:
        self._raise_if_refusing()
        self._write(
            WriteBatch(deleted_ranges=_keys_of(ranges)),
            range_delete_changes(self._store, self._ledger, ranges),
            meta,
            ranges=ranges,
        )

    def replace(self, ranges: Sequence[TokenRange], entries: Sequence[tuple[bytes, Entry]]) -> None:
        self._raise_if_refusing()
        newest: dict[bytes, Entry] = {}
        for key, entry in entries:
            stored = stored_key(key)
            if not any(token_range.contains(token_in(stored)) for token_range in ranges):
                raise ValueError(f"{key!r} lies in none of the ranges to replace")
            if stored not in newest or entry.version > newest[stored].version:
                newest[stored] = entry
        self._take_space(entries)
        changes = range_delete_changes(self._store, self._ledger, ranges)
        changes.latest = _latest(entries)
        puts = [(stored, pack(stored, entry)) for stored, entry in newest.items()]
        for stored, packed in puts:
            self._note(changes, stored, None, packed)
        self._write(WriteBatch(deleted_ranges=_keys_of(ranges), puts=puts), changes, None, ranges=ranges)

    def digests(self, ranges: Sequence[TokenRange]) -> list[int]:
        self._raise_if_closed()
        self._ledger.quarantine.refuse_ranges(ranges)
        return [self._reads.digest(token_range) for token_range in ranges]

    def tombstones(
        self, token_range: TokenRange, after: Cursor | None, up_to: int, max_entries: int
    ) -> TombstonePage:
        self._raise_if_closed()
        self._ledger.quarantine.refuse_ranges([token_range])
        return gather_tombstones(self._reads, self._ledger.summaries, token_range, after, up_to, max_entries)

    def purge(self, tombstones: Sequence[tuple[bytes, Version]]) -> int:
        self._raise_if_refusing()
        changes = Changes()
        purged: dict[bytes, None] = {}
        for (key, version), held in zip(tombstones, self._held([key for key, _ in tombstones]), strict=True):
            stored, meant = stored_key(key), Entry(version, None)
            if held == meant and stored not in purged:
                purged[stored] = None
                self._note(changes, stored, pack(stored, meant), None)
        self._write(WriteBatch(deleted=purged), changes, None, touched=purged)
        return len(purged)

    def latest_timestamp(self) -> int:
        return self._ledger.latest_timestamp

    def quarantine(self, numbers: Sequence[int], reason: str) -> None:
        self._raise_if_refusing()
        self._quarantine_segments(numbers, reason)

    def quarantined(self) -> tuple[int, ...]:
        return self._ledger.quarantine.numbers

    def watch_quarantine(self, watcher: Watcher) -> None:
        self._ledger.quarantine.watch(watcher)

    def needs_restart(self) -> bool:
        return self._store.needs_rewrite

    def disk_full(self) -> bool:
        return self._space.full

    def check_free_space(self) -> None:
        if not self._closed:
            self._space.recheck()

    def verify(self, number: int, step_bytes: int) -> Iterator[None]:
        self._raise_if_closed()
        return self._reads.verify(number, step_bytes)

    def get_meta(self, name: str) -> bytes | None:
        self._raise_if_closed()
        packed = self._store.read_named(name.encode())
        return None if packed is None else unpack_named(name.encode(), packed)

    def put_meta(self, meta: Mapping[str, bytes | None]) -> None:
        self._raise_if_refusing()
        self._write(WriteBatch(), Changes(), meta)

    def get_row(self, name: bytes) -> bytes | None:
        self._raise_if_closed()
        return self._store.read_named(name)

    def rows(self, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        self._raise_if_closed()
        return self._store.named_rows(prefix, after)

    def put_rows(self, rows: Sequence[tuple[bytes, bytes | None]]) -> None:
        self._raise_if_refusing()
        if any(value is not None for _, value in rows):
            self._space.take(sum(len(name) + len(value or b"") for name, value in rows))
        self._write(WriteBatch(named=list(rows)), Changes(), None)

    def drop_rows(self, prefix: bytes) -> None:
        self._raise_if_refusing()
        self._write(WriteBatch(deleted_name_ranges=[beginning_with(prefix)]), Changes(), None)

    def extent(self) -> int:
        return self._durable_extent

    def usage(self) -> Usage:
        return self._ledger.summaries.total

    def is_durable(self, key: bytes) -> bool:
        self._raise_if_closed()
        return self._periodic or key not in self._unsynced

    def is_durable_within(self, token_range: TokenRange) -> bool:
        self._raise_if_closed()
        return self._periodic or not self._unsynced.may_contain_range(token_range)

    async def durable(self, *, always: bool = False) -> None:
        self._raise_if_refusing()
        if always or not self._periodic:
            await self._commit.durable()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            await self._commit.close()
        finally:
            await self._close_store()

    async def _sync(self) -> None:
        # The extent is read first: writes that happen during the sync may not be covered by it.
        reached = self._store.extent()
        await self._store.sync()
        self._durable_extent = reached

    async def _close_store(self) -> None:
        try:
            await self._store.close()
        except StorageFailed:
            if self.failed is None:  # otherwise the owner has received the failure already
                raise

    def _held(self, keys: Sequence[bytes]) -> list[Entry | None]:
        self._raise_if_closed()
        rows = self._reads.held([stored_key(key) for key in keys])
        return [None if packed is None else entry_in(packed) for packed in rows]

    def _merge(
        self, entries: Sequence[tuple[bytes, Entry]], merged: dict[bytes, bytes], changes: Changes
    ) -> list[Version]:
        """Add the new rows to ``merged`` and the ledger's changes to ``changes``; return the versions then held."""
        versions = []
        keys = [stored_key(key) for key, _ in entries]
        for stored, (_, entry), held in zip(keys, entries, self._reads.held(keys), strict=True):
            before, after = merged.get(stored, held), pack(stored, entry)
            if before is not None and rank_in(before) >= rank_in(after):
                versions.append(version_in(before))
                continue
            merged[stored] = after
            self._note(changes, stored, before, after)
            versions.append(entry.version)
        return versions

    def _note(self, changes: Changes, stored: bytes, before: bytes | None, after: bytes | None) -> None:
        """Add to ``changes`` how the ledger changes when the row ``after`` replaces ``before``; None for no row."""
        number = segment_in(stored)
        summary = changes.summaries.get(number, self._ledger.summaries[number])
        changes.summaries[number] = replace_row(summary, stored, before, after)

    def _take_space(self, entries: Sequence[tuple[bytes, Entry]]) -> None:
        if entries:
            self._space.take(sum([len(key) + len(entry.value or b"") for key, entry in entries]))

    def _quarantine_segments(self, numbers: Collection[int], reason: str) -> None:
        changes = Changes(damaged=dict.fromkeys(numbers, reason))
        if self.failed is None:
            self._write(WriteBatch(), changes, None)
        else:
            self._ledger.apply(changes)  # nothing can be written, but reads must be refused

    def _write(
        self,
        batch: WriteBatch,
        changes: Changes,
        meta: Mapping[str, bytes | None] | None,
        *,
        touched: Collection[bytes] = (),
        ranges: Sequence[TokenRange] = (),
    ) -> None:
        """Write a batch and the changes of the ledger atomically.

        ``touched`` and ``ranges``: the stored keys and the ranges that the batch changes.
        """
        self._ledger.note(changes, batch)
        if meta:
            batch.named.extend([_named(name, value) for name, value in meta.items()])
        if batch.empty:
            return
        try:
            self._store.write(batch)
        except StorageFailed as error:
            self._commit.fail(error)
            raise
        number = self._commit.note_write()
        if not self._periodic:
            self._unsynced.add(number, [key_in(stored) for stored in touched], ranges)
        self._ledger.apply(changes)

    def _raise_if_refusing(self) -> None:
        self._raise_if_closed()
        self._commit.raise_if_failed()

    def _raise_if_closed(self) -> None:
        if self._closed:
            raise StorageFailed("the engine is closed")


def _keys_of(ranges: Sequence[TokenRange]) -> list[KeyRange]:
    return [keys for token_range in ranges for keys in key_ranges(token_range)]


def _latest(entries: Sequence[tuple[bytes, Entry]]) -> int:
    return max([entry.version.timestamp for _, entry in entries], default=0)


def _named(name: str, value: bytes | None) -> tuple[bytes, bytes | None]:
    encoded = name.encode()
    return encoded, None if value is None else pack_named(encoded, value)
