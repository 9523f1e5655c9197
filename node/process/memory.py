"""Settings of the C library's allocator and of the garbage collector for a process that runs for a long time."""

from __future__ import annotations

import ctypes
import gc
from typing import Final

M_MMAP_THRESHOLD: Final = -3
M_ARENA_MAX: Final = -8
MMAP_THRESHOLD_BYTES: Final = 256 << 10
"""Blocks from this size on are mapped separately and returned to the system when they are freed. By default, glibc
raises the threshold to the size of each such block that it frees, up to 32 MiB, and fragments its heaps."""
MAX_ARENAS: Final = 2
"""Maximum number of heaps; glibc's default is eight for each core, and a heap rarely returns memory."""


def release_large_blocks() -> None:
    """Make the allocator return large blocks. Must be called before threads start; does nothing without glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, MAX_ARENAS)
        mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)


def freeze_startup_objects() -> None:
    """Exclude the objects that exist now from garbage collection, since they exist until the process ends.

    A collection that visits them takes tens of milliseconds, once or twice a second under load.
    """
    gc.unfreeze()  # this process may have run a node before
    gc.collect()
    gc.freeze()
