"""Mutations of planning ring changes."""

from __future__ import annotations

from .mutation import Mutation, mutation

STEWARD = "tests/node/ring_change/test_steward.py::"

PLAN = (
    mutation(
        "every owner plans what only the steward proposes",
        0,
        "node/ring_change/steward.py",
        "        if not self._may_propose(planner.record, planner.view):\n            return None\n",
        "",
        f"{STEWARD}test_only_the_steward_plans_and_once_for_the_same_inputs",
    ),
    mutation(
        "a plan is made again at every event",
        0,
        "node/ring_change/steward.py",
        "if self._planned is None or self._planned[0] != key:",
        "if True:",
        f"{STEWARD}test_only_the_steward_plans_and_once_for_the_same_inputs",
    ),
    mutation(
        "an outdated plan is proposed",
        0,
        "node/ring_change/steward.py",
        "return self._may_propose(record, view) and not is_outdated(planned, view)",
        "return self._may_propose(record, view)",
        f"{STEWARD}test_a_plan_whose_joiner_died_while_it_was_made_is_not_proposed",
    ),
    Mutation(
        "any number of changes begins together",
        0,
        "ring/begin_planner.py",
        (("MAX_CHANGES = 8\n", "MAX_CHANGES = 1000\n"),),
        (f"{STEWARD}test_at_most_eight_changes_begin_together",),
    ),
    mutation(
        "a node has as many virtual nodes as its weight makes",
        0,
        "ring/allocation.py",
        "return min(MAX_TOKENS, max(1, round(weight * tokens_per_weight)))",
        "return max(1, round(weight * tokens_per_weight))",
        "tests/ring/test_allocation.py::test_no_weight_makes_more_tokens_than_a_node_may_have",
    ),
)
