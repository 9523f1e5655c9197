"""A deleted key and the state of its tombstone, for tests of docs/ring-changes.md, rules 11 to 13."""

from __future__ import annotations

from covey.node.storage.interface import Entry
from covey.quorum.version import Version
from covey.ring.epoch import EpochRecord
from covey.ring.ring import Ring
from covey.ring.succession import raise_floor
from covey.ring.tokens import token_of

from .cluster import SimulatedCluster
from .scenario import KEY, distribute, held, record_of

TOMBSTONE_AGE_S = 10.0
"""tombstone_age in these tests; the minimum is slightly above half of it."""


def replicas_of(cluster: SimulatedCluster) -> list[str]:
    """Return the replicas of KEY by the newest record; the first one drives the collection."""
    ring = Ring(record_of(cluster).owners)
    return [identity.name for identity in ring.preference_list(token_of(KEY))]


async def put_and_delete(cluster: SimulatedCluster) -> Version:
    """Write and delete KEY; return the version of its tombstone once all replicas hold it."""
    await cluster.put("n1", KEY, b"old")
    version = (await cluster.delete("n1", KEY)).version
    everywhere = {Entry(version, None)}
    await cluster.until(
        lambda: {held(cluster, name) for name in replicas_of(cluster)} == everywhere, "deleted everywhere"
    )
    return version


async def confirmed(cluster: SimulatedCluster) -> int:
    """Wait until tombstones are confirmed; return the epoch in which they were."""
    await cluster.until(lambda: bool(cluster.events("tombstones.confirmed")), "confirmed")
    epoch: int = cluster.events("tombstones.confirmed")[-1]["epoch"]
    return epoch


async def purged(cluster: SimulatedCluster, *names: str) -> int:
    """Wait until tombstones are purged and these nodes hold no entry of KEY; return the epoch of the purge."""
    await cluster.until(lambda: bool(cluster.events("tombstones.purged")), "purged")
    await cluster.until(lambda: is_gone(cluster, *names), "purged everywhere")
    epoch: int = cluster.events("tombstones.purged")[-1]["epoch"]
    return epoch


def is_gone(cluster: SimulatedCluster, *names: str) -> bool:
    return all(held(cluster, name) is None for name in names)


async def raise_floor_to(cluster: SimulatedCluster, version: Version) -> EpochRecord:
    """Distribute a record with this floor, in a scenario where no steward proposes it."""
    return await distribute(cluster, raise_floor(record_of(cluster), version.timestamp))
