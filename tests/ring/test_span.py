"""A span is open at its beginning, closed at its end, and may wrap past zero."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.ring.hashing import TOKEN_SPACE
from covey.ring.span import WHOLE_RING, TokenRange, merge_adjacent

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
