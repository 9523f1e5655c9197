"""Bytes on disk: they sort as the ring does, come back as they were, and damage is found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from covey.node.errors import Corruption
from covey.node.storage import encoding
from covey.node.storage.interface import Entry
from covey.quorum.version import Version
from covey.ring.tokens import TOKEN_SPACE, TokenRange, token_of

u64 = st.integers(0, 2**64 - 1)
entries = st.builds(
    Entry, st.builds(Version, u64, u64, st.integers(0, 2**32 - 1)), st.none() | st.binary(max_size=20)
)
spans = st.builds(TokenRange, u64, u64)
spans_and_edges = spans | st.sampled_from(
    [
        TokenRange(0, 0),
        TokenRange(TOKEN_SPACE - 1, 0),
        TokenRange(0, TOKEN_SPACE - 1),
        TokenRange(TOKEN_SPACE - 1, TOKEN_SPACE - 1),
    ]
)


def test_the_layout_stays_as_it_is() -> None:
    """Data folders outlive versions of covey: a change here needs a new format number."""
    stored = encoding.stored_key(b"k")
    assert stored.hex() == "499adfba2b1435b26b"
    packed = encoding.pack(stored, Entry(Version(1, 2, 3), b"v"))
    assert packed[4:].hex() == "00" + "0000000000000001" + "0000000000000002" + "00000003" + "76"
    tombstone = encoding.pack(stored, Entry(Version(1, 2, 3), None))
    assert tombstone[4:].hex() == "01" + "0000000000000001" + "0000000000000002" + "00000003"
    assert [packed[:4].hex(), tombstone[:4].hex()] == ["7b9c1dcf", "bd869204"]


def test_digests_stay_as_they_are() -> None:
    """They are kept on disk, and compared by nodes of different versions."""
    stored = encoding.stored_key(b"k")
    values = [Entry(Version(1, 2, 3), value) for value in (b"v", b"another", None)]
    digests = [f"{encoding.digest_of(stored, encoding.pack(stored, entry)):016x}" for entry in values]
    assert digests == ["20dca4c4bf8b29aa", "20dca4c4bf8b29aa", "267c77fb1f63c31b"]


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_stored_keys_sort_by_token_then_key(one: bytes, other: bytes) -> None:
    by_ring = (token_of(one), one) < (token_of(other), other)
    assert (encoding.stored_key(one) < encoding.stored_key(other)) == by_ring


@given(st.binary(max_size=20))
def test_a_stored_key_tells_token_and_key(key: bytes) -> None:
    stored = encoding.stored_key(key)
    assert (encoding.token_in(stored), encoding.key_in(stored)) == (token_of(key), key)


@given(st.binary(min_size=1, max_size=3), st.binary(max_size=5))
def test_a_stretch_holds_exactly_the_names_that_begin_with_its_prefix(prefix: bytes, name: bytes) -> None:
    stretch = encoding.beginning_with(prefix)
    within = name >= stretch.begin and (stretch.end is None or name < stretch.end)
    assert within == name.startswith(prefix)


@given(st.binary(max_size=20), entries)
def test_an_entry_comes_back(key: bytes, entry: Entry) -> None:
    stored = encoding.stored_key(key)
    packed = encoding.pack(stored, entry)
    assert encoding.unpack(stored, packed) == entry
    assert encoding.peek(packed) == encoding.version_in(packed) == entry.version
    assert encoding.is_tombstone(packed) == entry.tombstone
    assert encoding.entry_bytes(stored, packed) == len(key) + len(entry.value or b"")


@given(entries, entries)
def test_ranks_sort_as_versions_do(one: Entry, other: Entry) -> None:
    ranks = [encoding.rank_in(encoding.pack(b"12345678", entry)) for entry in (one, other)]
    assert (ranks[0] < ranks[1]) == (one.version < other.version)
    assert (ranks[0] == ranks[1]) == (one.version == other.version)


@given(entries, st.data())
def test_any_flipped_bit_is_found(entry: Entry, data: st.DataObject) -> None:
    stored = encoding.stored_key(b"the key")
    packed = bytearray(encoding.pack(stored, entry))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(Corruption, match="the key"):
        encoding.unpack(stored, bytes(packed))


@given(entries, st.data())
def test_a_cut_or_lengthened_entry_is_found(entry: Entry, data: st.DataObject) -> None:
    stored = encoding.stored_key(b"the key")
    packed = encoding.pack(stored, entry)
    damaged = data.draw(
        st.sampled_from([packed + b"\0", packed[: data.draw(st.integers(0, len(packed) - 1))]])
    )
    with pytest.raises(Corruption, match="the key"):
        encoding.unpack(stored, damaged)


def test_an_entry_under_another_key_is_found() -> None:
    packed = encoding.pack(encoding.stored_key(b"a"), Entry(Version(1, 2, 3), b"v"))
    with pytest.raises(Corruption):
        encoding.unpack(encoding.stored_key(b"b"), packed)


@given(st.binary(max_size=20))
def test_a_named_value_comes_back_and_its_damage_is_found(value: bytes) -> None:
    packed = encoding.pack_named(b"name", value)
    assert encoding.unpack_named(b"name", packed) == value
    for damaged in (b"", packed[:3], packed + b"\0", bytes([packed[0] ^ 1]) + packed[1:]):
        with pytest.raises(Corruption, match="name"):
            encoding.unpack_named(b"name", damaged)


@given(spans_and_edges, u64)
def test_a_token_is_in_the_pieces_of_a_span_as_in_the_span(span: TokenRange, token: int) -> None:
    pieces = encoding.intervals(span)
    for probe in (token, span.after, span.upto, (span.after + 1) % TOKEN_SPACE, 0, TOKEN_SPACE - 1):
        assert sum(first <= probe <= last for first, last in pieces) == span.contains(probe)


@given(spans_and_edges)
def test_the_pieces_of_a_span_are_as_wide_as_it_is(span: TokenRange) -> None:
    pieces = encoding.intervals(span)
    assert sum(last - first + 1 for first, last in pieces) == span.width
    assert len(encoding.key_ranges(span)) == len(pieces)


@given(spans_and_edges, st.binary(max_size=8))
def test_a_key_is_in_the_stretches_of_a_span_as_in_the_span(span: TokenRange, key: bytes) -> None:
    stored = encoding.stored_key(key)
    inside = [begin <= stored and (end is None or stored < end) for begin, end in encoding.key_ranges(span)]
    assert sum(inside) == span.contains(token_of(key))
