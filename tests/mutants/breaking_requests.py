"""Mutations of how coordinators read and write, and of how versions are drawn."""

from __future__ import annotations

from .mutation import Mutation, mutation

SIMULATION = "tests/simulation/test_rule_"
MODEL = "tests/model/test_model.py::test_no_order_of_steps_breaks_a_promise"

REQUESTS = (
    mutation(
        "acknowledgements under the epoch that the coordinator has left count",
        4,
        "node/quorum/attempt.py",
        "self._end(Ended.MOVED_ON)",
        "pass",
        "tests/node/quorum/test_attempt.py",
        f"{SIMULATION}04_equal_epochs.py",
    ),
    Mutation(
        "a write asks only the old ring",
        4,
        "node/quorum/consistency.py",
        (
            (
                "everyone = tuple(Requirement(ring.preference_list(token), ring.n) for ring in epoch.rings)",
                "everyone = tuple(Requirement(ring.preference_list(token), ring.n) for ring in epoch.rings[:1])",
            ),
            (
                "strict = [_strict(ring, ring.w, consistency) for ring in epoch.rings]",
                "strict = [_strict(ring, ring.w, consistency) for ring in epoch.rings[:1]]",
            ),
        ),
        (f"{MODEL}[one of three replicas is replaced]",),
    ),
    mutation(
        "a write is tried again under a new version",
        4,
        "node/quorum/write.py",
        "                tries += 1\n",
        "                tries += 1\n"
        "                raised = entry.version._replace(timestamp=entry.version.timestamp + tries)\n"
        "                merge = Merge(key, entry._replace(version=raised), MergeKind.WRITE)\n",
        f"{SIMULATION}04_equal_epochs.py::test_a_retried_write_keeps_its_version",
        "tests/node/quorum/test_write.py",
    ),
    mutation(
        "a write that may have happened is said not to have",
        0,
        "node/quorum/write.py",
        "return self.unanswered > 0 or self.applied > 0",
        "return self.applied > 0",
        "tests/node/quorum/test_write.py",
    ),
    mutation(
        "a read asks only the old ring",
        5,
        "node/quorum/consistency.py",
        "for ring, needed in zip(epoch.rings, strict, strict=True)",
        "for ring, needed in zip(epoch.rings[:1], strict[:1], strict=True)",
        f"{SIMULATION}05_reads.py::test_a_read_needs_its_quorum_in_every_live_ring",
        f"{MODEL}[one copy moves]",
    ),
    mutation(
        "a read does not wait for its write-back",
        5,
        "node/quorum/read.py",
        "                self._not_written[replica] = None\n        self._decide()\n\n    def _on_written_back",
        "                self._not_written[replica] = None\n        self._answer(entry)\n\n    def _on_written_back",
        f"{SIMULATION}05_reads.py::test_a_read_that_cannot_write_back_does_not_answer",
        f"{SIMULATION}05_reads.py::test_one_reply_that_cannot_be_written_back_is_no_answer",
    ),
    mutation(
        "a read counts one copy less than a write needs",
        5,
        "node/quorum/tally.py",
        "return satisfied(self.holders, known)",
        "return sum(len(part.replicas) for part in self.holders) == 0 or bool(known)",
        f"{MODEL}[nothing changes]",
        f"{SIMULATION}05_reads.py::test_one_reply_is_written_back_where_a_write_needs_more",
    ),
    mutation(
        "a quorum of any live ring is enough",
        4,
        "node/quorum/tally.py",
        "return all(sum(r in answered for r in part.replicas) >= part.needed for part in requirements)",
        "return any(sum(r in answered for r in part.replicas) >= part.needed for part in requirements)",
        f"{MODEL}[one of three replicas is replaced]",
    ),
    mutation(
        "a read returns the oldest of the replies",
        5,
        "node/quorum/tally.py",
        "return max(entries, key=lambda entry: entry.version, default=None)",
        "return min(entries, key=lambda entry: entry.version, default=None)",
        "tests/node/quorum/test_tally.py",
        f"{MODEL}[nothing changes]",
        seed=1,
    ),
    mutation(
        "a version need not exceed the floor",
        11,
        "node/quorum/version_source.py",
        "above = max(record.floor if record is not None else 0, seen_timestamp)",
        "above = seen_timestamp",
        f"{SIMULATION}14_versions.py::test_a_write_is_above_the_floor",
    ),
    Mutation(
        "a version need not exceed what its client has seen",
        14,
        "node/quorum/version_source.py",
        (
            (
                "above = max(record.floor if record is not None else 0, seen_timestamp)",
                "above = record.floor if record is not None else 0",
            ),
            ("self._clock.observe(seen_timestamp)", "pass"),
        ),
        (f"{SIMULATION}14_versions.py::test_a_write_is_above_what_its_client_has_seen",),
    ),
    mutation(
        "a node that starts again coordinates before it has compared its clock",
        14,
        "node/quorum/skew_guard.py",
        "            return self._not_compared()\n",
        "            return None\n",
        "tests/simulation/test_clock_scenarios.py::"
        "test_a_node_that_starts_with_a_clock_ahead_keeps_nothing_of_the_future",
    ),
    mutation(
        "versions are told apart by the wall clock alone",
        14,
        "node/storage/store_engine.py",
        "if before is not None and rank_in(before) >= rank_in(after):",
        "if before is not None and version_in(before).wall_ms >= version_in(after).wall_ms:",
        "tests/node/storage/test_engine.py",
        f"{SIMULATION}14_versions.py::test_every_write_of_one_coordinator_is_newer_though_its_clock_stands_still",
        seed=1,
    ),
    mutation(
        "a clock that is far ahead is followed",
        14,
        "node/quorum/clock.py",
        "if ahead_ms > self._max_skew_ms:",
        "if False:",
        f"{SIMULATION}14_versions.py::test_data_from_beyond_the_skew_is_refused_and_not_followed",
    ),
    Mutation(
        "a coordinator heeds neither the versions on its disk nor those it reads",
        14,
        "node/quorum/version_source.py",
        (
            ("        clock.begin(latest_on_disk())\n", ""),
            ("self._clock.follow_disk(self._latest_on_disk())", "pass"),
            (
                "whoever reads it is told it all the same\n            self._clock.observe(version.timestamp)",
                "whoever reads it is told it all the same\n            pass",
            ),
        ),
        (f"{SIMULATION}14_versions.py::test_a_coordinator_writes_above_what_it_has_read",),
    ),
    mutation(
        "a node draws the versions of its last run again",
        14,
        "node/datafolder.py",
        "return MemoryDataFolder(self.identity, self.generation + 1, self._addresses)",
        "return MemoryDataFolder(self.identity, self.generation, self._addresses)",
        f"{SIMULATION}14_versions.py::test_a_version_is_not_drawn_twice_though_the_clock_shows_the_same_time_again",
    ),
    Mutation(
        "a hint counts towards W",
        15,
        "node/quorum/write.py",
        (
            (
                "if (short := self._replicas.short_of(plan.acknowledgements)) is not None:",
                "if short := None:",
            ),
            (
                "                    tally.fail(replica)\n                    missed.by(replica)\n",
                "                    tally.acknowledge(replica, merge.entry.version)\n"
                "                    missed.by(replica)\n",
            ),
        ),
        (f"{SIMULATION}15_hints.py::test_hints_never_count_towards_w",),
        seed=1,
    ),
    mutation(
        "a write that was not acknowledged leaves a hint",
        15,
        "node/quorum/write.py",
        "        if tally.reached and ended is Ended.DECIDED:\n            missed.acknowledged()\n",
        "        missed.acknowledged()\n",
        f"{SIMULATION}15_hints.py::test_a_write_that_was_reported_as_not_done_does_not_happen_later",
        f"{SIMULATION}15_hints.py::test_one_that_may_have_been_done_is_not_spread_by_hints",
    ),
    mutation(
        "a hint goes to who is no longer in the key's list",
        15,
        "node/repair/hint_replay.py",
        "return any(hint.to in ring.preference_list(token) for ring in epoch.rings)",
        "return bool(token >= 0)",
        f"{SIMULATION}15_hints.py::test_a_hint_for_who_is_no_longer_in_the_keys_list_is_discarded",
    ),
    mutation(
        "a hint that was not taken is forgotten",
        15,
        "node/repair/hint_replay.py",
        "            return []  # kept, and tried again",
        "            return list(hints)",
        "tests/node/repair/test_hint_replay.py",
    ),
    mutation(
        "an older hint takes the place of a newer one",
        0,
        "node/storage/hints.py",
        "if older is not None and older.version >= hint.entry.version:",
        "if older is not None and older.version == hint.entry.version:",
        "tests/node/storage/test_hints.py",
    ),
)
