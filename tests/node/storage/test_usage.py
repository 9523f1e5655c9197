"""Usage by slices, against counting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from covey.node.errors import Corruption
from covey.node.storage.encoding import pack_named
from covey.node.storage.engine import Usage
from covey.node.storage.usage import (
    NAME_PREFIX,
    NOTHING,
    SLICES,
    Count,
    UsageBySlice,
    named_values,
    slice_of,
    touched_by,
)
from covey.ring.hashing import TOKEN_SPACE
from covey.ring.span import WHOLE_RING, Span

WIDTH = TOKEN_SPACE // SLICES

edges = st.builds(
    lambda number, offset: (number * WIDTH + offset) % TOKEN_SPACE,
    st.integers(0, 4) | st.integers(SLICES - 4, SLICES),
    st.sampled_from([-1, 0, 1, WIDTH // 2]),
)
spans = st.builds(Span, edges, edges)
counts = st.dictionaries(
    st.integers(0, SLICES - 1), st.builds(Count, st.integers(0, 9), st.integers(0, 10_000)), max_size=8
)


def test_every_token_has_a_slice() -> None:
    assert [slice_of(token) for token in (0, WIDTH - 1, WIDTH, TOKEN_SPACE - 1)] == [0, 0, 1, SLICES - 1]


@given(counts, counts)
def test_the_total_is_the_sum_of_the_slices(first: dict[int, Count], second: dict[int, Count]) -> None:
    usage = UsageBySlice()
    usage.apply(first)
    usage.apply(second)
    left = {**first, **second}.values()
    assert usage.total == Usage(sum(c.keys for c in left), sum(c.bytes for c in left))
    assert usage.size(WHOLE_RING) == usage.total.bytes


@given(counts)
def test_counts_come_back_from_their_rows(changes: dict[int, Count]) -> None:
    rows = [(name, value) for name, value in named_values(changes) if value is not None]
    assert len(rows) == sum(count != NOTHING for count in changes.values())
    usage = UsageBySlice.load(rows)
    assert all(usage[number] == count for number, count in changes.items())


def test_a_row_that_is_no_count_is_corruption() -> None:
    with pytest.raises(Corruption, match="is no usage count"):
        UsageBySlice.load([(NAME_PREFIX + b"\0\0", pack_named(NAME_PREFIX + b"\0\0", b"short"))])


@given(st.lists(spans, max_size=3))
def test_a_slice_is_whole_cut_or_untouched(given_spans: list[Span]) -> None:
    """Whole slices have all their tokens in some span; untouched ones have none in any."""
    whole, cut = touched_by(given_spans)
    assert not set(whole) & set(cut)
    for number in (*range(6), *range(SLICES - 6, SLICES)):
        first, last = number * WIDTH, (number + 1) * WIDTH - 1
        probes = (first, first + 1, first + 2, first + WIDTH // 2, first + WIDTH // 2 + 1, last - 1, last)
        inside = [any(span.contains(token) for span in given_spans) for token in probes]
        if number in whole:
            assert all(inside)
        elif number not in cut:
            assert not any(inside)


@given(spans)
def test_a_span_and_the_rest_of_the_ring_add_up(span: Span) -> None:
    usage = UsageBySlice()
    usage.apply({0: Count(1, WIDTH), 1: Count(1, 3 * WIDTH), SLICES - 1: Count(1, WIDTH)})
    if span.after != span.upto:
        rest = Span(span.upto, span.after)
        assert usage.size(span) + usage.size(rest) == pytest.approx(usage.total.bytes, abs=8)


def test_a_cut_slice_counts_by_its_share() -> None:
    usage = UsageBySlice()
    usage.apply({1: Count(4, 1000)})
    assert usage.size(Span(WIDTH - 1, WIDTH + WIDTH // 4 - 1)) == 250
    assert usage.size(Span(WIDTH - 1, 2 * WIDTH - 1)) == 1000
    assert usage.size(Span(2 * WIDTH - 1, WIDTH - 1)) == 0
