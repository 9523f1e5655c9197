"""Operations that a node meets after their client has stopped waiting: not begun, whatever the clocks show."""

from __future__ import annotations

import asyncio
import random

import pytest

from covey.node.errors import Expired
from covey.node.operations import Put, time_bounds
from tests.simulator import client as clients
from tests.simulator.client import Client, Workload
from tests.simulator.cluster import SimulatedCluster
from tests.simulator.scenario import NO_REPAIR, value_at
from tests.simulator.virtual_time import in_virtual_time
from tests.support.history import History, Kind, Outcome

CLOCKS_MS = (-240, 0, 240)
"""As far apart as is served."""


def a_client(cluster: SimulatedCluster) -> Client:
    return Client("c", cluster, History(), Workload(("k",)), random.Random(1))


@in_virtual_time
async def test_a_coordinator_that_stood_still_does_not_begin_what_its_client_gave_up() -> None:
    async with SimulatedCluster(1, **NO_REPAIR) as cluster:
        await cluster.form(3)
        client, n2 = a_client(cluster), cluster.nodes["n2"]
        await client.operate(client.begun(Kind.PUT, "k"), via="n2")
        n2.process.pause()
        old = await client.operate(client.begun(Kind.PUT, "k"), via="n2")
        assert old.outcome is Outcome.UNKNOWN
        new = await client.operate(client.begun(Kind.PUT, "k"), via="n1")
        assert new.outcome is Outcome.DONE
        assert new.value is not None
        n2.process.resume()
        await cluster.until(lambda: bool(cluster.events("quorum.failed", "n2")), "n2 meets the old write")
        assert not cluster.events("quorum.failed", "n2")[-1]["maybe_applied"]
        await cluster.until(lambda: value_at(cluster, "n2", b"k") == new.value.encode(), "n2 has the new one")
        assert await cluster.get("n2", b"k") == new.value.encode()


@in_virtual_time
async def test_a_read_that_its_client_gave_up_is_not_begun() -> None:
    async with SimulatedCluster(1, **NO_REPAIR) as cluster:
        await cluster.form(3)
        client, n2 = a_client(cluster), cluster.nodes["n2"]
        await client.operate(client.begun(Kind.GET, "k"), via="n2")
        n2.process.pause()
        read = await client.operate(client.begun(Kind.GET, "k"), via="n2")
        assert read.outcome is Outcome.UNKNOWN
        n2.process.resume()
        await cluster.until(lambda: bool(cluster.events("quorum.failed", "n2")), "n2 meets the old read")
        assert "later than its client lets it begin" in cluster.events("quorum.failed", "n2")[0]["reason"]


@pytest.mark.parametrize("first_ms", CLOCKS_MS)
@pytest.mark.parametrize("next_ms", CLOCKS_MS)
@in_virtual_time
async def test_what_a_client_writes_next_is_newer_than_what_it_lost_track_of(
    monkeypatch: pytest.MonkeyPatch, first_ms: int, next_ms: int
) -> None:
    """The first write is drawn a version by a clock that may be far ahead of the next coordinator's."""
    async with SimulatedCluster(1, **NO_REPAIR) as cluster:
        await cluster.form(3)
        n1, n2 = cluster.nodes["n1"], cluster.nodes["n2"]
        n1.clock.wall_offset_ms, n2.clock.wall_offset_ms = next_ms, first_ms
        cluster.network.partition({"n1", "n3"}, {"n2"})
        client = a_client(cluster)
        with monkeypatch.context() as impatient:
            impatient.setattr(clients, "ATTEMPT_TIMEOUT_S", 0.2)
            lost = await client.operate(client.begun(Kind.PUT, "k"), via="n2")
        first = n2.engine.get(b"k")
        assert lost.outcome is Outcome.UNKNOWN
        assert first is not None
        written = await client.operate(client.begun(Kind.PUT, "k"), via="n1")
        while written.outcome is not Outcome.DONE:  # n1 does not follow so far yet
            assert written.outcome is Outcome.NOT_DONE
            written = await client.operate(client.begun(Kind.PUT, "k"), via="n1")
        assert written.version is not None
        assert written.version > tuple(first.version)


@in_virtual_time
async def test_a_write_gets_no_version_beyond_what_its_client_allows() -> None:
    """Although its client still waits: what it lost track of meanwhile must stay older than what it writes next."""
    async with SimulatedCluster(1, **NO_REPAIR) as cluster:
        await cluster.form(1)
        n1 = cluster.nodes["n1"]
        allowed = time_bounds(n1.clock.wall_ms(), 400, (5.0,))
        n1.process.pause()
        late = n1.process.create_task(n1.running.coordinator.execute(Put(b"k", b"v", 5.0), allowed))
        await asyncio.sleep(0.5)
        n1.process.resume()
        with pytest.raises(Expired):
            await late
        assert n1.engine.get(b"k") is None


@in_virtual_time
async def test_a_replica_that_stood_still_does_not_merge_what_its_coordinator_gave_up() -> None:
    async with SimulatedCluster(1, **NO_REPAIR, hint_max_bytes=0) as cluster:
        await cluster.form(3)
        await cluster.put("n1", b"k", b"before")
        n3 = cluster.nodes["n3"]
        n3.process.pause()
        await cluster.put("n1", b"k", b"after")
        await cluster.until(lambda: bool(cluster.events("member.down", "n1")), "n3 is down", 60)
        n3.process.resume()
        await cluster.until(lambda: bool(cluster.events("member.up", "n1")), "n3 is back")
        assert value_at(cluster, "n3", b"k") == b"before"
