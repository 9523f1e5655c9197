"""Tombstones between their confirmation and their purge."""

from __future__ import annotations

import pytest

from covey.node.messages.tombstones import Tombstone
from covey.node.tombstones.confirmed import (
    MAX_CONFIRMED,
    ConfirmedTombstones,
    by_replicas,
    held_by_all,
    is_purgeable,
)
from covey.ring.ring import Ring
from covey.ring.tokens import token_of
from tests.support.replicas import version
from tests.support.rings import ring

A, B, C = tombstones = [(key, version(number)) for key, number in ((b"a", 10), (b"b", 20), (b"c", 30))]


def confirmed(*what: Tombstone, epoch: int = 5) -> ConfirmedTombstones:
    known = ConfirmedTombstones()
    known.add(what, epoch)
    return known


def purgeable(
    known: ConfirmedTombstones, epoch: int, floor: int, most: int = 100
) -> dict[int, list[Tombstone]]:
    found: dict[int, list[Tombstone]] = {}
    for part in known.purgeable(epoch, floor, most):
        for confirmed_epoch, batch in part.items():
            found.setdefault(confirmed_epoch, []).extend(batch)
    return found


@pytest.mark.parametrize(
    ("epoch", "floor", "may"),
    [(6, 20, True), (9, 99, True), (6, 19, False), (5, 20, False), (4, 20, False)],
)
def test_purging_needs_a_later_epoch_and_a_floor_at_or_above_the_tombstone(
    epoch: int, floor: int, may: bool
) -> None:
    assert is_purgeable(version(20), 5, epoch, floor) is may
    assert purgeable(confirmed(B), epoch, floor) == ({5: [B]} if may else {})


def test_purgeable_tombstones_are_grouped_by_the_epoch_of_their_confirmation() -> None:
    known = confirmed(A)
    known.add([B, C], 6)
    assert purgeable(known, 7, 20) == {5: [A], 6: [B]}


def test_purgeable_tombstones_come_in_batches_between_which_they_can_be_removed() -> None:
    known = confirmed(A, B, C)
    for part in known.purgeable(6, 99, 2):
        for batch in part.values():
            assert len(batch) <= 2
            known.remove(batch)
    assert len(known) == 0
    assert known.floor_wanted(6, 99) == 0


def test_the_floor_wanted_is_that_of_the_highest_waiting_tombstone() -> None:
    assert ConfirmedTombstones().floor_wanted(5, 0) == 0
    assert confirmed(A, C, B).floor_wanted(5, 0) == 30
    assert confirmed(A, B).floor_wanted(6, 15) == 20


def test_tombstones_of_a_later_confirmation_want_their_floor_too() -> None:
    known = confirmed(C)
    known.add([A], 6)
    assert known.floor_wanted(6, 5) == 30
    assert known.floor_wanted(6, 30) == 31, "it was confirmed in this very epoch"
    assert known.floor_wanted(7, 30) == 0


def test_a_tombstone_below_the_floor_wants_another_epoch_all_the_same() -> None:
    """A tombstone that came back from a replica that was away: without another epoch it would stay for good."""
    assert confirmed(A).floor_wanted(5, 15) == 16
    assert confirmed(A).floor_wanted(6, 15) == 0


def test_confirmed_tombstones_are_not_missing() -> None:
    known = confirmed(A, B)
    newer = (b"a", version(11))
    assert known.missing([A, B, C, newer]) == (C, newer)


def test_a_newer_tombstone_of_a_key_replaces_the_older() -> None:
    known = confirmed(A)
    newer = (b"a", version(11))
    known.add([newer], 6)
    known.remove([A])
    assert purgeable(known, 9, 99) == {6: [newer]}
    known.remove([newer])
    assert len(known) == 0


def test_the_number_of_confirmed_tombstones_is_bounded() -> None:
    known = ConfirmedTombstones()
    known.add(((number.to_bytes(4, "big"), version(1)) for number in range(MAX_CONFIRMED - 1)), 5)
    assert not known.full
    known.add([A], 5)
    assert known.full


def test_only_what_every_replica_holds_is_confirmed() -> None:
    assert held_by_all([A, B, C], [(True, True, False), (True, False, True), (True, True, True)]) == [A]
    assert held_by_all([A, B], [(True, True)]) == [A, B]


def test_tombstones_are_grouped_by_the_replicas_of_their_key_in_all_live_rings() -> None:
    old, new = Ring(ring(1, 2, 3)), Ring(ring(3, 4, 5))
    ((replicas, batch),) = by_replicas([old, new], [A]).items()
    assert batch == [A]
    token = token_of(b"a")
    assert set(replicas) == {*old.preference_list(token), *new.preference_list(token)}
