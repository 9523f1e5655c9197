"""``python -m tests.cluster.nemesis --for SECONDS``: real nodes, mixed load, and faults at random; then a verdict.

Five nodes with three copies of each key, each on a network host of its own where the machine allows that, are
killed, paused, cut off, joined and told to leave, as a schedule says that follows from ``--seed``. All clients'
operations and all faults are kept in the run's folder, for ``python -m tests.cluster.recheck``. Exits with 0 when
nothing is wrong.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.recheck import judge
from tests.support.audit import read_all
from tests.support.network_namespaces import NoNetwork, private_network
from tests.support.networked_cluster import NetworkedCluster
from tests.support.processes import ProcessCluster
from tests.support.recorded_clients import RecordedClients, audited

from .nemesis import FaultLog, Nemesis
from .schedule import FIRST_SIZE, Schedule

CLIENTS = 3
IMPATIENT_S = 1.0
"""Timeout of one of them: shorter than a pause."""
SETTINGS = {"heartbeat_interval": "0.5", "handoff_grace": "2"}


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.cluster.nemesis")
    options.add_argument("--for", dest="duration_s", type=float, default=600.0, metavar="SECONDS")
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options.add_argument(
        "--folder", type=Path, help="where data, logs and history go; a temporary one unless given"
    )
    options.add_argument(
        "--no-network", action="store_true", help="all on loopback, without faults of the network"
    )
    given = options.parse_args()
    folder = (given.folder or Path(tempfile.mkdtemp(prefix="covey-nemesis-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    print(f"seed {given.seed}, for {given.duration_s:g} s, in {folder}", flush=True)
    with _cluster(folder, given.no_network) as cluster:
        networked = isinstance(cluster, NetworkedCluster)
        schedule = Schedule.draw(given.seed, given.duration_s, with_network=networked)
        (folder / "schedule.json").write_text(json.dumps(schedule.to_json(), indent=1))
        wrong = _run(cluster, schedule, given.seed, given.duration_s)
    print(f"seed {given.seed}: python -m tests.cluster.recheck {folder}/history.*")
    return 1 if wrong else 0


@contextmanager
def _cluster(folder: Path, no_network: bool) -> Iterator[ProcessCluster]:
    """With a network of its own, if possible."""
    if not no_network:
        try:
            with (
                private_network() as network,
                _closing(NetworkedCluster(folder, network, **SETTINGS)) as cluster,
            ):
                yield cluster
                return
        except NoNetwork as reason:
            print(f"without faults of the network: {reason}", flush=True)
    with _closing(ProcessCluster(folder, **SETTINGS)) as cluster:
        yield cluster


@contextmanager
def _closing(cluster: ProcessCluster) -> Iterator[ProcessCluster]:
    try:
        yield cluster
    finally:
        cluster.close()


def _run(cluster: ProcessCluster, schedule: Schedule, seed: int, duration_s: float) -> int:
    """Returns how much is wrong."""
    cluster.form(FIRST_SIZE)
    log = FaultLog(cluster.folder / "history.faults")
    clients = RecordedClients(cluster, seed, CLIENTS, impatient_s=IMPATIENT_S)
    try:
        nemesis = Nemesis(cluster, schedule, log)
        time.sleep(duration_s)
        nemesis.end()
        clients.stop()
    finally:
        clients.kill()
        log.close()
    found = audited(cluster, clients.files)
    wrong = judge(read_all([*clients.files, cluster.folder / "history.faults", found]))
    defects = _defects(cluster)
    print("\n".join(defects))
    return wrong + len(defects)


def _defects(cluster: ProcessCluster) -> list[str]:
    """What no fault excuses, in the logs of nodes."""
    return [
        json.dumps(line)
        for node in cluster.nodes.values()
        for line in node.log()
        if "traceback" in line or line["event"] in ("node.failed", "node.defect", "storage.failed")
    ]


if __name__ == "__main__":
    sys.exit(main())
