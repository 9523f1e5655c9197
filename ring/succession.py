"""Which record may follow which.

Of (owners O, successors S or none, floor G) the next record is one of

    begin        (O, –, G) → (O, S, G)        S differs from O in nodes, tokens, zones, weights or N, W, R
    finish       (O, S, G) → (S, –, G)
    abort        (O, S, G) → (O, –, G)
    raise floor  (O, –, G) → (O, –, G′ > G)
    settings     (O, –, G) → (O, –, G)        with other settings than N, W, R

with the number one higher and the cluster id the same. N, W and R belong to a ring, so only a begin changes
them: switched on the spot from (W, R) = (2, 2) to (3, 1), a read of one replica would miss a write that the
other two acknowledged. The planner decides which step is useful, and the steward when to propose it; every acceptor
checks that it is one of these.
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
    """Make both rings live until the successors have pulled what they gain."""
    _require_stable(record)
    if successors == record.owners:
        raise IllegalSuccession("the successors are the owners: nothing would change")
    return replace(record, number=record.number + 1, successors=successors)


def finish(record: EpochRecord) -> EpochRecord:
    """Make the successors the owners."""
    return replace(record, number=record.number + 1, owners=_successors_of(record), successors=None)


def abort(record: EpochRecord) -> EpochRecord:
    """Keep the owners, and drop the successors."""
    _successors_of(record)
    return replace(record, number=record.number + 1, successors=None)


def raise_floor(record: EpochRecord, floor: int) -> EpochRecord:
    _require_stable(record)
    if floor <= record.floor:
        raise IllegalSuccession(f"the floor can only rise: it is {record.floor}, proposed is {floor}")
    return replace(record, number=record.number + 1, floor=floor)


def check_succession(current: EpochRecord, proposed: EpochRecord) -> Step:
    """Return the step by which ``proposed`` follows ``current``. Raise IllegalSuccession if there is none."""
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
    """Return the owners that a begin leaves out, in order; empty for any other step.

    (A finish evicts no node: that was decided by the begin before it.)
    """
    if proposed.successors is None:
        return ()
    return tuple(sorted(current.owners.owners.keys() - proposed.successors.owners.keys()))


def _closest_step(current: EpochRecord, proposed: EpochRecord) -> tuple[Step, EpochRecord]:
    """Return the only step that ``proposed`` can be, by its shape, and the record that the step would make."""
    if proposed.successors is not None:
        return Step.BEGIN, begin(current, proposed.successors)
    if current.successors is not None:
        # Successors always differ from their owners, so these cannot be confused.
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
