"""Opening a data folder: checks that it can be this node's, and begins its next generation.

- The identity is written before the engine's folder is created. A folder with data but no identity is refused; an
  identity without data is replaced by a new one, since a node must not vote or serve under an identity whose disk it
  does not have. Once the engine has stored the identity too, the folder is ``claimed``.
- A claimed folder that was copied or restored, or whose data a running node found to be set back to an older copy, is
  in ``doubt`` until the node has decided whether this is the disk that belongs to the identity
  (``disk_identity.check``).
- Each opening has a new generation, which is on disk before it is sent to any node, so that versions, which contain it,
  are unique across restarts.
"""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import NamedTuple

from ...identity import Identity
from ..config.json_file import BadJson, read_bounded, read_json
from ..errors import DataDirectoryError
from .durable_files import ASIDE, make_folder, replace_file
from .witness import read_witness

FORMAT = 4
"""The number of the format, increased with every change that older versions of covey cannot read.

Before 2, the engine stored counts but no digests for each segment; such rows are replaced when the engine is opened.
Before 3, it had no journal of changed summaries. Before 4, it did not store the identity whose data it has.
"""

_FORMAT_FILE = "FORMAT"
LOCK_FILE = "lock"
_IDENTITY_FILE = "identity.json"
ENGINE_FOLDER = "engine"
DISCARDED_FOLDER = "engine.given-up"
"""Data that another cluster has completely; deleted at the latest at the next opening."""
WITNESS_FILE = "witness.json"
DOUBT_FILE = "DOUBT"
COPIED = "the data folder was copied or restored since its node last ran"
FORGIVEN_GENERATIONS = 1 << 16
"""Number of generations that a start that accepts restored data skips, since the original may have used generations
after the copy was made."""
MAX_GENERATION = 0xFFFF_FFFF
"""The maximum of the 32 bits that a version has for the generation."""
MAX_FORMAT_DIGITS = 9


class DirectoryState(NamedTuple):
    """The state that an opening found, and its new generation."""

    identity: Identity
    generation: int
    claimed: bool = False
    older: bool = False
    doubt: str = ""
    forgiving: bool = False


def open_directory(path: Path, name: str, rng: random.Random, accept_restored: bool) -> DirectoryState:
    """Check that the folder can be ``name``'s, and begin its next generation. Raise DataDirectoryError or OSError."""
    _check_format(path)
    delete_discarded(path)
    known = _read_identity(path)
    if known is not None and known.identity.name != name:
        raise DataDirectoryError(
            f"the data folder {path} belongs to node {known.identity.name!r}, not {name!r}: "
            f"start it as {known.identity.name!r} or choose another folder"
        )
    if known is None or not (path / ENGINE_FOLDER).is_dir():
        known = DirectoryState(Identity(name, rng.getrandbits(64)), 0)
    doubt = _doubt(path, known.identity) if known.claimed else ""
    forgiving = accept_restored and bool(doubt)
    state = known._replace(
        generation=known.generation + (FORGIVEN_GENERATIONS if forgiving else 1),
        doubt="" if forgiving else doubt,
        forgiving=forgiving,
    )
    if state.generation > MAX_GENERATION:
        raise DataDirectoryError(f"{path} was opened too often: start the node on an empty data folder")
    write_identity(path, state)
    make_folder(path / ENGINE_FOLDER)
    return state


def _doubt(path: Path, identity: Identity) -> str:
    """Return why a claimed folder may not be the disk that belongs to its identity; empty if there is no doubt."""
    try:
        content = read_json(path / DOUBT_FILE)
        if Identity.parse(content["identity"]) == identity:
            return str(content["reason"])
    except FileNotFoundError:
        pass
    except (ValueError, TypeError, KeyError, AttributeError):
        return f"{path / DOUBT_FILE} is damaged"
    in_place, _ = read_witness(path / WITNESS_FILE)
    return "" if in_place else COPIED


def delete_discarded(path: Path) -> None:
    for folder in path.glob(f"{DISCARDED_FOLDER}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _check_format(path: Path) -> None:
    """Check that this version can read the folder; write the format to a new one."""
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


def _read_format(path: Path) -> str | None:
    """Return the text of the format file, which is not a number if it is damaged; None if there is no such file."""
    try:
        return read_bounded(path / _FORMAT_FILE, 100).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return None
    except BadJson:
        return "too long"


def _check_unused(path: Path) -> None:
    own = {LOCK_FILE, _FORMAT_FILE + ASIDE}
    if any(entry.name not in own for entry in path.iterdir()):
        raise DataDirectoryError(f"{path} holds other files and no covey data: choose an empty or new folder")


def _read_identity(path: Path) -> DirectoryState | None:
    try:
        content = read_json(path / _IDENTITY_FILE)
        identity, generation = Identity.parse(content["identity"]), content["generation"]
        if type(generation) is not int or not 1 <= generation <= MAX_GENERATION:
            raise BadJson(f"generation is {generation!r}, not from 1 to {MAX_GENERATION}")
        state = DirectoryState(
            identity, generation, bool(content.get("claimed")), older="claimed" not in content
        )
    except FileNotFoundError:
        if (path / ENGINE_FOLDER).exists():
            raise DataDirectoryError(
                f"{path / _IDENTITY_FILE} is missing though there is data: "
                "restore it or choose another folder"
            ) from None
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataDirectoryError(
            f"{path / _IDENTITY_FILE} is damaged: restore it or choose another folder{cause_of(error)}"
        ) from error
    if generation == MAX_GENERATION:
        raise DataDirectoryError(
            f"the data folder {path} cannot be started again: {generation} starts are all there can be; "
            "choose another folder, and the node joins as a new one"
        )
    return state


def write_identity(path: Path, state: DirectoryState) -> None:
    content: dict[str, object] = {"identity": str(state.identity), "generation": state.generation}
    if not state.older:  # "claimed" is added by DataDirectory.claim, once the engine has stored the identity
        content["claimed"] = state.claimed
    replace_file(path / _IDENTITY_FILE, json.dumps(content, indent=1))


def cause_of(error: Exception) -> str:
    """Return the detail of an error, for the end of a sentence; empty when it has no readable text."""
    return f" ({error})" if isinstance(error, BadJson) else ""
