"""Disks that fail, and disks that are full."""

from __future__ import annotations

from pathlib import Path

import pytest

from covey import Client
from tests.support.preloaded_shims import FailingFsync
from tests.support.processes import NodeProcess, covey, process_cluster, until
from tests.support.recorded_clients import recorded_clients
from tests.support.small_disk import small_disk

EXIT_FAILED = 1
RESERVE = 24 << 20


def disk_full(asked: NodeProcess, name: str) -> bool:
    """As everybody hears of it."""
    with Client([asked.address]) as client:
        return any(node.name == name and node.condition.disk_full for node in client.admin.status().nodes)


@pytest.mark.timeout(240)
def test_a_node_whose_disk_fails_to_sync_ends_and_says_why(tmp_path: Path) -> None:
    """The others serve. Its unsynced writes were never acknowledged; on a good disk it starts again."""
    shim = FailingFsync(tmp_path)
    with process_cluster(tmp_path) as cluster:
        shim.load_into(cluster.node("n2"))
        n1, n2, *_ = cluster.form(5)
        with recorded_clients(cluster) as clients:
            shim.fail()
            assert n2.exited() == EXIT_FAILED
            (failed,) = n2.events("storage.failed")
            assert "Input/output error" in failed["reason"]
            assert n2.events("node.failed") and n2.events("node.stopped"), cluster.recent_log()
            clients.do_more(300)
            shim.work()
            n2.start([n1.address])
            n2.await_event("node.serving")


@pytest.mark.timeout(240)
def test_a_full_disk_refuses_writes_and_goes_on_with_the_rest_until_there_is_space_again(
    tmp_path: Path,
) -> None:
    """Its replicas' writes fail there and succeed elsewhere; it reads, gossips and stays a member."""
    with (
        small_disk(tmp_path / "small", 4 * RESERVE) as disk,
        process_cluster(tmp_path, disk_reserve=str(RESERVE)) as cluster,
    ):
        n2 = cluster.node("n2")
        n2.data = disk.path / "n2"
        n1, *_ = cluster.form(5)
        with cluster.client() as client:
            client.put_many({f"k{number}": b"v" * 1000 for number in range(500)})
        with recorded_clients(cluster) as clients:
            disk.fill(leave_bytes=RESERVE // 2)
            until(lambda: disk_full(n1, "n2"), "everybody hears of it")
            assert n2.running, cluster.recent_log()
            clients.do_more(300)
            assert covey("get", "k1", "--server", n2.address).stdout == b"v" * 1000
            disk.empty()
            until(lambda: not disk_full(n1, "n2"), "there is space again")
        assert not n1.events("member.down")
