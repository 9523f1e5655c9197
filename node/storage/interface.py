"""The interface of a storage engine.

Reads and merges are synchronous: between an epoch check and the read or merge that follows it nothing else runs on the
event loop, so the epoch cannot change. Durability is awaited separately: ``durable()`` returns once everything merged
before the call is covered by an fsync, which many callers share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ...quorum.version import Version
from ...ring.tokens import TokenRange
from ..errors import Corruption, StorageFailed


class Entry(NamedTuple):
    """The version and value that a replica holds for a key. A tombstone has no value."""

    version: Version
    value: bytes | None

    @property
    def tombstone(self) -> bool:
        return self.value is None


class Cursor(NamedTuple):
    """A position in the scan of a range: the last key returned, and its token."""

    token: int
    key: bytes


@dataclass(frozen=True, slots=True)
class Chunk:
    """A bounded part of a range, in ring order from the range's beginning."""

    entries: tuple[tuple[bytes, Entry], ...]
    next: Cursor | None
    """Where to continue; None when the range is exhausted."""


@dataclass(frozen=True, slots=True)
class Usage:
    keys: int
    """Number of entries, without tombstones."""
    bytes: int
    """Length of the keys and values of all entries, tombstones included."""


@dataclass(frozen=True, slots=True)
class TombstonePage:
    """A bounded part of a range's tombstones, in ring order from the range's beginning."""

    entries: tuple[tuple[bytes, Version], ...]
    next: Cursor | None
    """Where to continue; None when the range is exhausted."""


class Engine(Protocol):
    """The storage of a replica. Only the node's event loop calls it.

    Besides the entries it keeps a summary of each segment of the token space (``segments``). A segment whose
    stored bytes were found damaged is in quarantine: every call that touches it raises Quarantined, until it is
    replaced or dropped as a whole.

    After a failed write or flush every change raises StorageFailed, while reads still work. Once the engine is closed,
    every call does.
    """

    @property
    def failed(self) -> StorageFailed | None:
        """The failure of a write or flush after which no change is accepted; None while there was none."""

    def get(self, key: bytes) -> Entry | None:
        """Return the entry held for ``key``. Raise Quarantined when its segment is damaged."""

    def get_many(self, keys: Sequence[bytes]) -> list[Entry | Corruption | None]:
        """Return what ``get`` returns for each key, at a lower cost; Quarantined is returned, not raised."""

    def merge(
        self, entries: Sequence[tuple[bytes, Entry]], meta: Mapping[str, bytes | None] | None = None
    ) -> list[Version]:
        """Store each entry that is newer than the one held for its key, and ``meta``, in one atomic batch.

        Returns for each entry the version that is now held. ``meta``: named values as in ``put_meta``. Raises
        Quarantined when the segment of a key is in quarantine, and DiskFull when there are entries and no space; then
        nothing has changed.
        """

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
        """Return entries of a range in ring order, tombstones included, at least one unless the range is exhausted.

        With ``prefix``, entries whose keys do not start with it are skipped. Since they are read, each counts as a
        sixteenth of an entry towards ``max_entries`` and in full towards ``max_bytes``, so a chunk may be empty though
        ``next`` is set. ``with_values=False`` returns b"" for each value; values are read and count nevertheless.
        Entries before one that cannot be read are returned first; the next call, from there, raises Quarantined.
        """

    def size(self, token_range: TokenRange) -> int:
        """Return an estimate of the bytes that a range holds; cheap."""

    def drop(self, ranges: Sequence[TokenRange], meta: Mapping[str, bytes | None] | None = None) -> None:
        """Delete every entry of the ranges, in one atomic batch with ``meta``.

        Segments that lie entirely in the ranges leave quarantine: they are known to be empty.
        """

    def replace(self, ranges: Sequence[TokenRange], entries: Sequence[tuple[bytes, Entry]]) -> None:
        """Put these entries, and no others, in the ranges, in one atomic batch.

        Segments that lie entirely in the ranges leave quarantine. Of entries of one key the newest counts.
        Raises ValueError for an entry outside the ranges, and DiskFull as ``merge`` does.
        """

    def digests(self, ranges: Sequence[TokenRange]) -> list[int]:
        """Return 64 bits for each range, equal on replicas that hold the same keys at the same versions in it.

        It is the XOR over the entries, so that the digests of disjoint ranges combine to that of their union; 0 when
        there are none. Cheap where a range covers entire segments. Raises Quarantined.
        """

    def tombstones(
        self, token_range: TokenRange, after: Cursor | None, up_to: int, max_entries: int
    ) -> TombstonePage:
        """Return tombstones of a range with version timestamps up to ``up_to``; visit only segments that have any.

        A page may be empty although ``next`` is set. Raises Quarantined.
        """

    def purge(self, tombstones: Sequence[tuple[bytes, Version]]) -> int:
        """Delete each key whose entry is exactly that tombstone, in one atomic batch; return their number.

        Raises Quarantined, without a change, when a key is in quarantine.
        """

    def latest_timestamp(self) -> int:
        """Return the highest version timestamp ever merged, also if its entry is gone."""

    def quarantine(self, numbers: Sequence[int], reason: str) -> None:
        """Put segments in quarantine, where they stay over restarts."""

    def quarantined(self) -> tuple[int, ...]:
        """Return the segments in quarantine."""

    def watch_quarantine(self, watcher: Callable[[tuple[int, ...], str], None]) -> None:
        """Call ``watcher`` with the numbers of segments that enter quarantine from now on, and the reason."""

    def needs_restart(self) -> bool:
        """Return whether damage remains until the next opening; healed segments fail again until then."""

    def disk_full(self) -> bool:
        """Return whether entries are refused for lack of space, as last checked."""

    def check_free_space(self) -> None:
        """Check the free space now; the engine also checks after every MiB written."""

    def verify(self, number: int, step_bytes: int) -> Iterator[None]:
        """Check a segment's entries and its summary; put it in quarantine when they do not match.

        Nothing is done before the iterator is advanced; each step reads about ``step_bytes``, where short entries count
        as 1 KiB.
        """

    def get_meta(self, name: str) -> bytes | None:
        """Return a named value (agreement state, handoff cursors)."""

    def put_meta(self, meta: Mapping[str, bytes | None]) -> None:
        """Set (None: delete) named values in one atomic batch."""

    def get_row(self, name: bytes) -> bytes | None:
        """Return a row kept beside the entries, for components with many rows (hints); stored without a checksum."""

    def rows(self, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Yield rows whose names start with ``prefix``, ascending, from the name after ``after`` on.

        Read them before the next change.
        """

    def put_rows(self, rows: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Set (None: delete) rows in one atomic batch. Their names must not be UTF-8, which named values' are."""

    def drop_rows(self, prefix: bytes) -> None:
        """Delete all rows whose names start with ``prefix`` by one range deletion."""

    def extent(self) -> int:
        """Return how far the data that is certainly on disk goes: it never decreases, over restarts and crashes too.

        It covers every batch that ``durable`` has returned for. Only a disk that lost something, or was set back to
        an older copy, opens with less than it once reported.
        """

    def usage(self) -> Usage: ...

    def is_durable(self, key: bytes) -> bool:
        """Return whether what ``get`` returns for the key is covered by an fsync already.

        Always true under ``periodic``.
        """

    def is_durable_within(self, token_range: TokenRange) -> bool:
        """Return whether what ``scan`` returns of the range is; false also when that would be slow to determine."""

    async def durable(self, *, always: bool = False) -> None:
        """Return once everything merged before is fsynced. Under ``periodic`` return at once unless ``always``."""

    async def close(self) -> None:
        """Flush and close the files; a second call does nothing. Raise StorageFailed if that flush fails."""
