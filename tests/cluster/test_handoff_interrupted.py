"""A joiner that is killed while it pulls: reads and writes succeed, and the change aborts or resumes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.processes import NodeProcess, process_cluster, until
from tests.support.workload import Counters

VALUES = 300
VALUE = b"v" * 100_000
RATE = 3 << 19
"""Bytes a second: slow enough to be killed at the share that is meant."""


def pulled_share(joiner: NodeProcess) -> float:
    """Of what the fourth node's fair share is: three quarters of everything."""
    progress = joiner.events("handoff.progress")
    return float(progress[-1]["bytes_done"] / (VALUES * len(VALUE) * 3 / 4)) if progress else 0.0


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("share", "comes_back_at_once"), [(0.1, False), (0.5, True), (0.9, False)])
def test_a_joiner_killed_during_its_handoff_loses_nothing(
    tmp_path: Path, share: float, comes_back_at_once: bool
) -> None:
    with process_cluster(tmp_path, handoff_rate=str(RATE), handoff_grace="1") as cluster:
        n1, *_ = cluster.form(3)
        stored = {f"key/{i}": VALUE + str(i).encode() for i in range(VALUES)}
        with cluster.client() as client:
            client.put_many(stored, timeout=60)
            counters = Counters(lambda: cluster.client())
            joiner = cluster.node("n4")
            joiner.start([n1.address])
            until(lambda: pulled_share(joiner) >= share, f"{share:.0%} is pulled", 60)
            assert n1.events("epoch.adopted")[-1]["changing"]
            joiner.kill()
            client.put("while", "it is dead")
            if not comes_back_at_once:
                until(lambda: not n1.events("epoch.adopted")[-1]["changing"], "the change is aborted", 60)
                cluster.wait(3, asked=n1)
            joiner.start([n1.address])
            cluster.wait(4, timeout_s=120)
            counters.stop()
            assert client.get("while") == b"it is dead"
            assert client.get_many(stored, timeout=60) == stored
        assert not [error for error in counters.errors if not error.maybe_applied]
