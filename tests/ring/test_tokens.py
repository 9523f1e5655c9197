"""Every node and every client puts a key at the same place, for ever.

A span is open at its beginning, closed at its end, and may wrap past zero.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.ring.tokens import TOKEN_SPACE, WHOLE_RING, TokenRange, merge_adjacent, token_bytes, token_of


@pytest.mark.parametrize(
    ("key", "token"),
    [
        (b"", 0),
        (b"hello", 0xCBD8A7B341BD9B02),
        (b"The quick brown fox jumps over the lazy dog", 0xE34BBC7BBC071B6C),
    ],
)
def test_tokens_are_the_published_hash(key: bytes, token: int) -> None:
    """MurmurHash3 x64 128 with seed 0, its first eight bytes, as the reference implementation has them."""
    assert token_of(key) == token


@given(st.binary())
@settings(deadline=None)
def test_every_token_is_unsigned_64_bits(key: bytes) -> None:
    assert 0 <= token_of(key) < TOKEN_SPACE
    assert token_bytes(key) == token_of(key).to_bytes(8, "big")


LAST = TOKEN_SPACE - 1
tokens = st.integers(0, LAST) | st.integers(0, 3) | st.integers(LAST - 3, LAST)


@pytest.mark.parametrize(
    ("span", "inside", "outside"),
    [
        (TokenRange(10, 20), [11, 20], [10, 21, 0, LAST]),
        (TokenRange(20, 10), [21, LAST, 0, 10], [20, 11]),
        (TokenRange(LAST, 0), [0], [1, LAST]),
        (TokenRange(5, 5), [0, 4, 5, 6, LAST], []),
    ],
)
def test_a_span_holds_its_end_but_not_its_beginning(
    span: TokenRange, inside: list[int], outside: list[int]
) -> None:
    assert all(span.contains(token) for token in inside)
    assert not any(span.contains(token) for token in outside)


@given(tokens, tokens, tokens)
@settings(deadline=None)
def test_a_span_holds_what_is_within_its_width_clockwise(after: int, upto: int, token: int) -> None:
    distance = (token - after) % TOKEN_SPACE or TOKEN_SPACE
    assert TokenRange(after, upto).contains(token) == (distance <= TokenRange(after, upto).width)


@given(st.sets(tokens, min_size=2, max_size=12), st.data())
@settings(deadline=None)
def test_merging_keeps_every_token_and_leaves_no_neighbours(bounds: set[int], data: st.DataObject) -> None:
    ends = sorted(bounds)
    pieces = [TokenRange(ends[i - 1], end) for i, end in enumerate(ends)]
    chosen = [piece for piece in pieces if data.draw(st.booleans())]
    merged = merge_adjacent(chosen)
    assert sum(span.width for span in merged) == sum(span.width for span in chosen)
    assert all(any(span.contains(piece.upto) for span in merged) for piece in chosen)
    assert merged == (WHOLE_RING,) or {span.upto for span in merged}.isdisjoint(s.after for s in merged)


def test_spans_that_cover_everything_are_the_whole_ring() -> None:
    assert merge_adjacent([TokenRange(9, 3), TokenRange(3, 5), TokenRange(5, 9)]) == (WHOLE_RING,)
