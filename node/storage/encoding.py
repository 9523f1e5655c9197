"""How keys, entries and named values look on disk.

A stored key is the key's token (8 bytes, big-endian) followed by the key, so that stored keys sort in ring
order and a range is one scan. What is stored under it opens with a checksum that covers everything else *and*
the stored key, so that neither a flipped bit nor a value under a wrong key is ever served.

An entry is taken apart only when somebody asks for it: which of two is newer, what they add to a digest and how
large they are is all told from the bytes as they are kept, for that is done for every write.
"""

from __future__ import annotations

import struct
from typing import NamedTuple
from zlib import crc32

from mmh3 import mmh3_x64_128_utupledigest

from ...quorum.version import Version
from ...ring.tokens import TOKEN_SPACE, TokenRange, token_bytes
from ..errors import Corruption
from ..named import as_named
from .interface import Entry

TOKEN_BYTES = 8

_CHECKSUM_BYTES = 4
_FLAGS = slice(4, 5)
"""Where the flags are, behind the checksum."""
_RANK = slice(5, 25)
"""Where the version is, behind the flags."""
_HEADER_BYTES = 25
"""Checksum, flags and version; the value follows."""
_BYTES_BESIDE = TOKEN_BYTES + _HEADER_BYTES
"""What is kept of an entry beside key and value."""
_LIVE, _TOMBSTONE = b"\0", b"\1"
"""The flags that there are."""
_VERSION = struct.Struct(">QQI")
"""A version's timestamp, disk id and generation."""


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
    return token_bytes(key) + key


def token_in(stored: bytes) -> int:
    return int.from_bytes(stored[:TOKEN_BYTES], "big")


def key_in(stored: bytes) -> bytes:
    return stored[TOKEN_BYTES:]


def pack(stored: bytes, entry: Entry) -> bytes:
    """The bytes to keep under ``stored``."""
    version, value = entry
    if value is None:
        return _summed(stored, _TOMBSTONE + _VERSION.pack(*version))
    return _summed(stored, _LIVE + _VERSION.pack(*version) + value)


def is_cut_short(packed: bytes) -> bool:
    return len(packed) < _HEADER_BYTES


def check(stored: bytes, packed: bytes) -> None:
    """Raise Corruption, naming the key, for anything that ``pack`` did not write under ``stored``."""
    if len(packed) < _HEADER_BYTES:
        raise Corruption(f"the entry of key {key_in(stored)!r} is cut short")
    if not _sums_up(stored, packed):
        raise Corruption(f"the entry of key {key_in(stored)!r} does not match its checksum")


def unpack(stored: bytes, packed: bytes) -> Entry:
    """Read back what ``pack`` wrote; raises Corruption, naming the key, for anything else."""
    check(stored, packed)
    return entry_in(packed)


def entry_in(packed: bytes) -> Entry:
    """The entry in bytes that were checked."""
    value = None if is_tombstone(packed) else packed[_HEADER_BYTES:]
    return as_named(Entry, (version_in(packed), value))


def entry_without_value(packed: bytes) -> Entry:
    """The same with nothing for a value, which says no more than that there is one."""
    return as_named(Entry, (version_in(packed), None if is_tombstone(packed) else b""))


def version_in(packed: bytes) -> Version:
    return as_named(Version, _VERSION.unpack_from(packed, _RANK.start))


def rank_in(packed: bytes) -> bytes:
    """The version as bytes, which sort as versions do."""
    return packed[_RANK]


def is_tombstone(packed: bytes) -> bool:
    return packed[_FLAGS] == _TOMBSTONE


def entry_bytes(stored: bytes, packed: bytes) -> int:
    """Of key and value together."""
    return len(stored) + len(packed) - _BYTES_BESIDE


def peek(packed: bytes) -> Version | None:
    """The version that an entry says it has, unverified; None when it is cut short."""
    return None if is_cut_short(packed) else version_in(packed)


def digest_of(stored: bytes, packed: bytes) -> int:
    """64 bits that stand for this version of a key; equal on every node that holds it."""
    return mmh3_x64_128_utupledigest(stored + packed[_RANK] + packed[_FLAGS])[0]


def pack_named(name: bytes, value: bytes) -> bytes:
    """The bytes to keep for a named value of the node's own."""
    return _summed(name, value)


def unpack_named(name: bytes, packed: bytes) -> bytes:
    """Read back what ``pack_named`` wrote; raises Corruption, naming the name, for anything else."""
    if not _sums_up(name, packed):
        raise Corruption(f"the named value {name!r} does not match its checksum")
    return packed[_CHECKSUM_BYTES:]


def _summed(under: bytes, content: bytes) -> bytes:
    """``content``, and before it a checksum of it and of where it is kept."""
    return crc32(content, crc32(under)).to_bytes(_CHECKSUM_BYTES, "big") + content


def _sums_up(under: bytes, packed: bytes) -> bool:
    checksum = crc32(packed[_CHECKSUM_BYTES:], crc32(under))
    return packed[:_CHECKSUM_BYTES] == checksum.to_bytes(_CHECKSUM_BYTES, "big")


def intervals(span: TokenRange) -> list[tuple[int, int]]:
    """The first and last token of a span, in ring order; of its two pieces when it wraps past zero."""
    if span.after < span.upto:
        return [(span.after + 1, span.upto)]
    pieces = [(span.after + 1, TOKEN_SPACE - 1), (0, span.upto)]
    return [(first, last) for first, last in pieces if first <= last]


def stretch_of(first: int, last: int) -> Stretch:
    """Where the keys of tokens ``first`` to ``last`` are stored."""
    return Stretch(encode_token(first), encode_token(last + 1) if last + 1 < TOKEN_SPACE else None)


def stretches(span: TokenRange) -> list[Stretch]:
    """Where a span's keys are stored, in ring order from the span's beginning."""
    return [stretch_of(first, last) for first, last in intervals(span)]
