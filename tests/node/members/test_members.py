"""What the rest of a node reads of its members."""

from __future__ import annotations

import random

from covey.node.config.config import Config
from covey.node.members.members import Members
from covey.node.runtime import LocalIdentity, NodeSpec, Runtime
from covey.node.tasks import Tasks
from tests.support.manual_clock import ManualClock
from tests.support.replicas import EventRecorder
from tests.support.rings import identities

ME, PEER = identities(2)


def members_of(identity: int) -> Members:
    me = LocalIdentity((ME, PEER)[identity], 1, f"n{identity + 1}:1", process=7)
    runtime = Runtime(me, ManualClock(), random.Random(1), EventRecorder(), Tasks(print))
    return Members(Config(), NodeSpec(me.address, ()), runtime)


def test_a_member_that_was_never_heard_of_counts_as_down_and_has_no_address() -> None:
    members = members_of(0)
    assert members.is_down(PEER) and not members.is_known(PEER)
    assert (members.address_of(PEER), members.load_of(PEER)) == (None, None)
    assert members.unheard([ME, PEER]) == [PEER]
    assert members.alive() == [ME] and not members.has_met_others()


def test_a_member_that_was_heard_of_is_up_at_the_address_that_it_published() -> None:
    members = members_of(0)
    members.gossip.receive(PEER, [members_of(1).own_record()], [], 0.0)
    assert not members.is_down(PEER) and members.address_of(PEER) == "n2:1"
    assert members.alive() == [ME, PEER] and members.has_met_others()
    assert members.unheard([ME, PEER]) == []
