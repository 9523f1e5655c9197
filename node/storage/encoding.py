"""How keys, entries and named values look on disk.

A stored key is the key's token (8 bytes, big-endian) followed by the key, so that stored keys sort in ring
order and a range is one scan. What is stored under it opens with a checksum that covers everything else *and*
the stored key, so that neither a flipped bit nor a value under a wrong key is ever served.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

import mmh3

from ...ring.hashing import TOKEN_SPACE, token_of
from ...ring.span import Span
from ..errors import Corruption
from ..quorum.version import Version
from .engine import Entry

TOKEN_BYTES = 8

_TOMBSTONE = 1
_HEADER = struct.Struct(">IBQQI")
"""Checksum, flags; the version's timestamp, disk id and generation. The value follows."""
_CHECKSUM = struct.Struct(">I")
_VERSION = struct.Struct(">QQI?")
"""The version's timestamp, disk id and generation, and whether the entry is a tombstone."""


class Stretch(NamedTuple):
    """Stored keys with ``begin <= key < end``; no end: to the last."""

    begin: bytes
    end: bytes | None


def following(name: bytes) -> bytes:
    """The first name that sorts after ``name``."""
    return name + b"\0"


def beginning_with(prefix: bytes) -> Stretch:
    """The names that start with ``prefix``."""
    raised = prefix.rstrip(b"\xff")
    return Stretch(prefix, raised[:-1] + bytes([raised[-1] + 1]) if raised else None)


def encode_token(token: int) -> bytes:
    return token.to_bytes(TOKEN_BYTES, "big")


def stored_key(key: bytes) -> bytes:
    return encode_token(token_of(key)) + key


def token_in(stored: bytes) -> int:
    return int.from_bytes(stored[:TOKEN_BYTES], "big")


def key_in(stored: bytes) -> bytes:
    return stored[TOKEN_BYTES:]


def pack(stored: bytes, entry: Entry) -> bytes:
    """The bytes to keep under ``stored``."""
    flags = _TOMBSTONE if entry.value is None else 0
    unsummed = _HEADER.pack(0, flags, *entry.version)[_CHECKSUM.size :] + (entry.value or b"")
    return _CHECKSUM.pack(_checksum(stored, unsummed)) + unsummed


def unpack(stored: bytes, packed: bytes) -> Entry:
    """Read back what ``pack`` wrote; raises Corruption, naming the key, for anything else."""
    if len(packed) < _HEADER.size:
        raise Corruption(f"the entry of key {key_in(stored)!r} is cut short")
    checksum, flags, timestamp, disk_id, generation = _HEADER.unpack_from(packed)
    if checksum != _checksum(stored, memoryview(packed)[_CHECKSUM.size :]):
        raise Corruption(f"the entry of key {key_in(stored)!r} does not match its checksum")
    value = None if flags & _TOMBSTONE else packed[_HEADER.size :]
    return Entry(Version(timestamp, disk_id, generation), value)


class Head(NamedTuple):
    """An entry without its value."""

    version: Version
    tombstone: bool
    value_bytes: int


def peek(packed: bytes) -> Head | None:
    """What an entry says of itself, unverified; None when it is cut short."""
    if len(packed) < _HEADER.size:
        return None
    _, flags, timestamp, disk_id, generation = _HEADER.unpack_from(packed)
    tombstone = bool(flags & _TOMBSTONE)
    return Head(Version(timestamp, disk_id, generation), tombstone, len(packed) - _HEADER.size)


def digest_of(stored: bytes, version: Version, tombstone: bool) -> int:
    """64 bits that stand for this version of a key; equal on every node that holds it."""
    digest: int = mmh3.hash64(stored + _VERSION.pack(*version, tombstone), signed=False)[0]
    return digest


def pack_named(name: bytes, value: bytes) -> bytes:
    """The bytes to keep for a named value of the node's own."""
    return _CHECKSUM.pack(_checksum(name, value)) + value


def unpack_named(name: bytes, packed: bytes) -> bytes:
    """Read back what ``pack_named`` wrote; raises Corruption, naming the name, for anything else."""
    value = packed[_CHECKSUM.size :]
    if packed[: _CHECKSUM.size] != _CHECKSUM.pack(_checksum(name, value)):
        raise Corruption(f"the named value {name!r} does not match its checksum")
    return value


def _checksum(under: bytes, content: bytes | memoryview) -> int:
    return zlib.crc32(content, zlib.crc32(under))


def intervals(span: Span) -> list[tuple[int, int]]:
    """The first and last token of a span, in ring order; of its two pieces when it wraps past zero."""
    if span.after < span.upto:
        return [(span.after + 1, span.upto)]
    pieces = [(span.after + 1, TOKEN_SPACE - 1), (0, span.upto)]
    return [(first, last) for first, last in pieces if first <= last]


def stretch_of(first: int, last: int) -> Stretch:
    """Where the keys of tokens ``first`` to ``last`` are stored."""
    return Stretch(encode_token(first), encode_token(last + 1) if last + 1 < TOKEN_SPACE else None)


def stretches(span: Span) -> list[Stretch]:
    """Where a span's keys are stored, in ring order from the span's beginning."""
    return [stretch_of(first, last) for first, last in intervals(span)]
