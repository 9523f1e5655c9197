"""Five nodes take real records while one is killed, two join, one leaves and the killed one comes back."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from covey import Client
from covey.node.storage.interface import Cursor
from covey.node.storage.rocks import RocksEngine
from covey.ring.epoch import EpochRecord
from covey.ring.ring import Ring
from covey.ring.tokens import WHOLE_RING, token_of
from tests.support.node_client import NodeClient, identity_of
from tests.support.processes import ProcessCluster, process_cluster, until
from tests.support.real_records import real_records
from tests.support.workload import Counters, PacedLoad

LOAD_S = 75.0
EXPLAINED = 300


@pytest.mark.timeout(580)
def test_a_living_cluster_loses_nothing(tmp_path: Path) -> None:
    records = real_records()
    with process_cluster(tmp_path, handoff_grace="2") as cluster:
        cluster.form(5)
        counters = Counters(lambda: cluster.client())
        with cluster.client() as client:
            load = PacedLoad(client, records, LOAD_S)
            live_through_changes(cluster, load)
            load.join(240)
        counters.stop()
        cluster.wait(6, timeout_s=120)
        print(
            f"{len(records)} records: {len(load.acknowledged)} acknowledged, {len(load.unknown)} may have "
            f"happened, {len(load.refused)} refused; {counters.reads} reads, {len(counters.errors)} errors"
        )
        assert len(load.acknowledged) > 0.99 * len(records)
        read_back_through_every_node(cluster, load.acknowledged)
        newest_is_on_two_replicas(cluster, sorted(load.acknowledged))
        record = settled_record(cluster)
        assert [node.stop() for node in cluster.running] == [0] * 6
        nobody_holds_what_it_does_not_own(cluster, record)


def live_through_changes(cluster: ProcessCluster, load: PacedLoad) -> None:
    n1 = cluster.nodes["n1"]
    until(lambda: load.share_done > 0.1, "a tenth is loaded", 120)
    cluster.nodes["n2"].kill()
    until(lambda: load.share_done > 0.25, "a quarter is loaded", 120)
    for name in ("n6", "n7"):
        cluster.node(name).start([n1.address])
    until(lambda: load.share_done > 0.5, "half is loaded", 120)
    with Client([n1.address]) as client:
        client.admin.leave("n4", timeout=120)
    assert cluster.nodes["n4"].exited() == 0
    until(lambda: load.share_done > 0.75, "three quarters are loaded", 120)
    cluster.nodes["n2"].start([n1.address])


def read_back_through_every_node(cluster: ProcessCluster, acknowledged: dict[str, bytes]) -> None:
    for node in cluster.running:
        through = NodeClient(node.address)
        wrong = [key for key, value in through.get_many(acknowledged) if value != acknowledged[key]]
        through.close()
        assert not wrong, f"{node.name}: {len(wrong)} keys read back wrong, such as {wrong[:5]}"


def newest_is_on_two_replicas(cluster: ProcessCluster, keys: list[str]) -> None:
    with cluster.client() as client:
        for key in random.Random(0).sample(keys, EXPLAINED):
            explained = client.admin.explain(key)
            versions = [replica.version for replica in explained.replicas if replica.version is not None]
            assert len(explained.replicas) == 3, explained
            assert versions.count(max(versions)) >= 2, explained


def settled_record(cluster: ProcessCluster) -> EpochRecord:
    """The ring, once every node has cleaned up what is no longer its own."""
    through = NodeClient(cluster.running[0].address)
    record = through.record()
    through.close()
    for node in cluster.running:
        until(
            lambda node=node: any(e["epoch"] == record.number for e in node.events("cleanup.finished")),
            f"{node.name} has cleaned up in epoch {record.number}",
        )
    return record


def nobody_holds_what_it_does_not_own(cluster: ProcessCluster, record: EpochRecord) -> None:
    ring = Ring(record.owners)
    for name in (owner.name for owner in record.owners.owners):
        identity = identity_of(record, name)
        engine = RocksEngine.open(cluster.nodes[name].data / "engine")
        foreign, after = [], None
        while True:
            chunk = engine.scan(WHOLE_RING, after, 10_000, 64 << 20)
            foreign += [
                key for key, _ in chunk.entries if identity not in ring.preference_list(token_of(key))
            ]
            if chunk.next is None:
                break
            after = Cursor(*chunk.next)
        assert not foreign, f"{name} holds {len(foreign)} keys outside its ranges"
