"""Which calls of other clusters' members are claims."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from covey.identity import Identity
from covey.node.epoch.epochs import Epochs
from covey.node.errors import PeerUnreachable
from covey.node.members.claims import MAX_CLAIMS, Claimant, Claims
from covey.node.messages.envelope import Envelope, Reply, Request
from covey.node.peer.client import PeerClient
from covey.node.runtime import LocalIdentity
from covey.quorum.hybrid_clock import HybridClock
from covey.ring.epoch import EpochRecord, Owner, Quorums, RingSpec
from tests.support.manual_clock import ManualClock

ME, OLD, OTHER = Identity("n1", 1), Identity("n1", 2), Identity("n2", 3)
CALL = Envelope(OTHER, 1, "n2:1", "theirs", OLD, timestamp=0)


class NobodyThere:
    """A network in which nobody listens."""

    async def call(self, address: str, request: Request, *, timeout_s: float) -> Reply:
        raise PeerUnreachable(f"nothing listens at {address}")

    async def close(self) -> None:
        pass


class AtCluster(Epochs):
    """The epochs of a node in this cluster."""

    def __init__(self, cluster_id: str) -> None:
        self._id = cluster_id

    def cluster_id(self) -> str:
        return self._id


def claims(cluster_id: str = "mine") -> Claims:
    peers = PeerClient(
        LocalIdentity(ME, 1, "n1:1"),
        NobodyThere(),
        HybridClock(ManualClock(), 0.5),
        address_of=lambda member: None,
        cluster_id=lambda: cluster_id,
        rpc_timeout_s=1.0,
    )
    return Claims(peers, AtCluster(cluster_id))


@pytest.mark.parametrize("mine", ["", "mine"])
@pytest.mark.parametrize("destination", [OLD, None])
def test_a_call_from_another_cluster_meant_for_this_name_is_a_claim(
    mine: str, destination: Identity | None
) -> None:
    noted = claims(mine)
    noted.note(replace(CALL, destination=destination))
    assert noted.heard.is_set()


@pytest.mark.parametrize(
    "call",
    [
        replace(CALL, destination=Identity("n3", 2)),
        replace(CALL, destination=ME),
        replace(CALL, cluster_id=""),
        replace(CALL, cluster_id="mine"),
        replace(CALL, source=OLD),
    ],
    ids=["another name", "this disk", "no cluster", "own cluster", "its own name"],
)
def test_other_calls_are_none(call: Envelope) -> None:
    noted = claims()
    noted.note(call)
    assert not noted.heard.is_set()


async def test_a_claim_of_a_member_that_does_not_answer_does_not_hold() -> None:
    noted = claims()
    noted.note(CALL)
    assert await noted.claimant() is None
    assert await noted.wait_for_claimant(0.01) is None


def test_few_claims_are_kept_however_many_clusters_call() -> None:
    noted = claims()
    for number in range(100):
        noted.note(replace(CALL, cluster_id=f"c{number}"))
    assert len(noted._claims) == MAX_CLAIMS


@pytest.mark.parametrize(
    ("owners", "up", "absorbs"), [(1, 1, False), (2, 1, False), (2, 2, True), (3, 2, True)]
)
def test_only_a_cluster_of_several_with_a_majority_absorbs(owners: int, up: int, absorbs: bool) -> None:
    ring = RingSpec({Identity(f"n{n}", n): Owner((n,)) for n in range(owners)}, Quorums())
    assert Claimant(EpochRecord(3, "theirs", ring), up, ((OTHER, "n2:1"),)).absorbs is absorbs


def test_waiting_for_a_claim_ends_with_its_time() -> None:
    assert asyncio.run(claims().wait_for_claimant(0.0)) is None
