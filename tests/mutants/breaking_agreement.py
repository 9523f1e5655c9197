"""Mutations of identity, genesis, agreement and the adoption of records."""

from __future__ import annotations

from .mutation import Mutation, mutation

SIMULATION = "tests/simulation/test_rule_"

AGREEMENT = (
    mutation(
        "a node answers to its old disk's identity",
        1,
        "node/peer/server.py",
        "envelope.destination is not None and envelope.destination != self._me.identity",
        "envelope.destination is not None and envelope.destination.name != self._me.identity.name",
        f"{SIMULATION}01_identity.py::test_a_wiped_node_refuses_what_is_meant_for_its_old_disk",
        f"{SIMULATION}01_identity.py::test_a_wiped_replica_does_not_answer_for_what_its_old_disk_held",
    ),
    mutation(
        "a folder that lost its data keeps its identity",
        1,
        "node/data_directory/opening.py",
        "if known is None or not (path / ENGINE_FOLDER).is_dir():",
        "if known is None:",
        f"{SIMULATION}01_identity.py::test_a_data_folder_that_lost_its_data_gets_a_new_identity",
    ),
    Mutation(
        "a first cluster forms without all of its seeds",
        2,
        "ring/genesis.py",
        (
            (
                "return tuple(address for address in terms.seeds if address not in answered)",
                "return () if len(answered) > 1 else terms.seeds",
            ),
            ("if [seat.address for seat in ordered] != list(terms.seeds):", "if not ordered:"),
        ),
        (
            "tests/ring/test_genesis.py",
            f"{SIMULATION}02_genesis.py::test_two_of_three_seeds_wait_and_say_for_whom",
        ),
    ),
    mutation(
        "a seed's settings may differ",
        2,
        "ring/genesis.py",
        """return "the seeds' configurations differ: " + "; ".join(found) if found else None""",
        "return None",
        "tests/ring/test_genesis.py",
    ),
    mutation(
        "a proposer ignores the values that acceptors have accepted",
        3,
        "ring/paxos.py",
        "self._bound_by, self.value, self.bound = ballot, reply.accepted, True",
        "pass",
        "tests/ring/test_paxos_interleavings.py::test_what_may_be_chosen_is_taken_over",
    ),
    mutation(
        "a promise is answered before it is on disk",
        3,
        "node/epoch/epochs.py",
        "            answer = self._acceptor.prepare(base, ballot)\n            await self._persist()\n",
        "            answer = self._acceptor.prepare(base, ballot)\n",
        f"{SIMULATION}03_agreement.py::test_a_promise_outlives_a_power_failure_right_after_it",
    ),
    mutation(
        "a vote is answered before it is on disk",
        3,
        "node/epoch/epochs.py",
        "bound, alive, leaving)\n            await self._persist()\n",
        "bound, alive, leaving)\n",
        f"{SIMULATION}03_agreement.py::test_a_vote_outlives_a_power_failure_right_after_it",
    ),
    Mutation(
        "successors vote",
        3,
        "ring/paxos.py",
        (
            ("if self.identity not in record.owners.owners:", "if False:"),
            (
                "if acceptor not in self.base.owners.owners or self.phase is not phase:",
                "if self.phase is not phase:",
            ),
        ),
        (
            "tests/ring/test_paxos_interleavings.py::test_successors_decide_nothing",
            f"{SIMULATION}03_agreement.py::test_successors_neither_vote_nor_choose",
        ),
    ),
    mutation(
        "one vote fewer than a majority chooses a record",
        3,
        "ring/epoch.py",
        "return len(self.owners.owners) // 2 + 1",
        "return len(self.owners.owners) // 2",
        "tests/ring/test_paxos_interleavings.py::test_a_ballot_drawn_again_reaches_no_second_majority",
        "tests/ring/test_epoch.py",
    ),
    mutation(
        "acceptors vote for any record that has the right shape",
        3,
        "ring/succession.py",
        "if proposed != expected:",
        "if False:",
        "tests/ring/test_succession.py",
    ),
    mutation(
        "a node that acceptors see alive may be evicted",
        3,
        "ring/paxos.py",
        "if identity in protected:",
        "if False:",
        f"{SIMULATION}03_agreement.py::test_nobody_evicts_a_node_that_is_seen_alive",
    ),
    mutation(
        "a record is acted under before it is on disk",
        3,
        "node/epoch/epochs.py",
        "        await self._engine.durable(always=True)\n        self._move_to(epoch)\n",
        "        self._move_to(epoch)\n",
        f"{SIMULATION}03_agreement.py::test_a_record_is_on_disk_before_anything_is_answered_under_it",
        f"{SIMULATION}16_one_step.py::test_a_record_is_on_disk_before_anything_is_served_under_it",
    ),
    mutation(
        "a node keeps its old copy of a range that it gains",
        6,
        "node/epoch/epochs.py",
        "self._engine.drop(gained, {",
        "self._engine.drop((), {",
        f"{SIMULATION}06_adoption.py::test_a_deleted_value_does_not_come_back_with_a_node_that_regains_its_range",
    ),
    Mutation(
        "a node drops a range that it gains only after it has begun to serve it",
        6,
        "node/epoch/epochs.py",
        (
            ("self._engine.drop(gained, {", "self._engine.drop((), {"),
            (
                "        self._settled.set()\n        return True\n",
                "        self._settled.set()\n"
                "        asyncio.get_running_loop().call_later(0.02, self._engine.drop, gained)\n"
                "        return True\n",
            ),
        ),
        (
            f"{SIMULATION}06_adoption.py::test_power_may_fail_at_any_step_of_an_adoption",
            f"{SIMULATION}06_adoption.py::test_nothing_is_served_while_a_record_is_being_adopted",
        ),
    ),
    mutation(
        "a node resumes a change that has another epoch number",
        6,
        "node/ring_change/progress.py",
        'if data is None or data["epoch"] != epoch:',
        "if data is None:",
        "tests/node/ring_change/test_progress.py",
    ),
)
