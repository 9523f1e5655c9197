"""Tokens, which are hashes of keys, and token ranges, which are intervals of the circle of all tokens.

The hash cannot be changed for existing data: stored keys begin with their tokens (``node/storage/encoding.py``), and
all nodes and clients of a cluster must compute the same one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from mmh3 import mmh3_x64_128_digest, mmh3_x64_128_utupledigest

TOKEN_SPACE = 2**64
"""Number of tokens. They are 0 to TOKEN_SPACE - 1; the first follows the last."""


def token_of(key: bytes) -> int:
    """Return a key's token: the first half of 128-bit MurmurHash3 (x64), unsigned."""
    return mmh3_x64_128_utupledigest(key)[0]


def token_bytes(key: bytes) -> bytes:
    """Return a key's token as 8 bytes, big-endian, which sort like the tokens."""
    return mmh3_x64_128_digest(key)[7::-1]


class TokenRange(NamedTuple):
    """The tokens with ``after < token <= upto``. If ``after >= upto``, it wraps past zero (equal: all tokens)."""

    after: int
    upto: int

    def contains(self, token: int) -> bool:
        if self.after < self.upto:
            return self.after < token <= self.upto
        return token > self.after or token <= self.upto

    @property
    def width(self) -> int:
        """Number of tokens in the range."""
        return (self.upto - self.after) % TOKEN_SPACE or TOKEN_SPACE

    def __str__(self) -> str:
        return f"({self.after}, {self.upto}]"


WHOLE_RING = TokenRange(0, 0)


def merge_adjacent(ranges: Iterable[TokenRange]) -> tuple[TokenRange, ...]:
    """Join adjacent ranges. The input must be disjoint and in ring order; so is the result.

    Ranges that cover the ring become ``WHOLE_RING``.
    """
    merged: list[TokenRange] = []
    for one in ranges:
        if merged and merged[-1].upto == one.after:
            merged[-1] = TokenRange(merged[-1].after, one.upto)
        else:
            merged.append(one)
    if len(merged) > 1 and merged[-1].upto == merged[0].after:
        merged[0] = TokenRange(merged.pop().after, merged[0].upto)
    if len(merged) == 1 and merged[0].width == TOKEN_SPACE:
        return (WHOLE_RING,)
    return tuple(merged)
