"""The legal steps from one epoch record to the next.

A record has owners O, successors S (or none) and a floor G. The steps are

    begin        (O, –, G) → (O, S, G)        S differs from O in nodes, tokens, zones, weights or N, W, R
    finish       (O, S, G) → (S, –, G)
    abort        (O, S, G) → (O, –, G)
    raise floor  (O, –, G) → (O, –, G′ > G)
    settings     (O, –, G) → (O, –, G)        with other settings than N, W, R

Each step increases the number by one and keeps the cluster id. N, W and R belong to a ring, so only a begin changes
them: if (W, R) changed from (2, 2) to (3, 1) without one, a read of one replica could miss a write that the other two
acknowledged. The planner decides which step is useful, and the steward when to propose it. Every acceptor checks that a
proposal is one of these steps.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from ..identity import Identity
from .epoch import EpochRecord, RingSpec


class Step(StrEnum):
    BEGIN = "begin"
    FINISH = "finish"
    ABORT = "abort"
    RAISE_FLOOR = "raise_floor"
    SETTINGS = "settings"


class IllegalSuccession(ValueError):
    """The proposed record may not follow the current one; the text gives the reason."""


def begin(record: EpochRecord, successors: RingSpec) -> EpochRecord:
    """Return the record that makes both rings live until the successors have pulled what they gain."""
    _require_stable(record)
    if successors == record.owners:
        raise IllegalSuccession("the successors are the owners: nothing would change")
    return replace(record, number=record.number + 1, successors=successors)


def finish(record: EpochRecord) -> EpochRecord:
    """Return the record that makes the successors the owners."""
    return replace(record, number=record.number + 1, owners=_successors_of(record), successors=None)


def abort(record: EpochRecord) -> EpochRecord:
    """Return the record that keeps the owners and drops the successors."""
    _successors_of(record)
    return replace(record, number=record.number + 1, successors=None)


def raise_floor(record: EpochRecord, floor: int) -> EpochRecord:
    _require_stable(record)
    if floor <= record.floor:
        raise IllegalSuccession(f"the floor can only rise: it is {record.floor}, proposed is {floor}")
    return replace(record, number=record.number + 1, floor=floor)


def check_succession(current: EpochRecord, proposed: EpochRecord) -> Step:
    """Return the step that leads from ``current`` to ``proposed``. Raise IllegalSuccession if there is none."""
    if proposed.cluster_id != current.cluster_id:
        raise IllegalSuccession(f"cluster {proposed.cluster_id} is not cluster {current.cluster_id}")
    if proposed.number != current.number + 1:
        raise IllegalSuccession(f"record {proposed.number} does not follow record {current.number}")
    try:
        proposed.check()
    except ValueError as error:
        raise IllegalSuccession(f"the proposed record is invalid: {error}") from error
    step, expected = _closest_step(current, proposed)
    if proposed != expected:
        raise IllegalSuccession(
            f"a record that is to {step.replace('_', ' ')} changes something else as well"
        )
    return step


def evicted(current: EpochRecord, proposed: EpochRecord) -> tuple[Identity, ...]:
    """Return the owners that a begin removes, in order; empty for any other step.

    A finish evicts no node, because the begin before it has decided that.
    """
    if proposed.successors is None:
        return ()
    return tuple(sorted(current.owners.owners.keys() - proposed.successors.owners.keys()))


def _closest_step(current: EpochRecord, proposed: EpochRecord) -> tuple[Step, EpochRecord]:
    """Return the only step that ``proposed`` can be, by its shape, and the record that the step would make."""
    if proposed.successors is not None:
        return Step.BEGIN, begin(current, proposed.successors)
    if current.successors is not None:
        # Successors always differ from the owners, so that an abort and a finish can be distinguished.
        if proposed.owners == current.owners:
            return Step.ABORT, abort(current)
        return Step.FINISH, finish(current)
    if proposed.floor != current.floor:
        return Step.RAISE_FLOOR, raise_floor(current, proposed.floor)
    changed = replace(current, number=current.number + 1, settings=proposed.settings)
    if changed == replace(current, number=current.number + 1):
        raise IllegalSuccession("a record must change something; owners and N, W, R change by a begin")
    return Step.SETTINGS, changed


def _require_stable(record: EpochRecord) -> None:
    if record.changing:
        raise IllegalSuccession(f"record {record.number} is changing: finish or abort that first")


def _successors_of(record: EpochRecord) -> RingSpec:
    if record.successors is None:
        raise IllegalSuccession(f"record {record.number} has no successors to finish or abort")
    return record.successors
