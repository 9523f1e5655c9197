"""The engine on RocksDB.

How RocksDB is used, and why:
- A write reaches the operating system before ``write`` returns (no manual log flushing), so it survives a crash of the
  process; ``flush_wal`` then makes it survive a power failure. Recovery syncs the log that it replays into table files,
  so all data found at an opening is durable, even data that a killed process had not synced.
- Recovery drops an incomplete record at the end of the log, and fails if an earlier record is damaged. (RocksDB's
  default silently drops all records after the damage.)
- Entries and named values are flushed to table files atomically, so that neither is ever newer than the other.
- The extent of the data is RocksDB's sequence number, which every write raises and recovery restores. A rewritten
  database continues the count of the old one.
- A damaged table file is not repaired in place: the database is rewritten at the next opening (``salvage``).
- A scan checks the iterator's status at its end, since RocksDB ends an iteration early at a damaged block.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import rocksdict
from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    ReadOptions,
)

from ..errors import Corruption, StorageFailed
from .encoding import TOKEN_BYTES, KeyRange, following
from .engine import Durability, StoreEngine
from .salvage import extent_before, request_salvage, salvage_if_requested
from .store import Row, Store, WriteBatch

_MIB = 1 << 20
_BLOCK_CACHE_BYTES = 16 * _MIB
"""A cache twice as large serves 300,000 keys no faster, since the system's page cache holds the remaining blocks."""
_BLOCK_BYTES = 4096
_BLOCK_RESTART_INTERVAL = 4
"""Maximum number of rows that a lookup in a block scans. Small, since prefix compression saves little: keys begin with
tokens."""
_MEMTABLE_BYTES = 4 * _MIB
"""About the size of a core's cache: insertions into a memtable of 16 MiB cost twice as much."""
_MEMTABLES = 8
_MEMTABLE_BLOOM_RATIO = 0.02
_WRITES_SLOWED_AT_FILES = 80
"""Number of table files waiting for compaction (320 MiB) at which RocksDB slows writes, which blocks the event loop."""
_FIRST_LEVEL_BYTES = 64 * _MIB
"""A few times the size of four memtables: these are compacted into the level at once, which rewrites all of it."""
_LOG_BYTES = 64 * _MIB
_OPEN_TABLES = 128
_NAMED = "meta"
_DATA_LOSS_ADVICE = (
    " (what was written last may be lost: start the node on an empty data folder; the cluster then replaces the old "
    "node by it and gives it its data)"
)
_LAST_TOKEN = KeyRange(b"\xff" * TOKEN_BYTES, None)


class RocksEngine(StoreEngine):
    """An engine whose store is a RocksDB database."""

    @classmethod
    def open(
        cls,
        path: Path,
        durability: Durability = "sync",
        on_failure: Callable[[StorageFailed], None] = lambda error: None,
        *,
        reserve_bytes: int = 0,
        open_tables: int = _OPEN_TABLES,
    ) -> RocksEngine:
        """Open or create the database in the folder ``path``; first rewrite it if it was found damaged.

        ``reserve_bytes``: with less free space than this, entries are refused; 0 for no limit.
        ``open_tables``: maximum number of table files that are kept open.

        Raises Corruption when synced data is damaged, StorageFailed for any other error.
        """
        try:
            salvage_if_requested(path, open_store)
        except OSError as error:
            raise StorageFailed(f"cannot rewrite {path}: {error.strerror}") from error
        return cls(RocksStore(path, open_tables), durability, on_failure, reserve_bytes=reserve_bytes)


class RocksStore:
    """A ``Store`` in a RocksDB database. Syncs run in a thread, all other calls in the caller's."""

    def __init__(self, path: Path, open_tables: int = _OPEN_TABLES) -> None:
        self._path = path
        self.needs_rewrite = False
        try:
            cache = Cache.new_hyper_clock_cache(_BLOCK_CACHE_BYTES, _BLOCK_BYTES)
            self._entries = Rdict(
                str(path), _entry_options(cache, open_tables), {_NAMED: _options(cache, open_tables)}
            )
            self._named = self._entries.get_column_family(_NAMED)
            self._named_handle = self._entries.get_column_family_handle(_NAMED)
        except Exception as error:
            raise _failure(
                error, f"cannot open {path}{_DATA_LOSS_ADVICE if _is_corruption(error) else ''}"
            ) from error
        self._extent_before = extent_before(self)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="covey-fsync")

    def read(self, key: bytes) -> bytes | None:
        try:
            return _read(self._entries, key)
        except Corruption:
            self._note_damage()
            raise

    def read_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        try:
            rows: list[bytes | None] = self._entries.get(list(keys)) or []
        except Exception as error:
            raise _failure(error, f"cannot read {len(keys)} keys") from error
        return rows

    def rows(self, keys: KeyRange) -> Iterator[Row]:
        try:
            yield from _rows(self._entries, keys)
        except Corruption:
            self._note_damage()
            raise

    def snapshot(self, keys: KeyRange) -> Iterator[Row]:
        return self.rows(keys)  # an iterator of RocksDB reads from a snapshot

    def read_named(self, name: bytes) -> bytes | None:
        return _read(self._named, name)

    def named_rows(self, prefix: bytes, after: bytes = b"") -> Iterator[Row]:
        for name, value in _rows(self._named, KeyRange(max(prefix, following(after)), None)):
            if not name.startswith(prefix):
                return
            yield name, value

    def write(self, batch: WriteBatch) -> None:
        changes = rocksdict.WriteBatch(raw_mode=True)
        for keys in batch.deleted_ranges:
            self._delete_range(changes, keys)
        for key in batch.deleted:
            changes.delete(key)
        put = changes.put
        for key, value in batch.puts:
            put(key, value)
        for keys in batch.deleted_name_ranges:
            assert keys.end is not None, "RocksDB requires an end, and ranges of names have one"
            changes.delete_range(keys.begin, keys.end, self._named_handle)
        handle = self._named_handle
        for name, named in batch.named:
            if named is None:
                changes.delete(name, handle)
            else:
                put(name, named, handle)
        try:
            self._entries.write(changes)
        except Exception as error:
            if _is_corruption(error):
                self._note_damage()
            raise _failure(error, "cannot write") from error

    def free_bytes(self) -> int:
        try:
            disk = os.statvfs(self._path)
        except OSError as error:
            raise StorageFailed(f"cannot look at {self._path}: {error.strerror}") from error
        return disk.f_bavail * disk.f_frsize

    def extent(self) -> int:
        number: int = self._entries.latest_sequence_number()
        return self._extent_before + number

    async def sync(self) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._worker, self._entries.flush_wal, True)
        except Exception as error:
            raise _failure(error, "cannot sync") from error

    def sync_now(self) -> None:
        try:
            self._entries.flush_wal(True)
        except Exception as error:
            raise _failure(error, "cannot sync") from error

    async def close(self) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._worker, self._close)
        finally:
            self._worker.shutdown()

    def _note_damage(self) -> None:
        """Request that the database is rewritten at its next opening."""
        if not self.needs_rewrite:
            self.needs_rewrite = True
            request_salvage(self._path)

    def _delete_range(self, changes: rocksdict.WriteBatch, keys: KeyRange) -> None:
        if keys.end is not None:
            changes.delete_range(keys.begin, keys.end)
            return
        # RocksDB requires an end, and none exists after the last token: keys of that token are deleted one by one.
        changes.delete_range(keys.begin, _LAST_TOKEN.begin)
        for key, _ in self.rows(_LAST_TOKEN):
            changes.delete(key)

    def close_now(self) -> None:
        self._worker.shutdown()
        self._close()

    def _close(self) -> None:
        try:
            self._named.close()
            self._entries.close()
        except Exception as error:
            raise _failure(error, "cannot close") from error
        finally:
            # RocksDB releases its lock on the folder only when the last handle is deleted.
            del self._named_handle, self._named, self._entries


@contextmanager
def open_store(path: Path) -> Iterator[Store]:
    """Open a store without an engine; everything written is on disk when the context ends without an error."""
    store = RocksStore(path)
    try:
        yield store
        store.sync_now()
    finally:
        store.close_now()


def _read(rows: Rdict, key: bytes) -> bytes | None:
    try:
        value: bytes | None = rows.get(key)
    except Exception as error:
        raise _failure(error, f"cannot read {key!r}") from error
    return value


def _rows(rows: Rdict, keys: KeyRange) -> Iterator[Row]:
    bounds = ReadOptions()
    if keys.end is not None:
        bounds.set_iterate_upper_bound(keys.end)
    try:
        found = rows.iter(bounds)
        found.seek(keys.begin)
        while found.valid():
            yield found.key(), found.value()
            found.next()
        found.status()
    except Exception as error:
        raise _failure(error, f"cannot scan from {keys.begin!r}") from error


def _is_corruption(error: Exception) -> bool:
    return str(error).startswith("Corruption")


def _failure(error: Exception, what: str) -> StorageFailed:
    """Translate RocksDB's error, for which the binding raises ``Exception`` itself; raise any other, which is a bug."""
    if type(error) is not Exception:
        raise error
    kind = Corruption if _is_corruption(error) else StorageFailed
    return kind(f"{what}: {error}")


def _options(cache: Cache, open_tables: int) -> Options:
    """Return options with which a node uses about 50 MiB of memory under full load."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.create_missing_column_families(True)
    options.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
    options.set_atomic_flush(True)
    options.set_write_buffer_size(_MEMTABLE_BYTES)
    options.set_max_write_buffer_number(_MEMTABLES)
    options.set_max_bytes_for_level_base(_FIRST_LEVEL_BYTES)
    options.set_level_zero_slowdown_writes_trigger(_WRITES_SLOWED_AT_FILES)
    options.set_level_zero_stop_writes_trigger(2 * _WRITES_SLOWED_AT_FILES)
    options.set_max_total_wal_size(_LOG_BYTES)
    options.set_max_open_files(open_tables)
    options.set_max_background_jobs(2)
    options.set_max_file_opening_threads(1)
    options.set_bytes_per_sync(_MIB)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_block_based_table_factory(_table_options(cache))
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(_MIB)
    options.set_stats_dump_period_sec(0)
    options.set_stats_persist_period_sec(0)
    return options


def _entry_options(cache: Cache, open_tables: int) -> Options:
    """Return options for entries. A Bloom filter serves writes, whose keys are looked up and rarely in a memtable."""
    options = _options(cache, open_tables)
    options.set_memtable_whole_key_filtering(True)
    options.set_memtable_prefix_bloom_ratio(_MEMTABLE_BLOOM_RATIO)
    return options


def _table_options(cache: Cache) -> BlockBasedOptions:
    tables = BlockBasedOptions()
    tables.set_block_cache(cache)
    tables.set_block_size(_BLOCK_BYTES)
    tables.set_block_restart_interval(_BLOCK_RESTART_INTERVAL)
    tables.set_cache_index_and_filter_blocks(True)
    tables.set_pin_l0_filter_and_index_blocks_in_cache(True)
    tables.set_bloom_filter(10, False)
    return tables
