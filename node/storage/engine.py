"""What covey asks of a storage engine.

Reads and merges are plain calls that complete before they return, so that an epoch check and the step that
follows it cannot be separated (nothing else runs on the loop between them). Durability is awaited apart:
``durable()`` returns once everything merged before the call is covered by an fsync, many callers sharing one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ...ring.span import Span
from ..errors import StorageFailed
from ..quorum.version import Version

TokenRange = Span
"""The keys with ``after < token <= upto``; when ``after >= upto`` the range wraps past zero (equal: all)."""


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


class Engine(Protocol):
    """A replica's disk. One caller: the node's event loop.

    Raises StorageFailed (``..errors``) when it cannot go on: after a failed write or flush it changes nothing
    more, though it still reads; once closed it does neither.
    """

    @property
    def failed(self) -> StorageFailed | None:
        """The failed write or flush after which nothing is accepted any more."""

    def get(self, key: bytes) -> Entry | None:
        """The entry held for ``key``, verified against its checksum (Corruption otherwise)."""

    def merge(
        self, entries: Sequence[tuple[bytes, Entry]], meta: Mapping[str, bytes | None] | None = None
    ) -> list[Version]:
        """Keep, for each key, the newer of what is held and what is given; one atomic batch with ``meta``.

        Returns for each entry the version that now stands. ``meta`` values of None delete.
        """

    def scan(
        self,
        span: TokenRange,
        after: Cursor | None,
        max_entries: int,
        max_bytes: int,
        prefix: bytes = b"",
    ) -> Chunk:
        """Entries of a range in ring order, tombstones included, at least one unless the range is exhausted.

        With ``prefix``, entries whose keys do not start with it are passed over and count a little towards
        ``max_entries``, so that a chunk may be empty although ``next`` says where to go on.
        Raises Corruption rather than passing over anything it cannot read.
        """

    def size(self, span: TokenRange) -> int:
        """About how many bytes a range holds; cheap, an estimate."""

    def drop(self, spans: Sequence[TokenRange], meta: Mapping[str, bytes | None] | None = None) -> None:
        """Delete every entry of the ranges, in one atomic batch with ``meta``."""

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

    def usage(self) -> Usage: ...

    def is_durable(self, key: bytes) -> bool:
        """Whether what ``get`` returns for the key is covered by an fsync already.

        Always true under ``periodic``.
        """

    async def durable(self, *, always: bool = False) -> None:
        """Return once all merged so far is fsynced. Under ``periodic`` returns at once unless ``always``."""

    async def close(self) -> None:
        """Flush and let go of the files; a second call does nothing.

        Raises StorageFailed if that flush fails.
        """
