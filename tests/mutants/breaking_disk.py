"""Mutations of the checks that tie an identity to its data."""

from __future__ import annotations

from .mutation import mutation

SET_BACK = "tests/simulation/test_rule_01_set_back.py::"

DISK = (
    mutation(
        "an engine that was emptied keeps the folder's identity",
        1,
        "node/disk_identity/history.py",
        "        if self._home.claimed or (self._home.older and not self._has_data()):\n",
        "        if self._home.older and not self._has_data():\n",
        f"{SET_BACK}test_an_emptied_engine_is_a_new_disk",
    ),
    mutation(
        "an engine with another node's data is accepted",
        1,
        "node/disk_identity/history.py",
        "            mine = record.identity == self._home.identity\n",
        "            mine = True\n",
        f"{SET_BACK}test_an_engine_of_another_node_is_a_new_disk",
    ),
    mutation(
        "a copied folder serves while it is in doubt",
        1,
        "node/disk_identity/check.py",
        "        elif self._home.doubt or await self._is_contradicted():\n",
        "        elif await self._is_contradicted():\n",
        f"{SET_BACK}test_a_copy_of_a_node_that_had_ended_goes_on_when_all_others_know_no_more",
    ),
    mutation(
        "a start does not compare the disk with what peers remember of it",
        1,
        "node/disk_identity/check.py",
        "            if (extent := self._history.contradicted_by(reply.remembered)) is not None:\n",
        "            if (extent := self._history.contradicted_by(reply.remembered[:0])) is not None:\n",
        f"{SET_BACK}test_what_the_folder_does_not_show_peers_tell_before_anything_is_served",
    ),
    mutation(
        "a serving node ignores what others remember of its disk",
        1,
        "node/disk_identity/check.py",
        "        if self._me.silent or (extent",
        "        if self._me.process or (extent",
        f"{SET_BACK}test_a_peer_that_was_away_tells_a_node_that_serves_already",
    ),
    mutation(
        "only the last opening of a disk is compared with what others remember",
        1,
        "membership/extent.py",
        "            return same and (is_last or extent.mark <= openings[place + 1].mark)\n",
        "            return same\n",
        "tests/membership/test_extent.py::test_a_gain_made_after_being_set_back_does_not_hide_it",
        f"{SET_BACK}test_a_peer_that_was_away_tells_a_node_that_serves_already",
    ),
    mutation(
        "a disk in doubt serves before every other owner has answered",
        1,
        "node/disk_identity/check.py",
        "    if missing:\n",
        "    if missing and not answers:\n",
        f"{SET_BACK}test_a_copy_of_a_node_that_had_ended_goes_on_when_all_others_know_no_more",
    ),
    mutation(
        "a disk is replaced although too few owners are left to admit a new one",
        1,
        "node/disk_identity/check.py",
        "        if replaceable:\n",
        "        if answers:\n",
        f"{SET_BACK}test_all_disks_that_are_put_back_together_wait_rather_than_be_given_up",
    ),
    mutation(
        "the extent counts writes that no fsync covers",
        16,
        "node/storage/engine.py",
        "        reached = self._store.extent()\n        await self._store.sync()\n",
        "        await self._store.sync()\n        reached = self._store.extent() + 1\n",
        "tests/node/storage/test_extent.py::test_losing_power_takes_nothing_of_what_was_durable",
    ),
    mutation(
        "a rewritten database restarts its extent at zero",
        1,
        "node/storage/rocks.py",
        "        return self._extent_before + number\n",
        "        return number\n",
        "tests/node/storage/test_extent.py::test_a_rewritten_database_counts_on_from_the_old_one",
    ),
    mutation(
        "a copied data folder is not recognised as a copy",
        1,
        "node/data_directory/witness.py",
        '        return content["place"] == place, remembered\n',
        "        return True, remembered\n",
        "tests/node/data_directory/test_directory.py::test_a_copy_of_a_folder_is_in_doubt",
    ),
)
