"""Salvage: rewriting a database with a damaged table file.

A damaged block remains in its table file: every read near it fails, and so does the compaction that would remove it.
So, at the next opening, all readable rows are copied to a new database. Segments with unreadable entries are left out,
and are in quarantine in the new database before it replaces the old one. All named values must be readable, since
without them the node loses its identity; if not, the opening fails.

The new database continues the sequence number of the old one, so that its extent never decreases.

The new database is written to a subfolder of the old one's folder and then replaces the old files one by one: the
folder itself must always exist, since a node without it counts as one without data. Each step can be repeated, so after
a crash at any point either the old or the new database is complete.
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
"""An empty file in the database's folder: it must be rewritten at the next opening."""
_NEW_FOLDER = "salvaged"
"""The subfolder with the new database."""
_COMPLETE = "COMPLETE"
"""An empty file in the subfolder: the new database is complete."""
_MOVING = "MOVING"
"""An empty file in the subfolder: the old files are deleted, and the new files are being moved."""
_EXTENT_BEFORE = b"\xffextent"
"""Name of the extent of the databases that this one replaced; absent if it is the first."""
_EXTENT = struct.Struct(">Q")
_BATCH_BYTES = 1 << 20
_UNREADABLE = "it could not be read when the database was rewritten"


def request_salvage(folder: Path) -> None:
    """Record on disk that the database in ``folder`` must be rewritten."""
    _mark(folder / _REQUESTED)


def salvage_if_requested(
    folder: Path, open_database: Callable[[Path], AbstractContextManager[Store]]
) -> None:
    """Rewrite the database in ``folder`` if it is damaged. Raise Corruption, StorageFailed and OSError.

    ``open_database`` opens or creates a database; leaving its context syncs everything to disk.
    """
    new_folder = folder / _NEW_FOLDER
    if (folder / _REQUESTED).exists() and not (new_folder / _COMPLETE).exists():
        shutil.rmtree(new_folder, ignore_errors=True)
        new_folder.mkdir()
        with open_database(folder) as old, open_database(new_folder) as new:
            _copy(old, new)
        _mark(new_folder / _COMPLETE)
    if (new_folder / _COMPLETE).exists():
        _replace_files(folder, new_folder)


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


def _replace_files(folder: Path, new_folder: Path) -> None:
    if not (new_folder / _MOVING).exists():
        for file in folder.iterdir():
            if file.is_file() and file.name != _REQUESTED:
                file.unlink()
        _sync(folder)  # or a power failure could restore an old log, which would be replayed
        _mark(new_folder / _MOVING)
    for file in sorted(new_folder.iterdir()):
        if file.name not in (_COMPLETE, _MOVING):
            file.replace(folder / file.name)
    _sync(folder)
    (folder / _REQUESTED).unlink(missing_ok=True)
    (new_folder / _COMPLETE).unlink()
    shutil.rmtree(new_folder)
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
