"""Where a key lies on the ring.

A stretch of the token ring, open at its beginning and closed at its end.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from mmh3 import mmh3_x64_128_digest, mmh3_x64_128_utupledigest

TOKEN_SPACE = 2**64
"""Tokens are 0 to TOKEN_SPACE - 1; after the last comes the first."""


def token_of(key: bytes) -> int:
    """A key's token: the first half of 128-bit MurmurHash3 (x64), unsigned."""
    return mmh3_x64_128_utupledigest(key)[0]


def token_bytes(key: bytes) -> bytes:
    """A key's token as 8 bytes, big-endian: those sort as tokens do."""
    return mmh3_x64_128_digest(key)[7::-1]


class TokenRange(NamedTuple):
    """The tokens with ``after < token <= upto``; with ``after >= upto`` it wraps past zero (equal: all)."""

    after: int
    upto: int

    def contains(self, token: int) -> bool:
        if self.after < self.upto:
            return self.after < token <= self.upto
        return token > self.after or token <= self.upto

    @property
    def width(self) -> int:
        """How many tokens the span holds."""
        return (self.upto - self.after) % TOKEN_SPACE or TOKEN_SPACE

    def __str__(self) -> str:
        return f"({self.after}, {self.upto}]"


WHOLE_RING = TokenRange(0, 0)


def merge_adjacent(spans: Iterable[TokenRange]) -> tuple[TokenRange, ...]:
    """Join spans that touch; they come disjoint and in ring order, and so does the answer.

    Spans that together cover everything become ``WHOLE_RING``.
    """
    merged: list[TokenRange] = []
    for span in spans:
        if merged and merged[-1].upto == span.after:
            merged[-1] = TokenRange(merged[-1].after, span.upto)
        else:
            merged.append(span)
    if len(merged) > 1 and merged[-1].upto == merged[0].after:
        merged[0] = TokenRange(merged.pop().after, merged[0].upto)
    if len(merged) == 1 and merged[0].width == TOKEN_SPACE:
        return (WHOLE_RING,)
    return tuple(merged)
