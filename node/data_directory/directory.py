"""A node's data folder: whose it is, how often it was started, whom it knew, and where its engine lives.

Rules:
- One process at a time, by a lock that the operating system drops when the process dies.
- The identity is written before the engine's folder exists: data without an identity is never adopted, and an
  identity without data is given up for a new one, since a node must not vote or serve under an identity whose
  disk it does not have. Once the engine names the identity too, the folder is ``claimed``.
- A claimed folder that was copied or restored, or that a running node found to be set back, is in ``doubt`` until
  the node has found out; what is given up then is moved aside and never deleted.
- Each opening has its own generation, on disk before it is sent to any node: versions are unique across restarts.
- Files are replaced whole (write aside, fsync, rename, fsync the folder): a crash leaves the old or the new.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import random
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Protocol

from ...identity import Identity
from ...membership.extent import Extent
from ..config.json_file import BadJson, read_bounded, read_json
from ..errors import DataDirectoryError
from .durable_files import ASIDE, make_folder, replace_file, sync_folder
from .witness import Memory, read_witness, write_witness

FORMAT = 4
"""Raised with every change that older versions of covey could not read.

Before 2, the engine kept counts and no digests for each segment; it makes the rows anew when it is opened. Before 3, it
had no journal of what the rows become. Before 4, it did not name the identity whose data it is.
"""

_FORMAT_FILE = "FORMAT"
_LOCK_FILE = "lock"
_IDENTITY_FILE = "identity.json"
_PEERS_FILE = "peers.json"
_ENGINE_FOLDER = "engine"
_GIVEN_UP_FOLDER = "engine.given-up"
"""Data that another cluster has in full; erased at the next opening if not at once."""
_WITNESS_FILE = "witness.json"
_DOUBT_FILE = "DOUBT"
COPIED = "the data folder was copied or restored since its node last ran"
FORGIVEN_GENERATIONS = 1 << 16
"""Generations skipped by a start that accepts restored data: others may have heard of starts after the copy."""
MAX_GENERATION = 0xFFFF_FFFF
"""Highest generation: versions have 32 bits for it."""
MAX_FORMAT_DIGITS = 9
MAX_PEERS = 10_000
MAX_PEERS_BYTES = 4 << 20
MAX_ADDRESS_LENGTH = 512


class LocalState(Protocol):
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

    @property
    def claimed(self) -> bool:
        """Whether the engine was made to name the identity, at an earlier start or at this one."""

    @property
    def older(self) -> bool:
        """Whether it is from before engines named the identity, so that one may have held data under it."""

    @property
    def doubt(self) -> str:
        """Why it is in doubt that this is the disk the identity stands for; empty when it is not."""

    @property
    def forgiving(self) -> bool:
        """Whether an operator accepts the data as it is."""

    def claim(self) -> None:
        """Note that the engine names the identity, and that there is no doubt any more."""

    def condemn(self, reason: str) -> None:
        """Remember, over restarts, that the disk is in doubt."""

    def remembered(self) -> dict[Identity, tuple[Extent, ...]]:
        """Return what was heard of how far other members' data goes, when last saved."""

    async def save_remembered(self, remembered: Memory) -> None:
        """Replace what ``remembered`` will say, without holding up the event loop."""


class MemoryDataDirectory:
    """A home that lasts as long as the object; ``restarted`` is the same disk under the next process."""

    def __init__(
        self, identity: Identity, generation: int = 1, addresses: Mapping[Identity, str] | None = None
    ) -> None:
        self.identity = identity
        self.generation = generation
        self.claimed = self.older = self.forgiving = False
        self.doubt = ""
        self._addresses = dict(addresses or {})
        self._remembered: dict[Identity, tuple[Extent, ...]] = {}

    def claim(self) -> None:
        self.claimed, self.doubt = True, ""

    def condemn(self, reason: str) -> None:
        self.doubt = reason

    def remembered(self) -> dict[Identity, tuple[Extent, ...]]:
        return dict(self._remembered)

    async def save_remembered(self, remembered: Memory) -> None:
        self._remembered = dict(remembered)

    def peers(self) -> dict[Identity, str]:
        return dict(self._addresses)

    def save_peers(self, addresses: Mapping[Identity, str]) -> None:
        self._addresses = dict(addresses)

    def restarted(self) -> MemoryDataDirectory:
        return self._under(self.generation + 1)

    def copy(self) -> MemoryDataDirectory:
        """The folder as it is now, to be put back later: the next start finds what this one would."""
        return self._under(self.generation)

    def _under(self, generation: int) -> MemoryDataDirectory:
        folder = MemoryDataDirectory(self.identity, generation, self._addresses)
        folder.claimed, folder.doubt = self.claimed, self.doubt
        folder._remembered = dict(self._remembered)
        return folder


class DataDirectory:
    """A ``LocalState`` on disk, held by this process until ``close``."""

    def __init__(self, path: Path, lock: int, start: _Start) -> None:
        self.path = path
        self.identity = start.identity
        self.generation = start.generation
        self.claimed = start.claimed
        self.older = start.older
        self.doubt = start.doubt
        self.forgiving = start.forgiving
        self._lock = lock
        self._saved = _read_peers(path)
        self._remembered = read_witness(path / _WITNESS_FILE)[1]
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="covey-witness")

    @classmethod
    def open(
        cls, path: Path, name: str, rng: random.Random | None = None, *, accept_restored: bool = False
    ) -> DataDirectory:
        """Take the folder for the node ``name``, creating it if need be.

        ``rng`` draws the disk id of a new folder; the operating system's randomness unless given.
        ``accept_restored``: an operator vouches for a folder that is in doubt.
        Raises DataDirectoryError, which says what to do, when the folder cannot be this node's.
        """
        if path.exists() and not path.is_dir():
            raise DataDirectoryError(
                f"cannot use the data folder {path}: it is a file; choose another folder"
            )
        try:
            make_folder(path)
            lock = _take_lock(path)
            try:
                start = _start(path, name, rng or random.SystemRandom(), accept_restored)
                return cls(path, lock, start)
            except BaseException:
                os.close(lock)
                raise
        except OSError as error:
            raise DataDirectoryError(f"cannot use the data folder {path}: {error.strerror}") from error

    @property
    def engine_path(self) -> Path:
        return self.path / _ENGINE_FOLDER

    def peers(self) -> dict[Identity, str]:
        return dict(self._saved)

    def save_peers(self, addresses: Mapping[Identity, str]) -> None:
        """Keep the addresses; blocks for an fsync if they differ from those kept. Raises DataDirectoryError."""
        if self._saved == addresses:
            return
        content = {str(identity): address for identity, address in sorted(addresses.items())}
        try:
            replace_file(self.path / _PEERS_FILE, json.dumps(content, indent=1))
        except OSError as error:
            raise DataDirectoryError(f"cannot write to {self.path}: {error.strerror}") from error
        self._saved = dict(addresses)

    def give_up(self, addresses: Mapping[Identity, str], aside: str | None = None) -> None:
        """Part with the data, and so with the identity: the next opening is that of a new disk.

        ``addresses``: where the nodes are that it will look for. The data is erased, or kept under the name ``aside``.
        Whenever the process dies, the folder is left as it was or as a new disk's that knows these addresses. Blocks.
        Raises DataDirectoryError.
        """
        self.save_peers(addresses)
        try:
            if self.engine_path.is_dir():
                self.engine_path.rename(_unused(self.path / (aside or _GIVEN_UP_FOLDER)))
            sync_folder(self.path)
        except OSError as error:
            raise DataDirectoryError(f"cannot write to {self.path}: {error.strerror}") from error
        _erase_given_up(self.path)

    def claim(self) -> None:
        """Do what LocalState.claim describes; blocks for a few fsyncs. Raise DataDirectoryError on failure."""
        try:
            self._write_witness()
            if not self.claimed:
                _write_identity(self.path, _Start(self.identity, self.generation, claimed=True))
            (self.path / _DOUBT_FILE).unlink(missing_ok=True)
            sync_folder(self.path)
        except OSError as error:
            raise DataDirectoryError(f"cannot write to {self.path}: {error.strerror}") from error
        self.claimed, self.doubt = True, ""

    def condemn(self, reason: str) -> None:
        """Do what LocalState.condemn describes; blocks for an fsync. Raise DataDirectoryError on failure."""
        content = {"identity": str(self.identity), "reason": reason}
        try:
            replace_file(self.path / _DOUBT_FILE, json.dumps(content, indent=1))
        except OSError as error:
            raise DataDirectoryError(f"cannot write to {self.path}: {error.strerror}") from error
        self.doubt = reason

    def remembered(self) -> dict[Identity, tuple[Extent, ...]]:
        return dict(self._remembered)

    async def save_remembered(self, remembered: Memory) -> None:
        """Do what Home.save_remembered describes; one save at a time. Raise DataDirectoryError on failure."""
        self._remembered = dict(remembered)
        try:
            await asyncio.get_running_loop().run_in_executor(self._worker, self._write_witness)
        except OSError as error:
            raise DataDirectoryError(f"cannot write to {self.path}: {error.strerror}") from error

    def give_up_engine(self) -> Path:
        """Move the engine aside, so that the next opening draws a new disk id; returns where it is then.

        Raises DataDirectoryError.
        """
        aside = self.path / f"{_ENGINE_FOLDER}.{self.identity.disk_id:016x}"
        free = (aside.with_name(f"{aside.name}.{number}") if number else aside for number in range(1 << 16))
        try:
            moved = next(path for path in free if not path.exists())
            self.engine_path.rename(moved)
            sync_folder(self.path)
        except OSError as error:
            raise DataDirectoryError(f"cannot move {self.engine_path}: {error.strerror}") from error
        return moved

    def _write_witness(self) -> None:
        file = self.path / _WITNESS_FILE
        aside = file.with_name(file.name + ASIDE)
        write_witness(aside, self._remembered)
        aside.replace(file)
        sync_folder(self.path)

    def close(self) -> None:
        """Let another process have the folder; a second call does nothing."""
        self._worker.shutdown()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


class _Start(NamedTuple):
    """The state that an opening found and began."""

    identity: Identity
    generation: int
    claimed: bool = False
    older: bool = False
    doubt: str = ""
    forgiving: bool = False


def _start(path: Path, name: str, rng: random.Random, accept_restored: bool) -> _Start:
    """Check that the folder can be ``name``'s, and begin its next generation."""
    _check_format(path)
    _erase_given_up(path)
    known = _read_identity(path)
    if known is not None and known.identity.name != name:
        raise DataDirectoryError(
            f"the data folder {path} belongs to node {known.identity.name!r}, not {name!r}: "
            f"start it as {known.identity.name!r} or choose another folder"
        )
    if known is None or not (path / _ENGINE_FOLDER).is_dir():
        known = _Start(Identity(name, rng.getrandbits(64)), 0)
    doubt = _doubt(path, known.identity) if known.claimed else ""
    forgiving = accept_restored and bool(doubt)
    start = known._replace(
        generation=known.generation + (FORGIVEN_GENERATIONS if forgiving else 1),
        doubt="" if forgiving else doubt,
        forgiving=forgiving,
    )
    if start.generation > MAX_GENERATION:
        raise DataDirectoryError(f"{path} was opened too often: start the node on an empty data folder")
    _write_identity(path, start)
    make_folder(path / _ENGINE_FOLDER)
    return start


def _doubt(path: Path, identity: Identity) -> str:
    """Return why a claimed folder may not be the disk that its identity stands for; empty if nothing is wrong."""
    try:
        content = read_json(path / _DOUBT_FILE)
        if Identity.parse(content["identity"]) == identity:
            return str(content["reason"])
    except FileNotFoundError:
        pass
    except (ValueError, TypeError, KeyError, AttributeError):
        return f"{path / _DOUBT_FILE} is damaged"
    in_place, _ = read_witness(path / _WITNESS_FILE)
    return "" if in_place else COPIED


def _unused(path: Path) -> Path:
    """Return ``path``, with a number appended if it exists."""
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
        raise DataDirectoryError(
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
        replace_file(path / _FORMAT_FILE, f"{FORMAT}\n")
    elif not (text.isascii() and text.isdecimal() and len(text) <= MAX_FORMAT_DIGITS):
        raise DataDirectoryError(f"{path / _FORMAT_FILE} is damaged: restore it or choose another folder")
    elif int(text) > FORMAT:
        raise DataDirectoryError(
            f"the data folder {path} was made by a newer version of covey (format {int(text)}, "
            f"this one reads up to {FORMAT}): upgrade covey or choose another folder"
        )
    elif int(text) < FORMAT:
        replace_file(path / _FORMAT_FILE, f"{FORMAT}\n")


def _check_unused(path: Path) -> None:
    own = {_LOCK_FILE, _FORMAT_FILE + ASIDE}
    if any(entry.name not in own for entry in path.iterdir()):
        raise DataDirectoryError(f"{path} holds other files and no covey data: choose an empty or new folder")


def _read_identity(path: Path) -> _Start | None:
    try:
        content = read_json(path / _IDENTITY_FILE)
        identity, generation = Identity.parse(content["identity"]), content["generation"]
        if type(generation) is not int or not 1 <= generation <= MAX_GENERATION:
            raise BadJson(f"generation is {generation!r}, not from 1 to {MAX_GENERATION}")
        start = _Start(identity, generation, bool(content.get("claimed")), older="claimed" not in content)
    except FileNotFoundError:
        if (path / _ENGINE_FOLDER).exists():
            raise DataDirectoryError(
                f"{path / _IDENTITY_FILE} is missing though there is data: "
                "restore it or choose another folder"
            ) from None
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataDirectoryError(
            f"{path / _IDENTITY_FILE} is damaged: restore it or choose another folder{_because(error)}"
        ) from error
    if generation == MAX_GENERATION:
        raise DataDirectoryError(
            f"the data folder {path} cannot be started again: {generation} starts are all there can be; "
            "choose another folder, and the node joins as a new one"
        )
    return start


def _write_identity(path: Path, start: _Start) -> None:
    content: dict[str, object] = {"identity": str(start.identity), "generation": start.generation}
    if not start.older:  # until the engine names the identity: a crash before that leaves what was found
        content["claimed"] = start.claimed
    replace_file(path / _IDENTITY_FILE, json.dumps(content, indent=1))


def _read_peers(path: Path) -> dict[Identity, str]:
    try:
        content = read_json(path / _PEERS_FILE, MAX_PEERS_BYTES)
        if len(content) > MAX_PEERS:
            raise BadJson(f"it has {len(content)} members, and at most {MAX_PEERS} are read")
        return {Identity.parse(identity): _address(address) for identity, address in content.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        raise DataDirectoryError(
            f"{path / _PEERS_FILE} is damaged: delete it, and start with a seed's address{_because(error)}"
        ) from error


def _address(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_ADDRESS_LENGTH:
        raise BadJson("an address is a text of host:port")
    return value


def _because(error: Exception) -> str:
    """Return what exactly is wrong, for the end of a sentence; empty when the error has no readable text."""
    return f" ({error})" if isinstance(error, BadJson) else ""


def _read_format(path: Path) -> str | None:
    """The text of the format's file; one that is no number when it is damaged."""
    try:
        return read_bounded(path / _FORMAT_FILE, 100).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return None
    except BadJson:
        return "too long"
