"""How little a node takes: memory, CPU while nothing is asked, and time to begin: ``python -m benchmarks.lean``.

memory    resident memory of each of three nodes: fresh, and when they hold keys; and CPU while nobody asks anything
disk      with many keys on disk, put there by the engine alone: what it keeps in Python's memory for each of them, as
          tracemalloc counts it, less what it keeps without any (RocksDB's cache and buffers are bounded and no part of
          it); and how long a node takes from the start of its process to its log line node.serving
command   ``covey get`` from the shell, from beginning to end
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psutil
import uvloop

from benchmarks.support.figures import Spread
from benchmarks.support.report import machine, print_table
from benchmarks.support.resources import cpu_seconds
from benchmarks.support.servers import end_with_parent
from covey.node.data_directory.directory import DataDirectory
from covey.node.storage.interface import Entry
from covey.node.storage.rocks import RocksEngine
from covey.quorum.version import Version
from tests.support.processes import NodeProcess, ProcessCluster, process_cluster

NODES = 3
MIB = 1 << 20
VALUE = b"x" * 100
FILLED_AT_ONCE = 512
"""What a replica is given at once, at most: larger batches would leave a journal that takes longer to read again."""
PUT_AT_ONCE = 20_000
SETTLING_S = 3.0
STARTS, COMMANDS = 3, 9
MOST_MIB, MOST_CPU, MOST_BYTES_PER_KEY, MOST_START_S, MOST_COMMAND_S = 120, 0.01, 16, 1.5, 0.5
Row = tuple[str, str, str]


def memory(options: argparse.Namespace, folder: Path) -> list[Row]:
    with process_cluster(folder) as cluster:
        nodes = _formed(cluster, NODES)
        time.sleep(SETTLING_S)
        fresh, idle = _resident_mib(nodes), _cpu(nodes, options.idle_seconds)
        with cluster.client() as client:
            for first in range(0, options.memory_keys, PUT_AT_ONCE):
                numbers = range(first, min(options.memory_keys, first + PUT_AT_ONCE))
                client.put_many({f"key/{number}": VALUE for number in numbers}, timeout=60)
        time.sleep(SETTLING_S)
        full, idle_full = _resident_mib(nodes), _cpu(nodes, options.idle_seconds)
    held = f"with {options.memory_keys:,} keys"
    return [
        ("memory of a fresh node, MiB", fresh.text(), f"{MOST_MIB}"),
        (f"memory {held}, MiB", full.text(), f"{MOST_MIB}"),
        ("CPU of a fresh, idle node, % of a core", _percent(idle), f"{MOST_CPU:.0%}"),
        (f"CPU of an idle node {held}, % of a core", _percent(idle_full), f"{MOST_CPU:.0%}"),
    ]


def disk(options: argparse.Namespace, folder: Path) -> list[Row]:
    with process_cluster(folder) as cluster:
        (node,) = _formed(cluster, 1)
        node.stop()
        data = DataDirectory.open(node.data, node.name)
        empty = _opened_bytes(data.engine_path)
        filled_s = fill(data.engine_path, options.keys)
        print(f"filled with {options.keys:,} keys in {filled_s:.0f} s", flush=True)
        each = (_opened_bytes(data.engine_path) - empty) / options.keys
        data.close()
        took_s = [_start(node) for _ in range(STARTS)]
    return [
        (f"memory for each of {options.keys:,} keys, bytes", f"{each:.2f}", f"{MOST_BYTES_PER_KEY}"),
        (f"start with {options.keys:,} keys on disk, s", Spread.of(took_s).text(), f"{MOST_START_S}"),
    ]


def command(options: argparse.Namespace, folder: Path) -> list[Row]:
    took_s = []
    with process_cluster(folder) as cluster:
        (node,) = _formed(cluster, 1)
        with cluster.client() as client:
            client.put("key", VALUE)
        get = [sys.executable, "-m", "covey", "get", "key", "--server", node.address]
        for _ in range(COMMANDS):
            began = time.perf_counter()
            subprocess.run(get, check=True, capture_output=True)
            took_s.append(time.perf_counter() - began)
    return [("covey get, s", Spread.of(took_s).text(), f"{MOST_COMMAND_S}")]


def _formed(cluster: ProcessCluster, size: int) -> list[NodeProcess]:
    for number in range(1, size + 1):
        cluster.node(f"n{number}").prefix = end_with_parent()
    return cluster.form(size)


def _resident_mib(nodes: list[NodeProcess]) -> Spread:
    return Spread.of([psutil.Process(_pid(node)).memory_info().rss / MIB for node in nodes])


def _cpu(nodes: list[NodeProcess], seconds: float) -> Spread:
    """Shares of a core."""
    before = [cpu_seconds([_pid(node)]) for node in nodes]
    began = time.perf_counter()
    time.sleep(seconds)
    elapsed = time.perf_counter() - began
    return Spread.of(
        [(cpu_seconds([_pid(node)]) - was) / elapsed for node, was in zip(nodes, before, strict=True)]
    )


def _percent(share: Spread) -> str:
    return Spread(100 * share.median, 100 * share.least, 100 * share.most).text()


def _pid(node: NodeProcess) -> int:
    assert node.process is not None
    return node.process.pid


def _start(node: NodeProcess) -> float:
    """Seconds from the start of the process to serving."""
    began = datetime.now(UTC)
    node.launch()
    serving = node.await_event("node.serving")
    node.stop()
    return (datetime.fromisoformat(serving["timestamp"]) - began).total_seconds()


def fill(path: Path, count: int) -> float:
    """Put so many keys into the engine there; returns how many seconds it took."""

    async def filling() -> None:
        engine = RocksEngine.open(path, "periodic")
        for first in range(0, count, FILLED_AT_ONCE):
            engine.merge(
                [
                    (b"key/%d" % number, Entry(Version(number + 1, 1, 1), VALUE))
                    for number in range(first, min(count, first + FILLED_AT_ONCE))
                ]
            )
        await engine.durable(always=True)
        await engine.close()

    began = time.perf_counter()
    uvloop.run(filling())
    return time.perf_counter() - began


def _opened_bytes(path: Path) -> int:
    """As ``traced_bytes``, in a process that does nothing else."""
    command = [sys.executable, "-m", "benchmarks.lean", "--opened", str(path)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def traced_bytes(path: Path) -> int:
    """What the engine of the database at ``path`` keeps in Python's memory once it is open."""

    async def opened() -> int:
        gc.collect()
        tracemalloc.start()
        engine = RocksEngine.open(path, "periodic")
        gc.collect()
        traced, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await engine.close()
        return traced

    return uvloop.run(opened())


PARTS: dict[str, Callable[[argparse.Namespace, Path], list[Row]]] = {
    "memory": memory,
    "disk": disk,
    "command": command,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=tuple(PARTS), default=list(PARTS))
    parser.add_argument("--keys", type=int, default=1_000_000, help="on disk, of a single node")
    parser.add_argument("--memory-keys", type=int, default=400_000, help="held by each of three nodes")
    parser.add_argument("--idle-seconds", type=float, default=20.0)
    parser.add_argument("--opened", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.opened:
        print(traced_bytes(options.opened))
        return
    rows: list[Row] = []
    for part in options.parts:
        with tempfile.TemporaryDirectory() as folder:
            rows += PARTS[part](options, Path(folder))
    print_table(f"{machine()}: median (least..most)", ["", "", "at most"], rows)


if __name__ == "__main__":
    main()
