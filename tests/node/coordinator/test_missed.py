from __future__ import annotations

from covey.node.coordinator.missed import Missed
from covey.node.hints.store import Hint
from tests.support.rings import identities
from tests.support.stations import KeptHints, entry

A, B = identities(2)


def test_those_that_missed_a_write_are_told_once_it_is_acknowledged_and_later_ones_at_once() -> None:
    hints = KeptHints()
    missed = Missed(hints, b"k", entry(1))
    missed.by(A)
    assert hints.kept == []
    missed.acknowledged()
    assert hints.kept == [Hint(A, b"k", entry(1))]
    missed.by(B)
    assert hints.kept == [Hint(A, b"k", entry(1)), Hint(B, b"k", entry(1))]


def test_of_a_write_that_is_never_acknowledged_nothing_is_told() -> None:
    hints = KeptHints()
    missed = Missed(hints, b"k", entry(1))
    missed.by(A)
    missed.by(B)
    assert hints.kept == []
