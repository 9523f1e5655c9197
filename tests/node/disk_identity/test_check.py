"""What becomes of a disk in doubt: the verdict, from what the other owners have answered."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from covey.identity import Identity
from covey.node.disk_identity.check import Conclusion, Recalled, verdict
from covey.ring.epoch import EpochRecord, Owner, Quorums, RingSpec

ME, N2, N3, N4, N5 = (Identity(f"n{number}", number) for number in range(1, 6))
INTACT, MORE = Recalled(False, False), Recalled(True, False)
DOUBTFUL, DOUBTFUL_MORE = Recalled(False, True), Recalled(True, True)


def record(*owners: Identity, successors: tuple[Identity, ...] = ()) -> EpochRecord:
    def ring(members: tuple[Identity, ...]) -> RingSpec:
        return RingSpec({member: Owner((member.disk_id,)) for member in members}, Quorums(3, 2, 2))

    return EpochRecord(1, "c", ring(owners), ring(successors) if successors else None)


THREE = record(ME, N2, N3)


def conclusion(
    answers: Mapping[Identity, Recalled],
    known: EpochRecord = THREE,
    *,
    found_contradiction: bool = False,
    ended_in_order: bool = True,
) -> Conclusion:
    return verdict(
        ME, known, answers, found_contradiction=found_contradiction, ended_in_order=ended_in_order
    ).conclusion


@pytest.mark.parametrize("answers", [{}, {N2: INTACT}, {N3: DOUBTFUL}])
def test_it_waits_while_another_owner_has_not_answered(answers: Mapping[Identity, Recalled]) -> None:
    found = verdict(ME, THREE, answers, found_contradiction=False, ended_in_order=True)
    assert found.conclusion is Conclusion.WAIT
    assert set(found.waiting_for) == {"n2", "n3"} - {identity.name for identity in answers}


def test_successors_have_to_answer_too() -> None:
    changing = record(ME, N2, N3, successors=(ME, N2, N4))
    assert conclusion({N2: INTACT, N3: INTACT}, changing) is Conclusion.WAIT
    assert conclusion({N2: INTACT, N3: INTACT, N4: INTACT}, changing) is Conclusion.ACCEPT


def test_it_goes_on_when_all_have_answered_and_none_remembers_more() -> None:
    assert conclusion({N2: INTACT, N3: INTACT}) is Conclusion.ACCEPT


def test_a_copy_of_a_process_that_had_not_ended_is_replaced_once_a_majority_has_answered() -> None:
    assert conclusion({N2: INTACT}, ended_in_order=False) is Conclusion.WAIT
    assert conclusion({N2: INTACT, N3: INTACT}, ended_in_order=False) is Conclusion.REPLACE


def test_what_one_remembers_is_enough_to_replace_it_where_a_majority_is_intact() -> None:
    assert conclusion({N2: MORE}) is Conclusion.WAIT
    assert conclusion({N2: MORE, N3: INTACT}) is Conclusion.REPLACE
    five = record(ME, N2, N3, N4, N5)
    assert conclusion({N2: MORE, N3: INTACT, N4: INTACT}, five) is Conclusion.REPLACE


def test_what_a_doubtful_one_remembers_counts() -> None:
    five = record(ME, N2, N3, N4, N5)
    assert conclusion({N2: DOUBTFUL_MORE, N3: INTACT, N4: INTACT, N5: INTACT}, five) is Conclusion.REPLACE


def test_what_was_found_while_the_node_ran_counts_though_who_told_is_away() -> None:
    answers = {N2: INTACT, N3: INTACT}
    assert conclusion(answers, found_contradiction=True) is Conclusion.REPLACE


def test_without_an_intact_majority_a_contradicted_disk_waits_for_an_operator() -> None:
    found = verdict(
        ME, THREE, {N2: DOUBTFUL_MORE, N3: DOUBTFUL}, found_contradiction=False, ended_in_order=False
    )
    assert found.conclusion is Conclusion.WAIT
    assert "--accept-restored-data" in found.reason


def test_disks_that_were_restored_together_and_agree_go_on() -> None:
    answers = {N2: DOUBTFUL, N3: DOUBTFUL}
    assert conclusion(answers, ended_in_order=False) is Conclusion.ACCEPT


def test_of_two_owners_none_can_be_replaced() -> None:
    assert conclusion({N2: MORE}, record(ME, N2)) is Conclusion.WAIT


def test_the_only_owner_has_nobody_to_ask() -> None:
    assert conclusion({}, record(ME), ended_in_order=False) is Conclusion.ACCEPT


def test_who_owns_nothing_any_more_is_replaced_whoever_answers() -> None:
    assert conclusion({N2: INTACT}, record(N2, N3, N4)) is Conclusion.REPLACE
