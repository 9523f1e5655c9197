"""Keeps the C library's allocator from holding on to memory that large values have used."""

from __future__ import annotations

import ctypes
from typing import Final

M_MMAP_THRESHOLD: Final = -3
M_ARENA_MAX: Final = -8
APART_BYTES: Final = 256 << 10
"""Blocks from this size on are mapped apart and given back to the system when they are freed. Left to itself, glibc
raises the threshold to the size of each such block that it frees, up to 32 MiB, and fragments its heaps."""
ARENAS: Final = 2
"""Number of heaps; the default is eight for each core, and each keeps the memory that it once had."""


def give_back_large_blocks() -> None:
    """Called before threads start; without effect where the C library is not glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, ARENAS)
        mallopt(M_MMAP_THRESHOLD, APART_BYTES)
