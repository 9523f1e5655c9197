"""The format of keys, entries and named values on disk.

A stored key is the key's token (8 bytes, big-endian) followed by the key, so that stored keys sort in ring
order and a range is one scan. The bytes stored under it begin with a checksum of the remaining bytes *and* of the
stored key, so that neither a flipped bit nor a value under a wrong key is ever served.

Every write needs the version, digest and size of the entry that it replaces. These are computed from the stored bytes;
an entry is decoded only where its value is needed.
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
"""The position of the flags, after the checksum."""
_RANK = slice(5, 25)
"""The position of the version, after the flags."""
_HEADER_BYTES = 25
"""Length of checksum, flags and version; the value follows."""
_BYTES_BESIDE = TOKEN_BYTES + _HEADER_BYTES
"""Number of stored bytes of an entry besides its key and value."""
_LIVE, _TOMBSTONE = b"\0", b"\1"
"""The possible values of the flags."""
_VERSION = struct.Struct(">QQI")
"""A version's timestamp, disk id and generation."""


class KeyRange(NamedTuple):
    """The stored keys with ``begin <= key < end``; without an end, all from ``begin``."""

    begin: bytes
    end: bytes | None


def following(name: bytes) -> bytes:
    """Return the first name that sorts after ``name``."""
    return name + b"\0"


def beginning_with(prefix: bytes) -> KeyRange:
    """Return the range of names that start with ``prefix``."""
    raised = prefix.rstrip(b"\xff")
    return KeyRange(prefix, raised[:-1] + bytes([raised[-1] + 1]) if raised else None)


def encode_token(token: int) -> bytes:
    return token.to_bytes(TOKEN_BYTES, "big")


def stored_key(key: bytes) -> bytes:
    return token_bytes(key) + key


def token_in(stored: bytes) -> int:
    return int.from_bytes(stored[:TOKEN_BYTES], "big")


def key_in(stored: bytes) -> bytes:
    return stored[TOKEN_BYTES:]


def pack(stored: bytes, entry: Entry) -> bytes:
    """Return the bytes to store under ``stored``."""
    version, value = entry
    if value is None:
        return _with_checksum(stored, _TOMBSTONE + _VERSION.pack(*version))
    return _with_checksum(stored, _LIVE + _VERSION.pack(*version) + value)


def is_cut_short(packed: bytes) -> bool:
    return len(packed) < _HEADER_BYTES


def check(stored: bytes, packed: bytes) -> None:
    """Raise Corruption, naming the key, for bytes that ``pack`` did not write under ``stored``."""
    if len(packed) < _HEADER_BYTES:
        raise Corruption(f"the entry of key {key_in(stored)!r} is cut short")
    if not _checksum_matches(stored, packed):
        raise Corruption(f"the entry of key {key_in(stored)!r} does not match its checksum")


def unpack(stored: bytes, packed: bytes) -> Entry:
    """Decode bytes that ``pack`` wrote under ``stored``. Raise Corruption, naming the key, for any other bytes."""
    check(stored, packed)
    return entry_in(packed)


def entry_in(packed: bytes) -> Entry:
    """Decode an entry that ``check`` has accepted."""
    value = None if is_tombstone(packed) else packed[_HEADER_BYTES:]
    return as_named(Entry, (version_in(packed), value))


def entry_without_value(packed: bytes) -> Entry:
    """Decode an entry, with b"" in place of its value."""
    return as_named(Entry, (version_in(packed), None if is_tombstone(packed) else b""))


def version_in(packed: bytes) -> Version:
    return as_named(Version, _VERSION.unpack_from(packed, _RANK.start))


def rank_in(packed: bytes) -> bytes:
    """Return the version as bytes that sort as versions do."""
    return packed[_RANK]


def is_tombstone(packed: bytes) -> bool:
    return packed[_FLAGS] == _TOMBSTONE


def entry_bytes(stored: bytes, packed: bytes) -> int:
    """Return the length of key and value."""
    return len(stored) + len(packed) - _BYTES_BESIDE


def peek(packed: bytes) -> Version | None:
    """Return the unverified version of an entry; None when it is cut short."""
    return None if is_cut_short(packed) else version_in(packed)


def digest_of(stored: bytes, packed: bytes) -> int:
    """Return a 64-bit digest of key, version and flags; equal on every node that holds this version of the key."""
    return mmh3_x64_128_utupledigest(stored + packed[_RANK] + packed[_FLAGS])[0]


def pack_named(name: bytes, value: bytes) -> bytes:
    """Return the bytes to store for a named value."""
    return _with_checksum(name, value)


def unpack_named(name: bytes, packed: bytes) -> bytes:
    """Decode bytes that ``pack_named`` wrote. Raise Corruption, with the name, for any other bytes."""
    if not _checksum_matches(name, packed):
        raise Corruption(f"the named value {name!r} does not match its checksum")
    return packed[_CHECKSUM_BYTES:]


def _with_checksum(under: bytes, content: bytes) -> bytes:
    """Return ``content``, preceded by a checksum of it and of the name ``under`` which it is stored."""
    return crc32(content, crc32(under)).to_bytes(_CHECKSUM_BYTES, "big") + content


def _checksum_matches(under: bytes, packed: bytes) -> bool:
    checksum = crc32(packed[_CHECKSUM_BYTES:], crc32(under))
    return packed[:_CHECKSUM_BYTES] == checksum.to_bytes(_CHECKSUM_BYTES, "big")


def intervals(token_range: TokenRange) -> list[tuple[int, int]]:
    """Return the first and last token of a range, or of its two parts when it wraps past zero, in ring order."""
    if token_range.after < token_range.upto:
        return [(token_range.after + 1, token_range.upto)]
    parts = [(token_range.after + 1, TOKEN_SPACE - 1), (0, token_range.upto)]
    return [(first, last) for first, last in parts if first <= last]


def key_range_of(first: int, last: int) -> KeyRange:
    """Return the stored keys of tokens ``first`` to ``last``."""
    return KeyRange(encode_token(first), encode_token(last + 1) if last + 1 < TOKEN_SPACE else None)


def key_ranges(token_range: TokenRange) -> list[KeyRange]:
    """Return the stored keys of a range, in ring order from its beginning."""
    return [key_range_of(first, last) for first, last in intervals(token_range)]
