"""What segments hold, summed up, against counting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from covey.node.errors import Corruption
from covey.node.storage.encoding import pack, stored_key, unpack_named
from covey.node.storage.interface import Entry, Usage
from covey.node.storage.segments import SEGMENT_WIDTH as WIDTH
from covey.node.storage.segments import SEGMENTS
from covey.node.storage.summary import (
    NOTHING,
    Summaries,
    Summary,
    decode_summary,
    encode_summary,
    replace_row,
    segment_of_summary,
    summary_of_packed,
)
from covey.quorum.version import Version
from covey.ring.tokens import TOKEN_SPACE, WHOLE_RING, TokenRange

edges = st.builds(
    lambda number, offset: (number * WIDTH + offset) % TOKEN_SPACE,
    st.integers(0, 4) | st.integers(SEGMENTS - 4, SEGMENTS),
    st.sampled_from([-1, 0, 1, WIDTH // 2]),
)
spans = st.builds(TokenRange, edges, edges)
some = st.builds(
    Summary, st.integers(0, 9), st.integers(0, 10_000), st.integers(0, 9), st.integers(0, 2**64 - 1)
)
summaries = st.dictionaries(st.integers(0, SEGMENTS - 1), some, max_size=8)
entries = st.builds(Entry, st.builds(Version, *[st.integers(0, 9)] * 3), st.none() | st.binary(max_size=9))


@given(summaries, summaries)
def test_the_total_is_the_sum_of_the_segments(first: dict[int, Summary], second: dict[int, Summary]) -> None:
    kept = Summaries()
    kept.apply(first)
    kept.apply(second)
    left = {**first, **second}.values()
    assert kept.total == Usage(sum(s.keys for s in left), sum(s.bytes for s in left))
    assert kept.size(WHOLE_RING) == kept.total.bytes


@given(st.integers(0, SEGMENTS - 1), some)
def test_a_summary_comes_back_from_its_row(number: int, summary: Summary) -> None:
    name, packed = encode_summary(number, summary)
    assert segment_of_summary(name) == number
    if packed is None:
        assert summary == NOTHING
    else:
        assert decode_summary(unpack_named(name, packed)) == summary


def test_other_bytes_are_no_summary() -> None:
    with pytest.raises(Corruption, match="a summary has 32 bytes, not 5"):
        decode_summary(b"short")
    assert segment_of_summary(b"\xffsegment") is None


def summary_of(stored: bytes, entry: Entry) -> Summary:
    return replace_row(NOTHING, stored, None, pack(stored, entry))


@given(st.binary(max_size=9), entries)
def test_a_row_adds_its_entry_and_one_cut_short_its_key(key: bytes, entry: Entry) -> None:
    stored = stored_key(key)
    packed = pack(stored, entry)
    assert summary_of_packed(stored, packed) == summary_of(stored, entry)
    assert summary_of_packed(stored, packed[:9]) == Summary(0, len(key))


@given(st.lists(st.tuples(st.binary(max_size=3), entries), max_size=6, unique_by=lambda pair: pair[0]))
def test_the_order_of_entries_does_not_matter(held: list[tuple[bytes, Entry]]) -> None:
    added = [summary_of(stored_key(key), entry) for key, entry in held]
    forth, back = NOTHING, NOTHING
    for one, other in zip(added, reversed(added), strict=True):
        forth, back = forth.plus(one), back.plus(other)
    assert forth == back


@given(st.binary(max_size=9), entries, entries)
def test_an_entry_in_the_place_of_another_adds_itself_and_takes_the_other_away(
    key: bytes, before: Entry, after: Entry
) -> None:
    stored = stored_key(key)
    held = summary_of(stored, before)
    assert replace_row(held, stored, pack(stored, before), pack(stored, after)) == summary_of(stored, after)
    assert replace_row(held, stored, pack(stored, before), None) == NOTHING


def test_a_digest_tells_key_version_and_tombstone_apart() -> None:
    told = {
        summary_of(stored_key(key), Entry(Version(timestamp, 1, 1), value)).digest
        for key in (b"a", b"b")
        for timestamp in (1, 2)
        for value in (b"", None)
    }
    assert len(told) == 8


@given(spans)
def test_a_span_and_the_rest_of_the_ring_add_up(span: TokenRange) -> None:
    kept = Summaries()
    kept.apply({0: Summary(1, WIDTH), 1: Summary(1, 3 * WIDTH), SEGMENTS - 1: Summary(1, WIDTH)})
    if span.after != span.upto:
        rest = TokenRange(span.upto, span.after)
        assert kept.size(span) + kept.size(rest) == pytest.approx(kept.total.bytes, abs=8)


def test_a_cut_segment_counts_by_its_share() -> None:
    kept = Summaries()
    kept.apply({1: Summary(4, 1000)})
    assert kept.size(TokenRange(WIDTH - 1, WIDTH + WIDTH // 4 - 1)) == 250
    assert kept.size(TokenRange(WIDTH - 1, 2 * WIDTH - 1)) == 1000
    assert kept.size(TokenRange(2 * WIDTH - 1, WIDTH - 1)) == 0
