"""Digests of spans by scanning them, until the engine has them at hand."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import mmh3

from ...ring.span import Span
from ..storage.encoding import stored_key
from ..storage.engine import Engine

_VERSION = struct.Struct(">QQIB")


def digests(engine: Engine, spans: Sequence[Span]) -> list[int]:
    """XOR over the entries inside each span."""
    return [_digest(engine, span) for span in spans]


def _digest(engine: Engine, span: Span) -> int:
    digest, after = 0, None
    while True:
        chunk = engine.scan(span, after, 4096, 1 << 24)
        for key, entry in chunk.entries:
            hashed = stored_key(key) + _VERSION.pack(*entry.version, entry.tombstone)
            digest ^= mmh3.hash64(hashed, signed=False)[0]
        after = chunk.next
        if after is None:
            return digest
