"""Whichever seed computes the first record computes the same one, and seeds that disagree say in what."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from covey.identity import Identity
from covey.ring.epoch import EpochRecord, Quorums
from covey.ring.genesis import GenesisTerms, Seat, first_record, missing_seeds, seat_conflicts

TERMS = GenesisTerms(("h:1", "h:2", "h:3"), Quorums(), 8, {"tombstone_age": 60})
SEATS = (
    Seat("h:1", Identity("zoe", 11), "east"),
    Seat("h:2", Identity("amy", 12), "west", 2.0),
    Seat("h:3", Identity("bob", 13)),
)
RECORD = first_record(TERMS, SEATS)


@given(st.permutations(SEATS))
def test_the_order_in_which_seeds_answered_does_not_matter(seats: list[Seat]) -> None:
    assert first_record(TERMS, seats) == RECORD


def test_the_first_record_seats_every_seed_as_it_came() -> None:
    assert (RECORD.number, RECORD.successors, RECORD.floor) == (1, None, 0)
    assert RECORD.settings == {"tombstone_age": 60}
    assert RECORD.owners.quorums == Quorums()
    seated = {identity: (owner.zone, owner.weight) for identity, owner in RECORD.owners.owners.items()}
    assert seated == {seat.identity: (seat.zone, seat.weight) for seat in SEATS}
    assert EpochRecord.decode(RECORD.encoded) == RECORD


def test_a_lone_seed_forms_a_cluster_of_one() -> None:
    record = first_record(replace(TERMS, seeds=("h:1",)), SEATS[:1])
    assert list(record.owners.owners) == [Identity("zoe", 11)]


@pytest.mark.parametrize(
    ("terms", "seats"),
    [
        (TERMS, (replace(SEATS[0], identity=Identity("zoe", 99)), *SEATS[1:])),
        (TERMS, (replace(SEATS[0], zone="north"), *SEATS[1:])),
        (TERMS, (replace(SEATS[0], weight=3.0), *SEATS[1:])),
        (replace(TERMS, quorums=Quorums(3, 3, 1)), SEATS),
        (replace(TERMS, tokens_per_weight=4), SEATS),
        (replace(TERMS, settings={"tombstone_age": 61}), SEATS),
        (replace(TERMS, seeds=("h:1", "h:2", "h:4")), (*SEATS[:2], replace(SEATS[2], address="h:4"))),
    ],
    ids=["a wiped disk", "a zone", "a weight", "quorums", "tokens", "a setting", "an address"],
)
def test_whatever_differs_makes_another_cluster(terms: GenesisTerms, seats: tuple[Seat, ...]) -> None:
    """Two first records under one cluster id would be two histories that nobody could tell apart."""
    assert first_record(terms, seats).cluster_id != RECORD.cluster_id


@pytest.mark.parametrize(
    ("terms", "seats", "told"),
    [
        (TERMS, SEATS[:2], "every seed takes part once"),
        (TERMS, (*SEATS, replace(SEATS[0], address="h:4")), "every seed takes part once"),
        (TERMS, (*SEATS[:2], replace(SEATS[2], identity=SEATS[0].identity)), "are one node"),
        (TERMS, (*SEATS[:2], replace(SEATS[2], identity=Identity("amy", 5))), "two nodes are named amy"),
        (TERMS, (*SEATS[:2], replace(SEATS[2], weight=math.inf)), "weight inf"),
        (TERMS, (*SEATS[:2], replace(SEATS[2], weight=math.nan)), "weight nan"),
        (replace(TERMS, seeds=("h:2", "h:1", "h:3")), SEATS, "sorted"),
        (replace(TERMS, quorums=Quorums(3, 1, 1)), SEATS, "reads could miss"),
    ],
)
def test_seats_that_are_not_one_node_for_each_seed_form_nothing(
    terms: GenesisTerms, seats: tuple[Seat, ...], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        first_record(terms, seats)


def test_a_waiting_node_can_tell_which_seeds_it_waits_for() -> None:
    assert missing_seeds(TERMS, [SEATS[1]]) == ("h:1", "h:3")
    assert missing_seeds(TERMS, SEATS) == ()


def test_seeds_with_the_same_terms_do_not_conflict() -> None:
    assert seat_conflicts(TERMS, replace(TERMS, settings=dict(TERMS.settings))) is None


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        (replace(TERMS, seeds=("h:1",)), ["seeds is [h:1, h:2, h:3] here and [h:1] there"]),
        (
            replace(TERMS, quorums=Quorums(3, 3, 1)),
            ["write_quorum is 2 here and 3 there", "read_quorum is 2"],
        ),
        (replace(TERMS, tokens_per_weight=9), ["tokens_per_weight is 8 here and 9 there"]),
        (replace(TERMS, settings={}), ["tombstone_age is 60 here and not set there"]),
        (replace(TERMS, settings={"tombstone_age": math.nan}), ["tombstone_age is 60 here and nan there"]),
        (replace(TERMS, settings={"tombstone_age": 60.0}), ["tombstone_age is 60 here and 60.0 there"]),
        (replace(TERMS, settings={"tombstone_age": 60, "x": True}), ["x is not set here and True there"]),
    ],
)
def test_a_conflict_names_what_differs(theirs: GenesisTerms, told: list[str]) -> None:
    sentence = seat_conflicts(TERMS, theirs)
    assert sentence is not None
    assert all(words in sentence for words in told)
    assert sentence.count(" here and ") == len(told)
