"""Nodes whose process is paused for a while, as on an overloaded machine."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.support.node_client import NodeClient
from tests.support.processes import process_cluster, until
from tests.support.recorded_clients import recorded_clients

SHORT_PAUSE_S = 1.0
LONG_PAUSE_S = 30.0


@pytest.mark.timeout(180)
def test_nobody_is_down_for_a_pause_of_a_second(tmp_path: Path) -> None:
    with process_cluster(tmp_path) as cluster:
        nodes = cluster.form(5)
        with recorded_clients(cluster):
            for paused in nodes[1:4]:
                paused.send_signal(signal.SIGSTOP)
                time.sleep(SHORT_PAUSE_S)
                paused.send_signal(signal.SIGCONT)
                time.sleep(2 * SHORT_PAUSE_S)
        assert not [line for node in nodes for line in node.events("member.down")], cluster.recent_log()


@pytest.mark.timeout(240)
def test_who_stood_still_for_half_a_minute_refutes_and_serves_under_the_new_epoch_alone(
    tmp_path: Path,
) -> None:
    """Meanwhile it is down, the ring changes, and keys are written that it holds older versions of."""
    with process_cluster(tmp_path, handoff_grace="1") as cluster:
        n1, n2, *_ = cluster.form(5)
        before = {f"k{number}": b"before" for number in range(200)}
        after = dict.fromkeys(before, b"after")
        with cluster.client() as client:
            client.put_many(before)
        with recorded_clients(cluster):
            began = time.monotonic()
            n2.send_signal(signal.SIGSTOP)
            until(lambda: n1.events("member.down"), "n2 is down")
            cluster.node("n6").start([n1.address])
            until(lambda: "n6" in n1.events("epoch.adopted")[-1]["owners"], "n6 is an owner", 60)
            with cluster.client() as client:
                client.put_many(after, timeout=20)
            time.sleep(max(0.0, began + LONG_PAUSE_S - time.monotonic()))
            n2.send_signal(signal.SIGCONT)
            through = NodeClient(n2.address)
            assert dict(through.get_many(before)) == after
            through.close()
            until(lambda: "n6" in n2.events("epoch.adopted")[-1]["owners"], "n2 is at the new epoch")
            until(lambda: [line for line in n1.events("member.up") if line["member"] == "n2"], "n2 is up")
