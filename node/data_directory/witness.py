"""The witness file of a data folder: shows whether the folder was copied, and stores other members' extents.

A copy of a folder has the same bytes in other inodes. So the file contains the number of the inode that it was written
to, and the inode's generation where the file system has one (ext4, XFS and Btrfs do): a file that is in another inode
is a copy. The file is replaced by a new one at each start and every few seconds while its content changes, so that a
copy that is restored into the original folder is recognised too. Moving the folder within its file system, changing
owners or modes, crashes and reboots do not change inodes.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...identity import Identity
from ...membership.extent import MAX_IDENTITIES, MAX_REMEMBERED, Extent

MAX_BYTES = 64 << 20
"""Maximum size of the file; a larger file was not written by covey."""
_FS_IOC_GETVERSION = 0x80087601
_INODE_GENERATION = struct.Struct("q")

Memory = Mapping[Identity, tuple[Extent, ...]]


def read_witness(file: Path) -> tuple[bool, dict[Identity, tuple[Extent, ...]]]:
    """Return whether the file is in the inode it was written to, and its extents; (False, {}) if it is unreadable."""
    try:
        with file.open("rb") as opened:
            place = _place_of(opened.fileno())
            content: dict[str, Any] = json.loads(opened.read(MAX_BYTES))
        remembered = {
            Identity.parse(identity): tuple(Extent(*map(int, extent)) for extent in extents[:MAX_REMEMBERED])
            for identity, extents in list(content["remembered"].items())[:MAX_IDENTITIES]
        }
        return content["place"] == place, remembered
    except FileNotFoundError:
        return False, {}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return False, {}


def write_witness(file: Path, remembered: Memory) -> None:
    """Write and sync a new file at ``file``, with which the caller replaces the old file. Raise OSError."""
    with file.open("w", encoding="utf-8") as opened:
        content = {
            "place": _place_of(opened.fileno()),
            "remembered": {str(identity): extents for identity, extents in sorted(remembered.items())},
        }
        opened.write(json.dumps(content))
        opened.flush()
        os.fsync(opened.fileno())


def _place_of(descriptor: int) -> list[int]:
    return [os.fstat(descriptor).st_ino, _inode_generation(descriptor)]


def _inode_generation(descriptor: int) -> int:
    """Return the generation of the inode; 0 where the file system has none."""
    try:
        (generation,) = _INODE_GENERATION.unpack(fcntl.ioctl(descriptor, _FS_IOC_GETVERSION, bytes(8)))
    except OSError:
        return 0
    return int(generation)
