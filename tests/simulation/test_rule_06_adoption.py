"""Rule 6: what a node holds of a range that it enters goes, in one durable step with the record that says so."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from covey.identity import Identity
from covey.node.epochs import META_HANDOFF, Epochs
from covey.node.handoff.progress import PullProgress
from covey.node.handoff.puller import assignments_of
from covey.node.messages import DataBatch, EpochMismatch, Merge, PushRecord, Read, Scan
from covey.node.operations import Consistency, Level
from covey.node.quorum.version import Version
from covey.node.storage.engine import Entry
from covey.node.storage.memory import MemoryEngine
from covey.ring.epoch import EpochRecord, Owner, Quorums, RingSpec
from covey.ring.hashing import token_of
from covey.ring.moves import gained_spans
from covey.ring.ring import Ring
from covey.ring.span import Span
from covey.ring.succession import abort, begin

from .cluster import SimulatedCluster
from .network import Message
from .staging import carrying, record_of
from .virtual_time import in_virtual_time

KEYS = [b"key %d" % i for i in range(60)]
ALL = Consistency(Level.ALL)
FOR_EVER_S = 10_000.0


# --- on one disk ---

ME, *OTHERS = (Identity(name, number) for number, name in enumerate("abcd"))


def change_that_me_gains_by() -> EpochRecord:
    """Three others own everything in two copies; ``ME`` enters some lists."""
    seats = {identity: Owner((1 << 60) + (i << 62),) if False else Owner(((i << 62) + 5,)) for i, identity in enumerate(OTHERS)}
    quorums = Quorums(2, 2, 1)
    record = EpochRecord(1, "cluster", RingSpec(seats, quorums))
    return begin(record, RingSpec({**seats, ME: Owner((3 << 62,))}, quorums))
