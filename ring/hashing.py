"""Where a key lies on the ring."""

from __future__ import annotations

from mmh3 import mmh3_x64_128_digest, mmh3_x64_128_utupledigest

TOKEN_SPACE = 2**64
"""Tokens are 0 to TOKEN_SPACE - 1; after the last comes the first."""


def token_of(key: bytes) -> int:
    """A key's token: the first half of 128-bit MurmurHash3 (x64), unsigned."""
    return mmh3_x64_128_utupledigest(key)[0]


def token_bytes(key: bytes) -> bytes:
    """A key's token as 8 bytes, big-endian: those sort as tokens do."""
    return mmh3_x64_128_digest(key)[7::-1]
