"""Salvage: rewriting a database that RocksDB cannot read completely any more.

A damaged block stays in its table file: reads near it fail again and again, and so does compaction, which would drop
it. So, at the next opening, everything readable is copied into a new database. Unreadable entries are left out, and
their segments are put in quarantine in the new database before it replaces the old one. The named values must all be
readable: without them the node loses its identity.

The new database continues the sequence number of the old one, so that its extent never decreases.

The new database is written to a folder within the old one's, whose existence means that there is data of this node, and
replaces it file by file. Each step can be repeated, so a crash at any point leaves the old or the new database intact.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from ..errors import Corruption
from .encoding import KeyRange, pack_named, unpack_named
from .ledger import Changes, Ledger
from .segments import SEGMENTS, segment_key_range
from .store import Row, Store, WriteBatch

_REQUESTED = "DAMAGED"
"""Marks, within the database's folder, that it must be rewritten at the next opening."""
_ASIDE = "salvaged"
_COMPLETE = "COMPLETE"
_MOVING = "MOVING"
_EXTENT_BEFORE = b"\xffextent"
"""The extent of the databases that this one replaced; absent if it is the first."""
_EXTENT = struct.Struct(">Q")
_BATCH_BYTES = 1 << 20
_UNREADABLE = "it could not be read when the database was rewritten"


def request_salvage(folder: Path) -> None:
    """Record on disk that the database in ``folder`` must be rewritten."""
    _mark(folder / _REQUESTED)


def salvage_if_requested(folder: Path, opened: Callable[[Path], AbstractContextManager[Store]]) -> None:
    """Rewrite the database in ``folder`` if it is damaged. Raise Corruption, StorageFailed and OSError.

    ``opened`` opens or creates a database; leaving its context syncs everything to disk.
    """
    aside = folder / _ASIDE
    if (folder / _REQUESTED).exists() and not (aside / _COMPLETE).exists():
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        with opened(folder) as old, opened(aside) as new:
            _copy(old, new)
        _mark(aside / _COMPLETE)
    if (aside / _COMPLETE).exists():
        _take_place(folder, aside)


def extent_before(store: Store) -> int:
    """Return the extent of the databases that this one replaced. Raise Corruption."""
    packed = store.read_named(_EXTENT_BEFORE)
    if packed is None:
        return 0
    (extent,) = _EXTENT.unpack(unpack_named(_EXTENT_BEFORE, packed))
    return int(extent)


def _copy(old: Store, new: Store) -> None:
    for batch in _batches(old.named_rows(b"")):
        new.write(WriteBatch(named=list(batch)))
    unreadable: dict[int, str] = {}
    for number in range(SEGMENTS):
        try:
            for batch in _batches(old.rows(segment_key_range(number))):
                new.write(WriteBatch(puts=batch))
        except Corruption:
            unreadable[number] = _UNREADABLE
            begin, end = segment_key_range(number)
            new.write(WriteBatch(deleted_ranges=[KeyRange(begin, end)]))
    ledger = Ledger.open(new)
    quarantine = WriteBatch()
    ledger.note(Changes(damaged=unreadable), quarantine)
    quarantine.named.append((_EXTENT_BEFORE, pack_named(_EXTENT_BEFORE, _EXTENT.pack(old.extent()))))
    new.write(quarantine)


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    size_bytes = 0
    for row in rows:
        batch.append(row)
        size_bytes += len(row[0]) + len(row[1])
        if size_bytes > _BATCH_BYTES:
            yield batch
            batch, size_bytes = [], 0
    yield batch


def _take_place(folder: Path, aside: Path) -> None:
    if not (aside / _MOVING).exists():
        for file in folder.iterdir():
            if file.is_file() and file.name != _REQUESTED:
                file.unlink()
        _sync(folder)  # otherwise an old log could reappear after a power failure, and be replayed
        _mark(aside / _MOVING)
    for file in sorted(aside.iterdir()):
        if file.name not in (_COMPLETE, _MOVING):
            file.replace(folder / file.name)
    _sync(folder)
    (folder / _REQUESTED).unlink(missing_ok=True)
    (aside / _COMPLETE).unlink()
    shutil.rmtree(aside)
    _sync(folder)


def _mark(file: Path) -> None:
    file.touch()
    _sync(file.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
