"""Where a key lies on the ring."""

from __future__ import annotations

import mmh3

TOKEN_SPACE = 2**64
"""Tokens are 0 to TOKEN_SPACE - 1; after the last comes the first."""


def token_of(key: bytes) -> int:
    """A key's token: the first half of 128-bit MurmurHash3 (x64), unsigned."""
    return mmh3.hash64(key, seed=0, x64arch=True, signed=False)[0]
