"""A node's data folder: its identity, generation and known peers, and the folder of its engine.

Rules:
- One process at a time uses the folder. It holds a lock that the operating system releases when the process ends.
- ``opening`` lists the rules of identity and generation.
- Data that the node discards is moved aside; only data that another cluster has completely is deleted.
- Files are replaced atomically (write a new file, fsync it, rename it, fsync the folder), so that after a crash the
  file has either its old or its new content.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import random
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from ...identity import Identity
from ...membership.extent import Extent
from ..config.json_file import BadJson, read_json
from ..errors import DataDirectoryError
from .durable_files import ASIDE, make_folder, replace_file, sync_folder
from .opening import (
    DISCARDED_FOLDER,
    DOUBT_FILE,
    ENGINE_FOLDER,
    LOCK_FILE,
    WITNESS_FILE,
    DirectoryState,
    cause_of,
    delete_discarded,
    open_directory,
    write_identity,
)
from .witness import Memory, read_witness, write_witness

PEERS_FILE = "peers.json"
MAX_PEERS = 10_000
MAX_PEERS_BYTES = 4 << 20
MAX_ADDRESS_LENGTH = 512


class DataDirectory:
    """A ``LocalState`` on disk, locked by this process until ``close``. A failed write raises DataDirectoryError."""

    def __init__(self, path: Path, lock: int, state: DirectoryState) -> None:
        self.path = path
        self.identity = state.identity
        self.generation = state.generation
        self.claimed = state.claimed
        self.older = state.older
        self.doubt = state.doubt
        self.forgiving = state.forgiving
        self._lock = lock
        self._saved = _read_peers(path / PEERS_FILE)
        self._remembered = read_witness(path / WITNESS_FILE)[1]
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="covey-witness")

    @classmethod
    def open(
        cls, path: Path, name: str, rng: random.Random | None = None, *, accept_restored: bool = False
    ) -> DataDirectory:
        """Lock and open the folder of the node ``name``; create it if it does not exist.

        ``rng`` draws the disk id of a new folder; the operating system's randomness unless given.
        ``accept_restored``: an operator accepts the data of a folder that is in doubt.
        Raises DataDirectoryError, which gives the remedy, when the folder cannot be this node's.
        """
        if path.exists() and not path.is_dir():
            raise DataDirectoryError(
                f"cannot use the data folder {path}: it is a file; choose another folder"
            )
        try:
            make_folder(path)
            lock = _take_lock(path)
            try:
                state = open_directory(path, name, rng or random.SystemRandom(), accept_restored)
                return cls(path, lock, state)
            except BaseException:
                os.close(lock)
                raise
        except OSError as error:
            raise DataDirectoryError(f"cannot use the data folder {path}: {error.strerror}") from error

    @property
    def engine_path(self) -> Path:
        return self.path / ENGINE_FOLDER

    def peers(self) -> dict[Identity, str]:
        return dict(self._saved)

    def save_peers(self, addresses: Mapping[Identity, str]) -> None:
        """Save the addresses. Blocks for an fsync if they differ from those saved."""
        if self._saved == addresses:
            return
        content = {str(identity): address for identity, address in sorted(addresses.items())}
        with self._writing():
            replace_file(self.path / PEERS_FILE, json.dumps(content, indent=1))
        self._saved = dict(addresses)

    def discard_data(self, addresses: Mapping[Identity, str], aside: str | None = None) -> None:
        """Discard the data and with it the identity, so that the next opening draws a new identity. Blocks.

        ``addresses``: the nodes that the next process will contact. ``aside``: the name under which the data is kept;
        None to delete it. After a crash at any point either nothing has changed, or the identity is discarded and the
        addresses are saved.
        """
        self.save_peers(addresses)
        with self._writing():
            if self.engine_path.is_dir():
                self.engine_path.rename(_unused(self.path / (aside or DISCARDED_FOLDER)))
            sync_folder(self.path)
        delete_discarded(self.path)

    def set_engine_aside(self) -> Path:
        """Rename the engine's folder, so that the next opening draws a new disk id; return the new path."""
        moved = _unused(self.path / f"{ENGINE_FOLDER}.{self.identity.disk_id:016x}")
        with self._writing():
            self.engine_path.rename(moved)
            sync_folder(self.path)
        return moved

    def claim(self) -> None:
        """Record on disk that the folder is claimed and not in doubt. Blocks for a few fsyncs."""
        with self._writing():
            self._write_witness()
            if not self.claimed:
                write_identity(self.path, DirectoryState(self.identity, self.generation, claimed=True))
            (self.path / DOUBT_FILE).unlink(missing_ok=True)
            sync_folder(self.path)
        self.claimed, self.doubt = True, ""

    def record_doubt(self, reason: str) -> None:
        """Record on disk that the folder is in doubt. Blocks for an fsync."""
        content = {"identity": str(self.identity), "reason": reason}
        with self._writing():
            replace_file(self.path / DOUBT_FILE, json.dumps(content, indent=1))
        self.doubt = reason

    def remembered(self) -> dict[Identity, tuple[Extent, ...]]:
        return dict(self._remembered)

    async def save_remembered(self, remembered: Memory) -> None:
        """Save the extents in a worker thread, one save at a time."""
        self._remembered = dict(remembered)
        with self._writing():
            await asyncio.get_running_loop().run_in_executor(self._worker, self._write_witness)

    def close(self) -> None:
        """Release the folder for another process; a second call does nothing."""
        self._worker.shutdown()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _write_witness(self) -> None:
        file = self.path / WITNESS_FILE
        aside = file.with_name(file.name + ASIDE)
        write_witness(aside, self._remembered)
        aside.replace(file)
        sync_folder(self.path)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataDirectoryError(f"cannot write to {self.path}: {error.strerror}") from error


def _unused(path: Path) -> Path:
    """Return ``path``, with a number appended if it exists."""
    taken, number = path, 1
    while taken.exists():
        number += 1
        taken = path.with_name(f"{path.name}-{number}")
    return taken


def _take_lock(path: Path) -> int:
    lock = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
    except BlockingIOError as error:
        holder = os.pread(lock, 32, 0).decode() or "unknown"
        os.close(lock)
        raise DataDirectoryError(
            f"the data folder {path} is in use by process {holder}: stop it or choose another folder"
        ) from error
    except BaseException:
        os.close(lock)
        raise
    return lock


def _read_peers(file: Path) -> dict[Identity, str]:
    try:
        content = read_json(file, MAX_PEERS_BYTES)
        if len(content) > MAX_PEERS:
            raise BadJson(f"it has {len(content)} members, and at most {MAX_PEERS} are read")
        return {Identity.parse(identity): _address(address) for identity, address in content.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        raise DataDirectoryError(
            f"{file} is damaged: delete it, and start with a seed's address{cause_of(error)}"
        ) from error


def _address(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_ADDRESS_LENGTH:
        raise BadJson("an address is a text of host:port")
    return value
