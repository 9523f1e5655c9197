"""Flags that switch off one part of a rule each, so that a search shows what it prevents.

A flag that is True keeps its part. ``RULE`` maps each flag to its rule (docs/ring-changes.md, rules 1 to 17),
``BROKEN`` to a description of a cluster without it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace


def _rule(number: int, broken: str) -> bool:
    made: bool = field(default=True, metadata={"rule": number, "broken": broken})
    return made


@dataclass(frozen=True)
class Rules:
    wiped_disk_is_a_new_node: bool = _rule(1, "a node whose disk was wiped keeps its old identity")
    quorums_change_by_a_begin: bool = _rule(3, "N, W and R change without a begin")
    replicas_are_fenced: bool = _rule(4, "a replica serves requests of any epoch")
    writes_ask_owners: bool = _rule(4, "a write asks only the successors")
    writes_ask_successors: bool = _rule(4, "a write asks only the owners")
    acks_of_one_epoch: bool = _rule(4, "acknowledgements of several epochs are added up")
    retry_keeps_version: bool = _rule(4, "a retried write draws a new version")
    reads_ask_owners: bool = _rule(5, "a read asks only the successors")
    reads_ask_successors: bool = _rule(5, "a read asks only the owners")
    replies_of_one_epoch: bool = _rule(5, "replies of several epochs are added up")
    read_waits_for_write_back: bool = _rule(5, "a read answers before its write-back is done")
    read_knows_w_holders: bool = _rule(5, "a read answers without write-back when all replies agree")
    gaining_drops: bool = _rule(6, "a node keeps its old copy of a range that it gains")
    drops_before_serving: bool = _rule(
        6, "a node drops a range that it gains only after it has begun to serve it"
    )
    resumes_its_own_number: bool = _rule(6, "a node resumes a change that has another epoch number")
    pulls_carry_epoch: bool = _rule(7, "a late reply to a pull of an old change counts")
    done_carries_epoch: bool = _rule(7, "an old change's done report counts")
    snapshot_after_adoption: bool = _rule(7, "a source serves a pull before it has adopted the change")
    pulls_from_enough: bool = _rule(8, "a pull from any one source is enough")
    shrinking_merges: bool = _rule(8, "nodes that stay do not merge when preference lists get shorter")
    finish_waits_for_done: bool = _rule(9, "a change is finished before its pulls are done")
    finish_waits_for_adoption: bool = _rule(9, "a change is finished while old owners have not adopted it")
    cleanup_when_stable: bool = _rule(10, "copies are cleaned up while the ring changes")
    cleanup_rechecks: bool = _rule(10, "a deletion that was decided in one epoch happens in a later one")
    floor_at_the_door: bool = _rule(11, "a write at or below the floor is accepted")
    confirmed_by_all: bool = _rule(12, "a tombstone is purged when a quorum has confirmed it")
    purge_needs_floor: bool = _rule(12, "a tombstone is purged although the floor is below it")
    purge_needs_newer_epoch: bool = _rule(12, "a tombstone is purged in the epoch that confirmed it")
    purge_only_the_tombstone: bool = _rule(12, "a purge deletes any version that the replica holds")
    hints_never_count: bool = _rule(15, "a hint counts as an acknowledgement")
    check_and_apply_in_one_step: bool = _rule(16, "the epoch changes between the check and the apply")
    sync_before_report: bool = _rule(16, "a replica reports what no fsync covers")
    healing_needs_newer_epoch: bool = _rule(17, "a corrupt range is healed in the epoch that it was found in")
    corrupt_is_unknown: bool = _rule(17, "a corrupt range answers as if it were empty")

    def without(self, flag: str) -> Rules:
        return replace(self, **{flag: False})


KEPT = Rules()
RULE: dict[str, int] = {flag.name: flag.metadata["rule"] for flag in fields(Rules)}
BROKEN: dict[str, str] = {flag.name: flag.metadata["broken"] for flag in fields(Rules)}
