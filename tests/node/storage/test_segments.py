"""Segments: how spans are cut at their borders."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from covey.node.storage.encoding import KeyRange, encode_token, key_ranges
from covey.node.storage.segments import SEGMENT_WIDTH as WIDTH
from covey.node.storage.segments import (
    SEGMENTS,
    clip,
    segment_in,
    segment_key_range,
    segment_of,
    segment_range,
    segments_within,
    split,
    touched_by,
)
from covey.ring.tokens import TOKEN_SPACE, WHOLE_RING, TokenRange

edges = st.builds(
    lambda number, offset: (number * WIDTH + offset) % TOKEN_SPACE,
    st.integers(0, 4) | st.integers(SEGMENTS - 4, SEGMENTS),
    st.sampled_from([-1, 0, 1, WIDTH // 2]),
)
spans = st.builds(TokenRange, edges, edges)
NEAR_ZERO = (*range(6), *range(SEGMENTS - 6, SEGMENTS))


def test_every_token_has_a_segment() -> None:
    assert [segment_of(token) for token in (0, WIDTH - 1, WIDTH, TOKEN_SPACE - 1)] == [0, 0, 1, SEGMENTS - 1]


@given(edges)
def test_a_stored_key_lies_in_the_segment_of_its_token(token: int) -> None:
    assert segment_in(encode_token(token) + b"key") == segment_of(token)


def test_a_segment_s_span_holds_its_tokens_and_no_others() -> None:
    for number in (0, 1, SEGMENTS - 1):
        span = segment_range(number)
        assert span.width == WIDTH
        assert segment_of(span.upto) == number == segment_of((span.after + 1) % TOKEN_SPACE)
        assert key_ranges(span) == [segment_key_range(number)]


@given(st.lists(spans, max_size=3))
def test_a_segment_is_whole_cut_or_untouched(given_spans: list[TokenRange]) -> None:
    """Whole segments have all their tokens in some span; untouched ones have none in any."""
    whole, cut = touched_by(given_spans)
    assert not set(whole) & set(cut)
    for number in NEAR_ZERO:
        first, last = number * WIDTH, (number + 1) * WIDTH - 1
        probes = (first, first + 1, first + 2, first + WIDTH // 2, first + WIDTH // 2 + 1, last - 1, last)
        inside = [any(span.contains(token) for span in given_spans) for token in probes]
        if number in whole:
            assert all(inside)
        elif number not in cut:
            assert not any(inside)


@given(spans)
def test_the_parts_of_a_span_add_up_to_it(span: TokenRange) -> None:
    whole, cut = split(span)
    assert len(whole) * WIDTH + sum(part.last - part.first + 1 for part in cut) == span.width
    assert all(segment_of(part.first) == segment_of(part.last) == part.number for part in cut)
    assert all(span.contains(part.first) and span.contains(part.last) for part in cut)
    assert len(set(whole)) == len(whole)


def test_the_whole_ring_is_all_segments_wherever_it_begins() -> None:
    for span in (WHOLE_RING, TokenRange(5, 5), TokenRange(TOKEN_SPACE - 1, TOKEN_SPACE - 1)):
        assert split(span) == (list(range(SEGMENTS)), [])


@given(spans)
def test_stretches_clipped_to_their_segments_are_the_stretches(span: TokenRange) -> None:
    for keys in key_ranges(span):
        clipped = [clip(keys, number) for number in segments_within(keys)]
        assert clipped[0].begin == keys.begin
        assert clipped[-1].end == keys.end
        assert all(one.end == other.begin for one, other in pairwise(clipped))
    assert segments_within(KeyRange(b"\xff" * 9, None)) == range(SEGMENTS - 1, SEGMENTS)
