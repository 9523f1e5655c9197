"""Mutations of keys ahead of all clocks, and of the limits on logs and files."""

from __future__ import annotations

from .mutation import Mutation, mutation

AHEAD = "tests/simulation/test_keys_ahead.py"
SOURCE = "tests/node/coordinator/test_version_source.py"

FUTURE: tuple[Mutation, ...] = (
    mutation(
        "two writes of a key that is ahead of all clocks get the same version",
        14,
        "node/coordinator/version_source.py",
        "max(held, self._drawn_above.get(slot, 0)) + 1",
        "held + 1",
        f"{SOURCE}::test_no_version_is_drawn_twice_for_one_key",
    ),
    mutation(
        "a clock that was set back makes a node draw the same versions again",
        14,
        "node/coordinator/version_source.py",
        "            self._low_bits += 2\n",
        "            self._low_bits += 0\n",
        f"{SOURCE}::test_timestamps_that_repeat_after_a_clock_was_set_back_differ_in_their_low_bits",
    ),
    mutation(
        "a write gets a second version although a replica has applied the first",
        14,
        "node/coordinator/slow_write.py",
        "        await self._all_answered()\n        if self._exposure.maybe_read:\n",
        "        await self._all_answered()\n        if False:\n",
        f"{AHEAD}::test_a_write_that_a_replica_took_below_what_stands_is_not_written_a_second_time",
    ),
    mutation(
        "a write that meets a version ahead of all clocks leaves a hint of its first version",
        15,
        "node/coordinator/slow_write.py",
        "if self.reached and ended is Ended.DECIDED and not ahead:",
        "if self.reached and ended is Ended.DECIDED:",
        f"{AHEAD}::test_a_write_that_goes_on_alone_is_written_above_too_and_leaves_hints_of_that_alone",
    ),
    mutation(
        "a reply reports a version that no other node follows as seen",
        14,
        "node/rpc/codec/operations.py",
        "    if seen > furthest_seen:\n",
        "    if False:\n",
        "tests/node/rpc/test_operate.py::"
        "test_a_version_that_other_nodes_would_not_follow_does_not_count_as_seen",
    ),
    mutation(
        "a client that has seen a version ahead of all clocks is refused",
        14,
        "node/coordinator/version_source.py",
        "        if not self.clock.follows(seen_timestamp):\n            seen_timestamp = 0\n",
        "",
        f"{SOURCE}::test_what_a_client_has_seen_beyond_the_bound_is_ignored",
        f"{AHEAD}::test_a_read_of_such_a_key_leaves_all_other_keys_as_they_are",
    ),
    mutation(
        "a write need not exceed what its client wrote ahead of all clocks, once clocks follow that",
        14,
        "node/coordinator/version_source.py",
        "return drawn_above or not self.clock.follows(version.timestamp)",
        "return not self.clock.follows(version.timestamp)",
        f"{AHEAD}::test_a_clients_order_is_kept_while_time_catches_up_with_a_key",
    ),
    mutation(
        "what a client lost track of far ahead hides what it has seen",
        14,
        "client/sender.py",
        "seen, lost = self._seen.observed, self._seen.lost",
        "seen = lost = self._seen.timestamp",
        "tests/client/test_sender.py::test_what_a_write_that_timed_out_may_yet_get_counts_as_seen",
    ),
    mutation(
        "a coordinator does not rise to what its client lost track of",
        14,
        "node/coordinator/version_source.py",
        "            self._follow(lost_timestamp)\n",
        "            pass\n",
        f"{SOURCE}::test_what_a_client_lost_track_of_is_risen_above",
    ),
    mutation(
        "a version is drawn that its client may not count as seen",
        14,
        "node/coordinator/version_source.py",
        "return max(self.clock.latest_followed(), self._drawn)",
        "return self.clock.latest_followed()",
        f"{SOURCE}::test_a_version_counts_as_seen_also_when_the_wall_clock_is_set_back_before_the_reply",
    ),
    mutation(
        "what was drawn before the wall clock was set back by hours counts as seen",
        14,
        "node/coordinator/version_source.py",
        "        if self.clock.was_set_back():\n            return self.clock.latest_followed()\n",
        "",
        f"{SOURCE}::test_what_was_drawn_before_a_clock_went_back_far_no_longer_counts_as_seen",
    ),
    mutation(
        "a floor that was raised while clocks were ahead blocks all writes",
        11,
        "node/coordinator/version_source.py",
        "        if not self.clock.follows(floor) and not self._is_only_owner():\n",
        "        if False:\n",
        f"{AHEAD}::test_a_floor_that_was_raised_while_clocks_were_ahead_stops_no_writes",
    ),
    mutation(
        "every repetition of an event is logged",
        0,
        "node/event_limit.py",
        "        if repeats is not None:\n",
        "        if False:\n",
        "tests/node/test_event_limit.py",
    ),
    mutation(
        "a data folder starts under a generation that versions have no room for",
        1,
        "node/data_directory/opening.py",
        "if type(generation) is not int or not 1 <= generation <= MAX_GENERATION:",
        "if type(generation) is not int:",
        "tests/node/config/test_json_file.py::test_a_generation_that_cannot_be_is_refused",
    ),
)
