"""A node's data folder: whose it is, how often it was started, whom it knew, and where its engine lives.

Rules:
- One process at a time, by a lock that the operating system drops when the process dies.
- The identity is written before the engine's folder exists: data without an identity is never adopted, and an
  identity without data is given up for a new one, since a node must not vote or serve under an identity whose
  disk it does not have.
- Each opening has its own generation, on disk before anyone hears of it: versions are unique across restarts.
- Files are replaced whole (write aside, fsync, rename, fsync the folder): a crash leaves the old or the new.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from ..identity import Identity
from .errors import DataFolderError
from .json_file import BadJson, read_bounded, read_json

FORMAT = 3
"""Raised with every change that older versions of covey could not read.

Before 2, the engine kept counts and no digests for each segment; it makes the rows anew when it is opened. Before 3, it
had no journal of what the rows become.
"""

_FORMAT_FILE = "FORMAT"
_LOCK_FILE = "lock"
_IDENTITY_FILE = "identity.json"
_PEERS_FILE = "peers.json"
_ENGINE_FOLDER = "engine"
_GIVEN_UP_FOLDER = "engine.given-up"
"""Data that another cluster has in full; erased at the next opening if not at once."""
_ASIDE = ".new"
MAX_GENERATION = 0xFFFF_FFFF
"""Versions have 32 bits for it."""
MAX_FORMAT_DIGITS = 9
MAX_PEERS = 10_000
MAX_PEERS_BYTES = 4 << 20
MAX_ADDRESS_LENGTH = 512


class Home(Protocol):
    """What a node asks of its data folder; the simulator has one without files."""

    @property
    def identity(self) -> Identity: ...

    @property
    def generation(self) -> int:
        """+1 at each start, from 1."""

    def peers(self) -> dict[Identity, str]:
        """Where other nodes were when last heard of (host:port)."""

    def save_peers(self, addresses: Mapping[Identity, str]) -> None:
        """Replace what ``peers`` will say."""


class MemoryDataFolder:
    """A home that lasts as long as the object; ``restarted`` is the same disk under the next process."""

    def __init__(
        self, identity: Identity, generation: int = 1, addresses: Mapping[Identity, str] | None = None
    ) -> None:
        self.identity = identity
        self.generation = generation
        self._addresses = dict(addresses or {})

    def peers(self) -> dict[Identity, str]:
        return dict(self._addresses)

    def save_peers(self, addresses: Mapping[Identity, str]) -> None:
        self._addresses = dict(addresses)

    def restarted(self) -> MemoryDataFolder:
        return MemoryDataFolder(self.identity, self.generation + 1, self._addresses)


class DataFolder:
    """A ``Home`` on disk, held by this process until ``close``."""

    def __init__(self, path: Path, lock: int, identity: Identity, generation: int) -> None:
        self.path = path
        self.identity = identity
        self.generation = generation
        self._lock = lock
        self._saved = _read_peers(path)

    @classmethod
    def open(cls, path: Path, name: str, rng: random.Random | None = None) -> DataFolder:
        """Take the folder for the node ``name``, creating it if need be.

        ``rng`` draws the disk id of a new folder; the operating system's randomness unless given.
        Raises DataFolderError, which says what to do, when the folder cannot be this node's.
        """
        if path.exists() and not path.is_dir():
            raise DataFolderError(f"cannot use the data folder {path}: it is a file; choose another folder")
        try:
            _make_folder(path)
            lock = _take_lock(path)
            try:
                return cls(path, lock, *_start(path, name, rng or random.SystemRandom()))
            except BaseException:
                os.close(lock)
                raise
        except OSError as error:
            raise DataFolderError(f"cannot use the data folder {path}: {error.strerror}") from error

    @property
    def engine_path(self) -> Path:
        return self.path / _ENGINE_FOLDER

    def peers(self) -> dict[Identity, str]:
        return dict(self._saved)

    def save_peers(self, addresses: Mapping[Identity, str]) -> None:
        """Keep the addresses; blocks for an fsync if they differ from those kept. Raises DataFolderError."""
        if self._saved == addresses:
            return
        content = {str(identity): address for identity, address in sorted(addresses.items())}
        try:
            _replace(self.path / _PEERS_FILE, json.dumps(content, indent=1))
        except OSError as error:
            raise DataFolderError(f"cannot write to {self.path}: {error.strerror}") from error
        self._saved = dict(addresses)

    def give_up(self, addresses: Mapping[Identity, str], aside: str | None = None) -> None:
        """Part with the data, and so with the identity: the next opening is that of a new disk.

        ``addresses``: where the nodes are that it will look for. The data is erased, or kept under the name ``aside``.
        Whenever the process dies, the folder is left as it was or as a new disk's that knows these addresses. Blocks.
        Raises DataFolderError.
        """
        self.save_peers(addresses)
        try:
            if self.engine_path.is_dir():
                self.engine_path.rename(_unused(self.path / (aside or _GIVEN_UP_FOLDER)))
            _sync_folder(self.path)
        except OSError as error:
            raise DataFolderError(f"cannot write to {self.path}: {error.strerror}") from error
        _erase_given_up(self.path)

    def close(self) -> None:
        """Let another process have the folder; a second call does nothing."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _start(path: Path, name: str, rng: random.Random) -> tuple[Identity, int]:
    """Check that the folder can be ``name``'s, and begin its next generation."""
    _check_format(path)
    _erase_given_up(path)
    known = _read_identity(path)
    if known is not None and known[0].name != name:
        raise DataFolderError(
            f"the data folder {path} belongs to node {known[0].name!r}, not {name!r}: "
            f"start it as {known[0].name!r} or choose another folder"
        )
    if known is None or not (path / _ENGINE_FOLDER).is_dir():
        known = Identity(name, rng.getrandbits(64)), 0
    identity, generation = known
    _write_identity(path, identity, generation + 1)
    _make_folder(path / _ENGINE_FOLDER)
    return identity, generation + 1


def _unused(path: Path) -> Path:
    """``path``, or with a number behind it if something is there."""
    taken, number = path, 1
    while taken.exists():
        number += 1
        taken = path.with_name(f"{path.name}-{number}")
    return taken


def _erase_given_up(path: Path) -> None:
    for folder in path.glob(f"{_GIVEN_UP_FOLDER}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _take_lock(path: Path) -> int:
    lock = os.open(path / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
    except BlockingIOError as error:
        holder = os.pread(lock, 32, 0).decode() or "unknown"
        os.close(lock)
        raise DataFolderError(
            f"the data folder {path} is in use by process {holder}: stop it or choose another folder"
        ) from error
    except BaseException:
        os.close(lock)
        raise
    return lock


def _check_format(path: Path) -> None:
    """See that this version can read the folder; mark a new one."""
    text = _read_format(path)
    if text is None:
        _check_unused(path)
        _replace(path / _FORMAT_FILE, f"{FORMAT}\n")
    elif not (text.isascii() and text.isdecimal() and len(text) <= MAX_FORMAT_DIGITS):
        raise DataFolderError(f"{path / _FORMAT_FILE} is damaged: restore it or choose another folder")
    elif int(text) > FORMAT:
        raise DataFolderError(
            f"the data folder {path} was made by a newer version of covey (format {int(text)}, "
            f"this one reads up to {FORMAT}): upgrade covey or choose another folder"
        )
    elif int(text) < FORMAT:
        _replace(path / _FORMAT_FILE, f"{FORMAT}\n")


def _check_unused(path: Path) -> None:
    own = {_LOCK_FILE, _FORMAT_FILE + _ASIDE}
    if any(entry.name not in own for entry in path.iterdir()):
        raise DataFolderError(f"{path} holds other files and no covey data: choose an empty or new folder")


def _read_identity(path: Path) -> tuple[Identity, int] | None:
    try:
        content = read_json(path / _IDENTITY_FILE)
        identity, generation = Identity.parse(content["identity"]), content["generation"]
        if type(generation) is not int or not 1 <= generation <= MAX_GENERATION:
            raise BadJson(f"generation is {generation!r}, not from 1 to {MAX_GENERATION}")
    except FileNotFoundError:
        if (path / _ENGINE_FOLDER).exists():
            raise DataFolderError(
                f"{path / _IDENTITY_FILE} is missing though there is data: "
                "restore it or choose another folder"
            ) from None
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataFolderError(
            f"{path / _IDENTITY_FILE} is damaged: restore it or choose another folder{_because(error)}"
        ) from error
    if generation == MAX_GENERATION:
        raise DataFolderError(
            f"the data folder {path} cannot be started again: {generation} starts are all there can be; "
            "choose another folder, and the node joins as a new one"
        )
    return identity, generation


def _write_identity(path: Path, identity: Identity, generation: int) -> None:
    content = {"identity": str(identity), "generation": generation}
    _replace(path / _IDENTITY_FILE, json.dumps(content, indent=1))


def _read_peers(path: Path) -> dict[Identity, str]:
    try:
        content = read_json(path / _PEERS_FILE, MAX_PEERS_BYTES)
        if len(content) > MAX_PEERS:
            raise BadJson(f"it has {len(content)} members, and at most {MAX_PEERS} are read")
        return {Identity.parse(identity): _address(address) for identity, address in content.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        raise DataFolderError(
            f"{path / _PEERS_FILE} is damaged: delete it, and start with a seed's address{_because(error)}"
        ) from error


def _address(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_ADDRESS_LENGTH:
        raise BadJson("an address is a text of host:port")
    return value


def _because(error: Exception) -> str:
    """What exactly is wrong, for the end of a sentence; empty for what says nothing to people."""
    return f" ({error})" if isinstance(error, BadJson) else ""


def _read_format(path: Path) -> str | None:
    """The text of the format's file; one that is no number when it is damaged."""
    try:
        return read_bounded(path / _FORMAT_FILE, 100).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return None
    except BadJson:
        return "too long"


def _replace(path: Path, content: str) -> None:
    """Put a whole file in another's place, durably."""
    aside = path.with_name(path.name + _ASIDE)
    with aside.open("w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    _sync_folder(path.parent)


def _make_folder(path: Path) -> None:
    """Create a folder and those above it, durably."""
    if path.is_dir():
        return
    _make_folder(path.parent)
    path.mkdir(exist_ok=True)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
