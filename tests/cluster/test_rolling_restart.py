"""One node after the other is restarted while clients are at work: they notice nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.error_output import MAX_STOP_S
from tests.support.history import Outcome
from tests.support.processes import process_cluster
from tests.support.recorded_clients import recorded_clients


@pytest.mark.timeout(300)
def test_a_rolling_restart_fails_no_operation(tmp_path: Path) -> None:
    with process_cluster(tmp_path) as cluster:
        nodes = cluster.form(5)
        with recorded_clients(cluster, clients=3) as clients:
            for node in nodes:
                seeds = [other.address for other in nodes if other is not node]
                began = time.monotonic()
                assert node.stop() == 0
                assert time.monotonic() - began < MAX_STOP_S
                node.start(seeds, listen=node.address)
                node.await_event("node.serving")
                cluster.wait(5)
        failed = [op for op in clients.history().operations if op.outcome is not Outcome.DONE]
        assert not failed, f"{len(failed)} failed\n{clients.errors()[:4000]}"
