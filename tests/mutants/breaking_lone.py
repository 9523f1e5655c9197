"""Mutations of how a seed that lost its data folder finds its cluster, and of absorption."""

from __future__ import annotations

from .mutation import Mutation, mutation

LONE_SEED = "tests/simulation/test_lone_seed.py"
ABSORPTION = "node/absorption/absorption.py"

LONE: tuple[Mutation, ...] = (
    mutation(
        "a lone seed forms a cluster without listening first",
        2,
        "node/members/claims.py",
        "        self._until_s = asyncio.get_running_loop().time() + self._listen_s\n",
        "",
        f"{LONE_SEED}::test_a_lone_seed_that_lost_its_folder_joins_the_others_instead_of_forming_a_cluster",
    ),
    mutation(
        "a seed that a cluster counts as a member confirms another cluster",
        2,
        "node/members/claims.py",
        "        if self.claimed_by:\n            return",
        "        if self.claimed_by and self.remaining_s():\n            return",
        f"{LONE_SEED}::test_a_seed_that_listens_or_is_claimed_confirms_no_first_cluster",
    ),
    mutation(
        "a folder that remembers members forms a cluster without them",
        2,
        "node/members/genesis.py",
        "if unheard := self._unheard(answers):",
        "if (unheard := self._unheard(answers)) and missing_seeds(self.terms, seats):",
        f"{LONE_SEED}::test_a_node_whose_folder_remembers_members_forms_no_cluster_while_they_do_not_answer",
    ),
    mutation(
        "members that are down are tried once per interval by all others combined",
        0,
        "membership/gossip.py",
        "wanted = len(unreachable) * self._settings.unreachable_probes",
        "wanted = len(unreachable)",
        "tests/membership/test_gossip.py::test_all_members_together_try_one_that_is_down_several_times_per_interval",
    ),
    mutation(
        "an address is enough to make a node a member of another cluster",
        0,
        "node/members/claims.py",
        "(meant is not None and meant.name != me.name)",
        "(meant is not None and not meant.name)",
        "tests/node/members/test_claims.py::test_other_calls_are_none",
    ),
    mutation(
        "a cluster of one keeps acknowledging while it is absorbed",
        0,
        ABSORPTION,
        "            close(_refusal(claimant.cluster_id))\n",
        "",
        f"{LONE_SEED}::test_from_the_verdict_on_nothing_is_acknowledged_and_nothing_in_doubt",
    ),
    mutation(
        "a cluster of one forgets that it is being absorbed when its process dies",
        0,
        ABSORPTION,
        "        self._engine.put_meta({META_VERDICT: verdict.encode()})\n",
        "",
        f"{LONE_SEED}::test_a_node_that_dies_while_it_is_absorbed_goes_on_when_it_is_back",
    ),
    mutation(
        "a cluster that others have joined is absorbed once they have left",
        0,
        ABSORPTION,
        "if len(epoch.record.live_owners) > 1 and",
        "if len(epoch.record.live_owners) > 9 and",
        f"{LONE_SEED}::test_a_cluster_of_one_that_others_had_joined_and_left_is_not_absorbed",
    ),
    mutation(
        "a cluster of one absorbs another cluster of one",
        0,
        "node/members/claims.py",
        "return len(self.record.owners.owners) > 1 and",
        "return len(self.record.owners.owners) > 0 and",
        f"{LONE_SEED}::test_two_clusters_of_one_that_call_each_other_stay_two",
        "tests/node/members/test_claims.py::test_only_a_cluster_of_several_with_a_majority_absorbs",
    ),
    mutation(
        "deletes of an absorbed cluster of one are not transferred",
        0,
        "node/absorption/transfer.py",
        "            batch += chunk.entries\n",
        "            batch += [pair for pair in chunk.entries if not pair[1].tombstone]\n",
        f"{LONE_SEED}::test_what_a_cluster_of_one_acknowledged_is_in_the_cluster_that_absorbs_it",
    ),
    mutation(
        "an absorbed entry from below the floor is dropped",
        11,
        "node/absorption/reception.py",
        "        if current.version is not None and current.version >= entry.version:\n",
        "        if current.version is None or current.version >= entry.version:\n",
        f"{LONE_SEED}::test_a_version_below_the_floor_is_taken_unless_a_newer_one_stands",
    ),
    mutation(
        "an absorbed entry from below the floor replaces a newer one",
        11,
        "node/absorption/reception.py",
        "        if current.version is not None and current.version >= entry.version:\n",
        "        if current.version is not None and not current.version:\n",
        f"{LONE_SEED}::test_a_version_below_the_floor_is_taken_unless_a_newer_one_stands",
    ),
)
