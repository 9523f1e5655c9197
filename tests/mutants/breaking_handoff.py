"""Mutations of handoff: pulls, finish, abort and clean-up."""

from __future__ import annotations

from .mutation import Mutation, mutation

SIMULATION = "tests/simulation/test_rule_"
MODEL = "tests/model/test_model.py::test_no_order_of_steps_breaks_a_promise"

HANDOFF = (
    mutation(
        "a source serves pulls of any epoch",
        7,
        "node/replica/service.py",
        "    async def scan(self, request: Scan) -> ScanReply | EpochMismatch | Refusal:\n"
        "        await self._epochs.settled()\n"
        "        if (mismatch := self._epochs.mismatch(request.epoch)) is not None:\n",
        "    async def scan(self, request: Scan) -> ScanReply | EpochMismatch | Refusal:\n"
        "        await self._epochs.settled()\n"
        "        if self._epochs.record is None and (mismatch := self._epochs.mismatch(request.epoch)) is not None:\n",
        f"{SIMULATION}07_pulls.py::test_a_source_gives_nothing_at_another_epoch",
        f"{SIMULATION}07_pulls.py::test_a_snapshot_from_before_the_adoption_is_not_pulled",
    ),
    mutation(
        "a late reply to a pull of an old change counts",
        7,
        "node/ring_change/puller.py",
        "            await self._data.epochs.ensure_current(stamp)\n",
        "            await self._data.epochs.settled()\n",
        f"{SIMULATION}07_pulls.py::test_a_late_pull_is_discarded",
        "tests/node/ring_change/test_puller.py",
    ),
    mutation(
        "an old change's done report counts",
        7,
        "ring/planning.py",
        "if member.handoff_done_epoch == record.number)",
        "if member.handoff_done_epoch is not None)",
        f"{SIMULATION}07_pulls.py::test_an_old_changes_done_report_finishes_nothing",
        "tests/ring/test_planning.py",
    ),
    mutation(
        "a pull from any one source is enough",
        8,
        "ring/moves.py",
        "return counted >= self.needed",
        "return counted >= 1",
        f"{MODEL}[one of three replicas is replaced]",
        f"{SIMULATION}08_sources.py::test_one_copy_that_is_not_the_displaced_ones_is_not_enough",
    ),
    mutation(
        "nodes that stay do not merge when preference lists get shorter",
        8,
        "ring/moves.py",
        "merge_all = owners.quorums != successors.quorums or successors.n < owners.n",
        "merge_all = owners.quorums != successors.quorums",
        f"{MODEL}[three replicas become one]",
    ),
    mutation(
        "nodes do not merge when N, W, R change",
        8,
        "ring/moves.py",
        "merge_all = owners.quorums != successors.quorums or successors.n < owners.n",
        "merge_all = successors.n < owners.n",
        f"{MODEL}[N, W, R change]",
        f"{SIMULATION}08_sources.py::test_under_new_quorums_every_copy_is_merged_anew",
    ),
    mutation(
        "a change is finished before its pulls are done",
        9,
        "ring/moves.py",
        "for puller in self.pullers if puller not in done",
        "for puller in ()",
        f"{MODEL}[one of two replicas is replaced]",
        f"{SIMULATION}09_finish.py::test_no_change_is_finished_before_all_that_gain_are_done",
    ),
    mutation(
        "a change is finished while old owners have not adopted it",
        9,
        "ring/moves.py",
        "return owners.n - owners.r + 1",
        "return 0",
        f"{MODEL}[one of three is replaced, R = 1]",
    ),
    mutation(
        "a node reports done before its pulls are on disk",
        16,
        "node/ring_change/progress.py",
        "        self._engine.put_meta({META_HANDOFF: self.progress.encode()})\n"
        "        await self._engine.durable(always=True)\n",
        "        self._engine.put_meta({META_HANDOFF: self.progress.encode()})\n",
        f"{SIMULATION}16_one_step.py::test_a_gainer_is_done_only_with_what_it_has_synced",
        "tests/node/ring_change/test_puller.py",
    ),
    mutation(
        "the cursor of a pull is not stored with its entries",
        0,
        "node/ring_change/progress.py",
        "self._engine.merge(chunk.entries, {META_HANDOFF: progress.encode()})",
        "self._engine.merge(chunk.entries)",
        f"{SIMULATION}06_adoption.py::test_a_restart_in_the_middle_of_a_handoff_goes_on_where_it_was",
    ),
    mutation(
        "tombstones are not handed off",
        0,
        "node/ring_change/progress.py",
        "self._engine.merge(chunk.entries, {META_HANDOFF: progress.encode()})",
        "self._engine.merge([(k, e) for k, e in chunk.entries if not e.tombstone],"
        " {META_HANDOFF: progress.encode()})",
        "tests/node/ring_change/test_puller.py",
    ),
    mutation(
        "a damaged chunk is merged",
        0,
        "node/epoch/fenced_client.py",
        "if reply.checksum != checksum_of(reply.entries):",
        "if False:",
        "tests/node/epoch/test_fenced_client.py::test_a_chunk_that_was_damaged_in_transit_is_an_error",
        "tests/node/ring_change/test_puller.py",
    ),
    mutation(
        "copies are cleaned up while the ring changes",
        10,
        "node/ring_change/handoff.py",
        "work = self._pull(epoch) if epoch.record.changing else self._clean_up(epoch)",
        "work = self._clean_up(epoch)",
        f"{SIMULATION}10_cleanup.py::test_nothing_is_deleted_while_the_ring_changes_however_long",
    ),
    Mutation(
        "a clean-up continues in a later epoch",
        10,
        "node/ring_change/handoff.py",
        (
            ("            if self._epochs.stamp != epoch.stamp:\n                return\n", ""),
            ("            self._task.cancel()\n        work", "            pass\n        work"),
        ),
        (
            f"{SIMULATION}10_cleanup.py::test_what_a_node_has_regained_is_not_deleted_by_an_earlier_epochs_clean_up",
            f"{SIMULATION}10_cleanup.py::test_a_clean_up_ends_in_its_middle_when_the_epoch_does",
        ),
    ),
    mutation(
        "copies are deleted without a grace period",
        10,
        "node/ring_change/handoff.py",
        "await asyncio.sleep(self._grace_s)",
        "await asyncio.sleep(0)",
        f"{SIMULATION}10_cleanup.py::test_displaced_copies_stay_for_the_grace_and_then_go",
    ),
    mutation(
        "owners that gossip does not know are not looked for",
        0,
        "node/node.py",
        "        tasks.spawn(self._seeds.discover_owners(addresses, self._config.heartbeat_interval))\n",
        "",
        "tests/simulation/test_membership_scenarios.py::"
        "test_two_groups_that_started_apart_and_never_heard_of_each_other_meet",
    ),
    mutation(
        "the address of an owner that was not heard of is forgotten",
        0,
        "node/disk_identity/memory.py",
        "        addresses = {owner: self._addresses[owner] for owner in unheard if owner in self._addresses}\n",
        "        addresses = {}\n",
        "tests/simulation/test_membership_scenarios.py::"
        "test_where_the_others_were_outlasts_a_life_in_which_they_were_not_heard_of",
    ),
    mutation(
        "a change is aborted as soon as a node that pulls is down",
        0,
        "ring/planning.py",
        "MAX_DOWN_FRACTION = 0.25",
        "MAX_DOWN_FRACTION = 0.0",
        "tests/simulation/test_ring_change_scenarios.py::test_a_joiner_that_flaps_pulls_once",
    ),
)
