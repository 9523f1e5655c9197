"""Nodes whose wall clock is wrong."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from covey.proto.generated import kv_pb2
from tests.support.node_client import NodeClient
from tests.support.preloaded_shims import MovedClock
from tests.support.processes import NodeProcess, process_cluster, until
from tests.support.recorded_clients import RecordedClients, recorded_clients

MAX_SKEW_S = 0.5


def refuses_to_coordinate(node: NodeProcess) -> bool:
    failure = answer(node).failure
    return "clock" in failure.message and not failure.maybe_applied


def coordinates(node: NodeProcess) -> bool:
    return answer(node).WhichOneof("result") == "put"


def answer(node: NodeProcess) -> kv_pb2.OperationResult:
    """This node's own; the client library would go to another one."""
    through = NodeClient(node.address)
    try:
        return through.put("k", "v", timeout_s=2)
    finally:
        through.close()


def latest_version_s(clients: RecordedClients) -> float:
    """When its coordinator thought it was."""
    versions = [op.version for op in clients.history().operations if op.version is not None]
    return (max(versions)[0] >> 16) / 1000


@pytest.mark.timeout(240)
def test_a_node_that_starts_an_hour_behind_coordinates_nothing_until_its_clock_is_right(
    tmp_path: Path,
) -> None:
    """It logs that, the others serve, and no version goes back."""
    shim = MovedClock(tmp_path)
    with process_cluster(tmp_path) as cluster:
        n2 = cluster.node("n2")
        shim.load_into(n2)
        n1, *_ = cluster.form(5)
        with recorded_clients(cluster) as clients:
            assert n2.stop() == 0
            shim.move(-3600)
            n2.start([n1.address], listen=n2.address)
            n2.await_event("clock.off")
            until(lambda: refuses_to_coordinate(n2), "n2 refuses")
            assert coordinates(n1)
            clients.do_more(300)
            shim.move(0)
            until(lambda: coordinates(n2), "n2 coordinates again")


@pytest.mark.timeout(240)
def test_a_clock_that_jumps_minutes_ahead_drags_no_other(tmp_path: Path) -> None:
    """Its node coordinates nothing until the clock is right, and no client gets a version of the future."""
    shim = MovedClock(tmp_path)
    with process_cluster(tmp_path) as cluster:
        n2 = cluster.node("n2")
        shim.load_into(n2)
        n1, *_ = cluster.form(5)
        with recorded_clients(cluster) as clients:
            shim.move(300)
            until(lambda: refuses_to_coordinate(n2), "n2 refuses")
            assert coordinates(n1)
            clients.do_more(300)
            shim.move(0)
            until(lambda: coordinates(n2), "n2 coordinates again")
        assert latest_version_s(clients) < time.time() + MAX_SKEW_S, cluster.recent_log()


@pytest.mark.timeout(240)
def test_a_node_that_starts_minutes_ahead_drags_no_other(tmp_path: Path) -> None:
    shim = MovedClock(tmp_path)
    with process_cluster(tmp_path) as cluster:
        n2 = cluster.node("n2")
        shim.load_into(n2)
        n1, *_ = cluster.form(5)
        with recorded_clients(cluster) as clients:
            assert n2.stop() == 0
            shim.move(300)
            n2.start([n1.address], listen=n2.address)
            until(lambda: refuses_to_coordinate(n2), "n2 refuses")
            clients.do_more(300)
            shim.move(0)
        assert latest_version_s(clients) < time.time() + MAX_SKEW_S
