"""The engine, over any store: what versions, checksums, usage and durability mean is said here, once.

What must hold:
- An entry gives way only to a newer version, whichever comes first.
- Every change is one batch of the store: entries, the usage they add up to, and named values together.
- Under ``sync``, nothing counts as durable before a flush that began after its batch has ended.
- After a failed write or flush the engine changes nothing more; it still reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

from ...ring.span import Span
from ..errors import StorageFailed
from ..quorum.version import Version
from .commit import GroupCommit
from .encoding import key_in, measure, pack, pack_named, stored_key, stretches, token_in, unpack, unpack_named
from .engine import Chunk, Cursor, Entry, Usage
from .scan import gather
from .store import Batch, Store
from .unsynced import Unsynced
from .usage import (
    NAME_PREFIX,
    NOTHING,
    Count,
    UsageBySlice,
    count_of,
    named_values,
    slice_of,
    slice_stretch,
    touched_by,
)

Durability = Literal["sync", "periodic"]
FLUSH_INTERVAL_S = 1.0
"""How old an unsynced write may grow under ``periodic``."""


class StoreEngine:
    """An ``Engine`` (see there); belongs to one event loop."""

    def __init__(
        self, store: Store, durability: Durability, on_failure: Callable[[StorageFailed], None]
    ) -> None:
        self._store = store
        self._periodic = durability == "periodic"
        self._unsynced = Unsynced()
        self._commit = GroupCommit(
            store.sync,
            interval_s=FLUSH_INTERVAL_S if self._periodic else None,
            on_synced=self._unsynced.synced,
            on_failure=on_failure,
        )
        self._usage = UsageBySlice.load(store.named_rows(NAME_PREFIX))
        self._closed = False

    @property
    def failed(self) -> StorageFailed | None:
        return self._commit.failed

    def get(self, key: bytes) -> Entry | None:
        self._raise_if_closed()
        return self._held(stored_key(key))

    def merge(
        self, entries: Sequence[tuple[bytes, Entry]], meta: Mapping[str, bytes | None] | None = None
    ) -> list[Version]:
        self._raise_if_refusing()
        merged: dict[bytes, Entry] = {}
        changes: dict[int, Count] = {}
        standing = [self._merge_one(key, entry, merged, changes) for key, entry in entries]
        puts = [(stored, pack(stored, entry)) for stored, entry in merged.items()]
        self._write(Batch(puts=puts), changes, meta, keys=[key_in(stored) for stored in merged])
        return standing

    def scan(
        self, span: Span, after: Cursor | None, max_entries: int, max_bytes: int, prefix: bytes = b""
    ) -> Chunk:
        self._raise_if_closed()
        return gather(self._store, span, after, max_entries, max_bytes, prefix)

    def size(self, span: Span) -> int:
        self._raise_if_closed()
        return self._usage.size(span)

    def drop(self, spans: Sequence[Span], meta: Mapping[str, bytes | None] | None = None) -> None:
        self._raise_if_refusing()
        touched = touched_by(spans)
        changes = {number: NOTHING for number in touched.whole if self._usage[number] != NOTHING}
        changes |= {number: self._count_outside(number, spans) for number in touched.cut}
        erased = [stretch for span in spans for stretch in stretches(span)]
        self._write(Batch(erased=erased), changes, meta, spans=spans)

    def get_meta(self, name: str) -> bytes | None:
        self._raise_if_closed()
        packed = self._store.read_named(name.encode())
        return None if packed is None else unpack_named(name.encode(), packed)

    def put_meta(self, meta: Mapping[str, bytes | None]) -> None:
        self._raise_if_refusing()
        self._write(Batch(), {}, meta)

    def get_row(self, name: bytes) -> bytes | None:
        self._raise_if_closed()
        return self._store.read_named(name)

    def rows(self, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        self._raise_if_closed()
        return self._store.named_rows(prefix, after)

    def put_rows(self, rows: Sequence[tuple[bytes, bytes | None]]) -> None:
        self._raise_if_refusing()
        self._write(Batch(named=list(rows)), {}, None)

    def usage(self) -> Usage:
        return self._usage.total

    def is_durable(self, key: bytes) -> bool:
        self._raise_if_closed()
        return self._periodic or key not in self._unsynced

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

    async def _close_store(self) -> None:
        try:
            await self._store.close()
        except StorageFailed:
            if self.failed is None:  # else its owner knows already, and closes because of it
                raise

    def _held(self, stored: bytes) -> Entry | None:
        packed = self._store.read(stored)
        return None if packed is None else unpack(stored, packed)

    def _merge_one(
        self, key: bytes, entry: Entry, merged: dict[bytes, Entry], changes: dict[int, Count]
    ) -> Version:
        """Note in ``merged`` and ``changes`` what an entry alters; returns the version that then stands."""
        stored = stored_key(key)
        held = merged.get(stored) or self._held(stored)
        if held is not None and held.version >= entry.version:
            return held.version
        merged[stored] = entry
        number = slice_of(token_in(stored))
        count = changes.get(number, self._usage[number])
        changes[number] = count.plus(count_of(key, entry)).minus(count_of(key, held))
        return entry.version

    def _count_outside(self, number: int, spans: Sequence[Span]) -> Count:
        """What of a slice lies in none of the spans."""
        count = NOTHING
        for stored, packed in self._store.rows(slice_stretch(number)):
            if not any(span.contains(token_in(stored)) for span in spans):
                has_value, size_bytes = measure(stored, packed)
                count = count.plus(Count(int(has_value), size_bytes))
        return count

    def _write(
        self,
        batch: Batch,
        changes: Mapping[int, Count],
        meta: Mapping[str, bytes | None] | None,
        *,
        keys: Sequence[bytes] = (),
        spans: Sequence[Span] = (),
    ) -> None:
        batch.named.extend(named_values(changes))
        batch.named.extend(_named(name, value) for name, value in (meta or {}).items())
        if batch.empty:
            return
        try:
            self._store.write(batch)
        except StorageFailed as error:
            self._commit.fail(error)
            raise
        self._usage.apply(changes)
        number = self._commit.wrote()
        if not self._periodic:
            self._unsynced.add(number, keys, spans)

    def _raise_if_refusing(self) -> None:
        self._raise_if_closed()
        self._commit.raise_if_failed()

    def _raise_if_closed(self) -> None:
        if self._closed:
            raise StorageFailed("the engine is closed")


def _named(name: str, value: bytes | None) -> tuple[bytes, bytes | None]:
    encoded = name.encode()
    return encoded, None if value is None else pack_named(encoded, value)
