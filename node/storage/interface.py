"""What covey asks of a storage engine.

Reads and merges are plain calls that complete before they return, so that an epoch check and the step that
follows it cannot be separated (nothing else runs on the loop between them). Durability is awaited apart:
``durable()`` returns once everything merged before the call is covered by an fsync, many callers sharing one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ...quorum.version import Version
from ...ring.tokens import TokenRange
from ..errors import Corruption, StorageFailed


class Entry(NamedTuple):
    """What a replica holds for a key. A tombstone has no value."""

    version: Version
    value: bytes | None

    @property
    def tombstone(self) -> bool:
        return self.value is None


class Cursor(NamedTuple):
    """A place in a range's scan: the last key returned."""

    token: int
    key: bytes


@dataclass(frozen=True, slots=True)
class Chunk:
    """A bounded part of a range, in ring order from the range's beginning."""

    entries: tuple[tuple[bytes, Entry], ...]
    next: Cursor | None
    """Where to go on; None when the range is exhausted."""


@dataclass(frozen=True, slots=True)
class Usage:
    keys: int
    """Entries held, tombstones not counted."""
    bytes: int
    """Key and value bytes of all entries held."""


@dataclass(frozen=True, slots=True)
class TombstonePage:
    """A bounded part of a range's tombstones, in ring order from the range's beginning."""

    entries: tuple[tuple[bytes, Version], ...]
    next: Cursor | None
    """Where to go on; None when the range is exhausted."""


class Engine(Protocol):
    """A replica's disk. One caller: the node's event loop.

    Beside the entries it keeps a summary of each segment of the token space (``segments``). A segment whose
    stored bytes were found damaged is in quarantine: whatever touches it raises Quarantined, until it is
    replaced or dropped as a whole.

    Raises StorageFailed (``..errors``) when it cannot go on: after a failed write or flush it changes nothing
    more, though it still reads; once closed it does neither.
    """

    @property
    def failed(self) -> StorageFailed | None:
        """The failed write or flush after which nothing is accepted any more."""

    def get(self, key: bytes) -> Entry | None:
        """The entry held for ``key``; raises Quarantined rather than answering from a damaged segment."""

    def get_many(self, keys: Sequence[bytes]) -> list[Entry | Corruption | None]:
        """What ``get`` says of each key, at once and cheaper; errors for damage are returned, not raised."""

    def merge(
        self, entries: Sequence[tuple[bytes, Entry]], meta: Mapping[str, bytes | None] | None = None
    ) -> list[Version]:
        """Keep, for each key, the newer of what is held and what is given; one atomic batch with ``meta``.

        Returns for each entry the version that now stands. ``meta`` values of None delete. Raises Quarantined
        when a key is in quarantine, and DiskFull when there are entries and no space; nothing was done then.
        """

    def scan(
        self,
        span: TokenRange,
        after: Cursor | None,
        max_entries: int,
        max_bytes: int,
        prefix: bytes = b"",
        *,
        with_values: bool = True,
    ) -> Chunk:
        """Entries of a range in ring order, tombstones included, at least one unless the range is exhausted.

        With ``prefix``, entries whose keys do not start with it are passed over. They count a little towards
        ``max_entries`` and in full towards ``max_bytes``, since they are read, so that a chunk may be empty although
        ``next`` says where to go on. Without values, b"" stands for each; they are read and count all the same.
        Raises Quarantined rather than passing over anything it cannot read; what lies before that comes first.
        """

    def size(self, span: TokenRange) -> int:
        """About how many bytes a range holds; cheap, an estimate."""

    def drop(self, spans: Sequence[TokenRange], meta: Mapping[str, bytes | None] | None = None) -> None:
        """Delete every entry of the ranges, in one atomic batch with ``meta``.

        Segments that lie in the ranges as a whole leave quarantine: that nothing is held of them is known.
        """

    def replace(self, spans: Sequence[TokenRange], entries: Sequence[tuple[bytes, Entry]]) -> None:
        """Put these entries, and no others, in the ranges, in one atomic batch.

        Segments that lie in the ranges as a whole leave quarantine. Of entries of one key the newest counts.
        Raises ValueError for an entry outside the ranges, and DiskFull as ``merge`` does.
        """

    def digests(self, spans: Sequence[TokenRange]) -> list[int]:
        """64 bits for each range, equal on replicas that hold the same keys at the same versions in it.

        The XOR over its entries, so that the digests of disjoint ranges make that of all of them together; 0
        when there are none. Cheap where a range covers segments as a whole. Raises Quarantined.
        """

    def tombstones(
        self, span: TokenRange, after: Cursor | None, up_to: int, max_entries: int
    ) -> TombstonePage:
        """Tombstones of a range with version timestamps up to ``up_to``; visits only segments that have any.

        A page may be empty although ``next`` says where to go on. Raises Quarantined.
        """

    def purge(self, tombstones: Sequence[tuple[bytes, Version]]) -> int:
        """Delete each key whose entry is exactly that tombstone, in one atomic batch; returns how many were.

        Raises Quarantined, and has then done nothing, when a key is in quarantine.
        """

    def latest_timestamp(self) -> int:
        """The highest version timestamp ever merged, also if what had it is gone."""

    def quarantine(self, numbers: Sequence[int], reason: str) -> None:
        """Put segments in quarantine; it outlasts restarts."""

    def quarantined(self) -> tuple[int, ...]:
        """The segments in quarantine."""

    def watch_quarantine(self, watcher: Callable[[tuple[int, ...], str], None]) -> None:
        """Call ``watcher`` with the numbers of segments that go into quarantine from now on, and why."""

    def awaits_restart(self) -> bool:
        """Whether damage was found that only the next opening removes; until then no quarantine lasts healed."""

    def disk_full(self) -> bool:
        """Whether entries are refused for lack of space, when last looked at."""

    def look_at_space(self) -> None:
        """See how much space is free now; besides, every MiB that is written sees to it."""

    def verify(self, number: int, step_bytes: int) -> Iterator[None]:
        """Check a segment's entries and that they add up to its summary; else it goes into quarantine.

        Nothing is done before the iterator is advanced; each step reads about so many
        bytes, short entries counted as 1 KiB.
        """

    def get_meta(self, name: str) -> bytes | None:
        """A named value of the node's own (agreement state, handoff cursors)."""

    def put_meta(self, meta: Mapping[str, bytes | None]) -> None:
        """Set (None: delete) named values in one atomic batch."""

    def get_row(self, name: bytes) -> bytes | None:
        """A row kept beside the entries, for parts that keep many (hints); as it was put, without a checksum."""

    def rows(self, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Rows whose names start with ``prefix``, ascending, from the name after ``after`` on.

        To be read before the next change.
        """

    def put_rows(self, rows: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Set (None: delete) rows in one atomic batch. Their names must not be UTF-8, which named values' are."""

    def drop_rows(self, prefix: bytes) -> None:
        """Delete all rows whose names start with ``prefix``, read or not, so that nothing passes over them later."""

    def extent(self) -> int:
        """Return how far the data that is certainly on disk goes: it never decreases, over restarts and crashes too.

        It covers every batch that ``durable`` has returned for. Only a disk that lost something, or was set back to
        an older copy, opens with less than it once said.
        """

    def usage(self) -> Usage: ...

    def is_durable(self, key: bytes) -> bool:
        """Whether what ``get`` returns for the key is covered by an fsync already.

        Always true under ``periodic``.
        """

    def is_durable_within(self, span: TokenRange) -> bool:
        """Whether what ``scan`` returns of the range is; false also when that would take long to find out."""

    async def durable(self, *, always: bool = False) -> None:
        """Return once all merged so far is fsynced. Under ``periodic`` returns at once unless ``always``."""

    async def close(self) -> None:
        """Flush and let go of the files; a second call does nothing.

        Raises StorageFailed if that flush fails.
        """
