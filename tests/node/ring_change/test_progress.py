from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from covey.node.ring_change.progress import PullProgress
from covey.node.storage.interface import Cursor
from tests.support.rings import identity

places = st.none() | st.builds(Cursor, st.integers(0, 2**64 - 1), st.binary(max_size=8))
steps = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(1, 3).map(identity),
        places,
        st.integers(0, 1000),
    )
)


def _after(taken: list[tuple[int, object, Cursor | None, int]], epoch: int = 5) -> PullProgress:
    progress = PullProgress(epoch)
    for pull, source, to, size in taken:
        progress.advance(pull, source, to, size)  # type: ignore[arg-type]
    return progress


@settings(deadline=None)
@given(steps)
def test_a_restart_resumes_from_the_stored_progress(
    taken: list[tuple[int, object, Cursor | None, int]],
) -> None:
    progress = _after(taken)
    assert PullProgress.load(progress.encode(), 5) == progress


@settings(deadline=None)
@given(steps)
def test_progress_of_any_other_epoch_is_void(
    taken: list[tuple[int, object, Cursor | None, int]],
) -> None:
    assert PullProgress.load(_after(taken).encode(), 6) == PullProgress(6)


def test_without_stored_progress_it_is_empty() -> None:
    assert PullProgress.load(None, 3) == PullProgress(3)


def test_a_cursor_is_kept_until_the_source_is_finished() -> None:
    progress = _after([(0, identity(1), Cursor(9, b"k"), 10)])
    assert progress.cursors == {(0, identity(1)): Cursor(9, b"k")}
    assert progress.sources_finished(0) == ()
    progress.advance(0, identity(1), None, 5)
    assert progress.cursors == {}
    assert progress.sources_finished(0) == [identity(1)]
    assert progress.sources_finished(1) == ()


@settings(deadline=None)
@given(st.lists(st.integers(0, 100)), st.integers(0, 100))
def test_what_is_done_never_exceeds_the_total_shown(sizes: list[int], estimate: int) -> None:
    progress = PullProgress(1, bytes_total=estimate)
    for size in sizes:
        progress.advance(0, identity(1), Cursor(1, b"k"), size)
    assert progress.bytes_done == sum(sizes)
    assert progress.bytes_total == max(estimate, sum(sizes))
