from __future__ import annotations

import asyncio

import pytest

from covey.api.cluster import ClusterStatus, NodeState, NodeStatus
from covey.node.admin import administration
from covey.node.errors import Refused, UnknownNode
from covey.node.messages.data import Scan
from tests.simulator.cluster import SimulatedCluster
from tests.simulator.virtual_time import in_virtual_time, run


def _status(cluster: SimulatedCluster, of: str = "n1") -> ClusterStatus:
    return cluster.nodes[of].running.administration.status()


def _node(status: ClusterStatus, name: str) -> NodeStatus:
    [found] = [node for node in status.nodes if node.identity.name == name]
    return found


def _is_down(cluster: SimulatedCluster, name: str) -> bool:
    return _node(_status(cluster), name).state is NodeState.DOWN


@in_virtual_time
async def test_a_synced_cluster_says_so_and_shares_add_up() -> None:
    async with SimulatedCluster(1) as cluster:
        await cluster.form(3)
        status = _status(cluster)
        assert (status.synced, status.changing, status.epoch) == (True, False, 1)
        assert status.notes == ()
        assert (status.answered_by, status.cluster_id) == ("n1", _status(cluster, "n2").cluster_id)
        assert (status.replication_factor, status.write_quorum, status.read_quorum) == (3, 2, 2)
        assert sum(node.ownership for node in status.nodes) == pytest.approx(1)
        assert {(node.state, node.owner, node.generation) for node in status.nodes} == {
            (NodeState.SERVING, True, 1)
        }
        assert {node.epoch for node in status.nodes} == {1}


@in_virtual_time
async def test_a_node_without_a_cluster_says_that() -> None:
    async with SimulatedCluster(1) as cluster:
        cluster.add("n1", ["n1:1", "n2:1"])
        await asyncio.sleep(1)
        status = _status(cluster)
        assert (status.synced, status.epoch, status.cluster_id) == (False, 0, "")
        assert status.notes == ("this node belongs to no cluster yet",)
        assert _node(status, "n1").state is NodeState.JOINING


@in_virtual_time
async def test_a_dead_owner_is_down_in_the_view_named_and_not_waited_for() -> None:
    async with SimulatedCluster(1) as cluster:
        await cluster.form(3)
        await cluster.nodes["n3"].crash()
        await cluster.until(lambda: _is_down(cluster, "n3"), "n3 is down")
        status = _status(cluster)
        assert status.synced
        assert "n3 is down" in status.notes
        assert _node(status, "n3").owner
        assert _node(status, "n3").heartbeat_age_s > 1


@in_virtual_time
async def test_an_owner_that_is_down_need_not_know_the_newest_epoch_for_the_others_to_be_synced() -> None:
    async with SimulatedCluster(1) as cluster:
        await cluster.form(4)
        await cluster.nodes["n4"].crash()
        cluster.add("n5", ["n1:1"])
        await cluster.until(lambda: _status(cluster).epoch == 3 and _status(cluster).synced, "synced")
        assert _node(_status(cluster), "n4").epoch < 3


@in_virtual_time
async def test_a_ring_that_too_few_owners_are_left_to_change_says_so() -> None:
    async with SimulatedCluster(1) as cluster:
        await cluster.form(2)
        await cluster.nodes["n2"].crash()
        await cluster.until(lambda: _is_down(cluster, "n2"), "n2 is down")
        assert "the ring cannot change: that takes 2 of 2 owners, and 1 are up" in _status(cluster).notes


@in_virtual_time
async def test_too_few_owners_for_all_copies_is_said() -> None:
    async with SimulatedCluster(1) as cluster:
        await cluster.form(2)
        assert _status(cluster).notes == ("under-replicated: 2 owners hold 2 of 3 copies",)


@in_virtual_time
async def test_owners_not_heard_of_since_the_start_are_shown_down() -> None:
    async with SimulatedCluster(1) as cluster:
        nodes = await cluster.form(3)
        for node in nodes:
            await node.stop()
        await asyncio.sleep(1)  # what is on its way to n1 does not arrive any more
        nodes[0].home.save_peers({})
        nodes[0].restart(seeds=["n1:1"])
        await asyncio.sleep(1)
        status = _status(cluster)
        assert [(n.identity.name, n.state, n.owner) for n in status.nodes if n.identity.name != "n1"] == [
            ("n2", NodeState.DOWN, True),
            ("n3", NodeState.DOWN, True),
        ]
        assert sum(node.ownership for node in status.nodes) == pytest.approx(1)


@in_virtual_time
async def test_while_the_ring_changes_it_is_not_synced_and_says_what_it_waits_for() -> None:
    async with SimulatedCluster(1) as cluster:
        await cluster.form(3)
        stuck = cluster.network.lose(
            lambda message: message.source == "n4" and isinstance(message.request.body, Scan)
        )
        cluster.add("n4", ["n1:1"])
        await cluster.until(lambda: _status(cluster).changing, "the change has begun")
        await asyncio.sleep(2)
        status = _status(cluster)
        assert not status.synced
        assert any(note.startswith("the ring is changing (epoch 2)") for note in status.notes), status.notes
        assert _node(status, "n4").handoff is not None
        stuck()
        await cluster.synced()
        assert _node(_status(cluster), "n4").handoff is None


# --- what people ask of it ---


@in_virtual_time
async def test_explain_tells_what_each_replica_holds_now() -> None:
    async with SimulatedCluster(1) as cluster:
        await cluster.form(4)
        written = await cluster.put("n1", b"k", b"value")
        await asyncio.sleep(0.1)
        explanation = await cluster.nodes["n2"].running.administration.explain(b"k")
        assert [report.version for report in explanation.replicas] == [written.version] * 3
        assert {report.bytes for report in explanation.replicas} == {len(b"value")}
        assert (explanation.reachable, explanation.read_quorum, explanation.write_quorum) == (3, 2, 2)
        absent = await cluster.nodes["n2"].running.administration.explain(b"absent")
        assert {(report.answered, report.version) for report in absent.replicas} == {(True, None)}


@in_virtual_time
async def test_explain_names_a_replica_that_does_not_answer() -> None:
    async with SimulatedCluster(1) as cluster:
        await cluster.form(3)
        await cluster.put("n1", b"k", b"value")
        await cluster.nodes["n3"].crash()
        explanation = await cluster.nodes["n1"].running.administration.explain(b"k")
        assert {report.name: report.answered for report in explanation.replicas} == {
            "n1": True,
            "n2": True,
            "n3": False,
        }
        assert explanation.reachable == 2


def test_leave_returns_when_the_node_is_out_though_another_change_has_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(administration, "POLL_S", 5.0)
    run(_leave_beside_a_stuck_join())


async def _leave_beside_a_stuck_join() -> None:
    async with SimulatedCluster(1) as cluster:
        await cluster.form(4)
        await cluster.put("n1", b"k", b"value")
        leaving = cluster.nodes["n4"].identity
        task = asyncio.get_running_loop().create_task(
            cluster.nodes["n1"].running.administration.leave("n4", 20)
        )
        await cluster.until(lambda: _status(cluster).changing, "the leave has begun")
        cluster.network.lose(
            lambda message: message.source == "n5" and isinstance(message.request.body, Scan)
        )
        cluster.add("n5", ["n1:1"])
        await task
        assert _status(cluster).changing
        record = cluster.nodes["n1"].running.epochs.record
        assert record is not None
        assert all(leaving not in spec.owners for spec in record.live_rings)


@in_virtual_time
async def test_what_would_be_unsafe_is_refused_with_what_to_do_instead() -> None:
    async with SimulatedCluster(1) as cluster:
        await cluster.form(3)
        asked = cluster.nodes["n1"].running.administration
        with pytest.raises(UnknownNode, match="no node is named n9; known are n1, n2, n3"):
            await asked.leave("n9", 1)
        with pytest.raises(Refused, match="n2 is alive; 'covey leave n2'"):
            await asked.remove("n2", 1)
        for name in ("n2", "n3"):
            await cluster.nodes[name].crash()
        await cluster.until(lambda: _is_down(cluster, "n2") and _is_down(cluster, "n3"), "both are down")
        with pytest.raises(Refused, match="'covey remove n2'"):
            await asked.leave("n2", 1)
        with pytest.raises(Refused, match="agreement of 2 of 3 owners, and 1 is up"):
            await asked.remove("n2", 1)


@in_virtual_time
async def test_the_last_owner_cannot_leave() -> None:
    async with SimulatedCluster(1) as cluster:
        cluster.add("n1", [])
        await cluster.synced()
        with pytest.raises(Refused, match="only owner"):
            await cluster.nodes["n1"].running.administration.leave("n1", 1)
