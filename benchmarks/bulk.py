"""How fast much data is stored, read, listed and moved, beside what one core copies through one gRPC stream:
``python -m benchmarks.bulk``.

Three nodes, one cluster for each size of values. Everything but the last is done by one client, one thing after the
other: ``put_many``, ``get_many`` and ``keys``, then the commands ``covey dump`` and ``covey load``. Last a fourth node
joins and pulls its share. MB are of keys and values, once, however many replicas take part. While the commands run and
while the node joins, another client reads and writes at a fixed pace: "others' p99" is its 99th percentile beside that
of the same pace while nothing else happens.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from benchmarks.programs.stream_copy import copied_bytes_per_s
from benchmarks.support.figures import Spread, written
from benchmarks.support.paced import PacedClient
from benchmarks.support.report import machine, print_table
from benchmarks.support.resources import PeakMemory, cpu_seconds, peak_bytes
from benchmarks.support.sampling import add_durability_option
from benchmarks.support.servers import end_with_parent, run_to_end
from covey import AsyncClient
from tests.support.processes import NodeProcess, ProcessCluster, process_cluster, until

MB = 1_000_000
VALUE_BYTES = (100, 1_000, 10_000, 100_000)
NODES = 3
JOINER = "n4"
MESSAGE_BYTES = 1 << 20
"""Of the yardstick: what covey's own chunks have at most."""
COPIED_BYTES = 1 << 30
PIECE_BYTES = 16 << 20
"""Handed to ``put_many`` and asked of ``get_many`` at once."""
POOL_BYTES = 16 << 20
TIMEOUT_S = 120.0
POLL_S = 0.02
SETTLE_S = 2.0
"""Until what was written last is compacted, more or less."""
PARTS = ("client", "commands", "handoff")


@dataclass(frozen=True)
class Measured:
    """One thing done to one data set, in one round."""

    what: str
    value_bytes: int
    moved_bytes: int
    took_s: float
    nodes_cpu_s: float
    client_cpu_s: float | None
    nodes_peak_bytes: int
    nodes_added_bytes: int
    client_peak_bytes: int | None
    others_p99: float | None = None
    """Beside their normal one."""

    @property
    def bytes_per_s(self) -> float:
        return self.moved_bytes / self.took_s


class DataSet:
    """Values of one size, no two alike, of text."""

    def __init__(self, value_bytes: int, total_bytes: int) -> None:
        rng = random.Random(value_bytes)
        self._value_bytes = value_bytes
        self._pool = rng.randbytes(POOL_BYTES).hex().encode()
        self.keys = [f"{value_bytes}/{i:08}" for i in range(total_bytes // value_bytes)]
        self.bytes = sum(map(len, self.keys)) + value_bytes * len(self.keys)

    def pieces(self) -> Iterator[dict[str, bytes]]:
        step = max(1, PIECE_BYTES // self._value_bytes)
        for begin in range(0, len(self.keys), step):
            yield {key: self._value(begin + i) for i, key in enumerate(self.keys[begin : begin + step])}

    def _value(self, number: int) -> bytes:
        at = number * 7919 % (len(self._pool) - self._value_bytes)
        return self._pool[at : at + self._value_bytes]


class Bulk:
    """All that is done to one cluster."""

    def __init__(self, cluster: ProcessCluster, folder: Path, options: argparse.Namespace) -> None:
        self._cluster = cluster
        self._folder = folder
        self._options = options
        self.measured: list[Measured] = []
        self.normal_p99_ms: list[float] = []

    async def all(self, data: DataSet, value_bytes: int) -> None:
        parts = self._options.parts
        async with AsyncClient(self._cluster.addresses(), timeout=TIMEOUT_S) as client:
            for _ in range(self._options.rounds if "client" in parts else 0):
                await self._by_client(client, data, value_bytes)
            if "client" not in parts:
                await _store(client, data)
        for _ in range(self._options.rounds if "commands" in parts else 0):
            await self._by_commands(data, value_bytes)
        if "handoff" in parts:
            await self._handoff(value_bytes)

    async def _by_client(self, client: AsyncClient, data: DataSet, value_bytes: int) -> None:
        async with self._measuring("put_many", value_bytes, data.bytes):
            await _store(client, data)
        async with self._measuring("get_many", value_bytes, data.bytes):
            for piece in data.pieces():
                found = await client.get_many(piece)
                assert found == piece
        listed = 0
        async with self._measuring("keys", value_bytes, sum(map(len, data.keys))):
            async for chunk in client.key_chunks(f"{value_bytes}/"):
                listed += len(chunk)
        assert listed == len(data.keys), f"{listed} of {len(data.keys)} keys listed"

    async def _by_commands(self, data: DataSet, value_bytes: int) -> None:
        file = str(self._folder / "dumped")
        normal = await self._normal_p99_ms()
        for command in (("dump", file), ("load", file)):
            await self._command(command, value_bytes, data.bytes, normal)
        os.unlink(file)

    async def _command(
        self, command: Sequence[str], value_bytes: int, moved_bytes: int, normal_ms: float
    ) -> None:
        servers = [part for address in self._cluster.addresses() for part in ("--server", address)]
        paced = self._paced()
        pids = self._pids()
        peak, cpu_before = PeakMemory(pids), cpu_seconds(pids)
        async with paced.running():
            began = time.perf_counter()
            used, own_peak_bytes = await _run("-m", "covey", *command, *servers)
            took_s = time.perf_counter() - began
        self.measured.append(
            Measured(
                f"covey {command[0]}", value_bytes, moved_bytes, took_s, cpu_seconds(pids) - cpu_before,
                used.ru_utime + used.ru_stime, peak.most_bytes(), peak.most_added_bytes(), own_peak_bytes,
                paced.percentile_ms(0.99) / normal_ms,
            )
        )  # fmt: skip

    async def _handoff(self, value_bytes: int) -> None:
        normal_ms = await self._normal_p99_ms()
        joiner = self._cluster.node(JOINER)
        paced, pids = self._paced(), self._pids()
        peak = PeakMemory(pids)
        async with paced.running():
            await asyncio.to_thread(joiner.start, [self._cluster.addresses()[0]])
            await asyncio.to_thread(joiner.await_event, "handoff.started")
            paced.took_ms.clear()
            cpu_before = cpu_seconds([*pids, *self._joiner_pids(joiner)])
            await asyncio.to_thread(joiner.await_event, "handoff.finished", TIMEOUT_S)
        pids += self._joiner_pids(joiner)
        (finished,) = joiner.events("handoff.finished")
        took_s = _at(finished) - _at(joiner.events("handoff.started")[0])
        self.measured.append(
            Measured(
                "handoff", value_bytes, finished["bytes_done"], took_s, cpu_seconds(pids) - cpu_before, None,
                peak.most_bytes(), peak.most_added_bytes(), max(map(peak_bytes, self._joiner_pids(joiner))),
                paced.percentile_ms(0.99) / normal_ms,
            )
        )  # fmt: skip
        until(lambda: joiner.events("node.serving"), f"{joiner.name} serves")

    async def _normal_p99_ms(self) -> float:
        paced = self._paced()
        await paced.prepare()
        os.sync()
        await asyncio.sleep(SETTLE_S)
        async with paced.running():
            await asyncio.sleep(self._options.normal)
        self.normal_p99_ms.append(paced.percentile_ms(0.99))
        return self.normal_p99_ms[-1]

    @asynccontextmanager
    async def _measuring(self, what: str, value_bytes: int, moved_bytes: int) -> AsyncIterator[None]:
        pids = self._pids()
        own, nodes = PeakMemory([os.getpid()]), PeakMemory(pids)
        cpu_before, own_before = cpu_seconds(pids), time.process_time()
        began = time.perf_counter()
        yield
        took_s = time.perf_counter() - began
        self.measured.append(
            Measured(
                what, value_bytes, moved_bytes, took_s, cpu_seconds(pids) - cpu_before,
                time.process_time() - own_before, nodes.most_bytes(), nodes.most_added_bytes(), own.most_added_bytes(),
            )
        )  # fmt: skip

    def _paced(self) -> PacedClient:
        addresses = [self._cluster.nodes[f"n{i}"].address for i in range(1, NODES + 1)]
        return PacedClient(addresses, b"x" * 100, self._options.pace)

    def _pids(self) -> list[int]:
        return [node.process.pid for node in self._cluster.running if node.process]

    @staticmethod
    def _joiner_pids(joiner: NodeProcess) -> list[int]:
        return [joiner.process.pid] if joiner.process else []


async def _store(client: AsyncClient, data: DataSet) -> None:
    for piece in data.pieces():
        await client.put_many(piece)


async def _run(*arguments: str) -> tuple[resource.struct_rusage, int]:
    """What a Python process used, and the most bytes it had resident, give or take what a moment adds."""
    pid, peak = _spawn(*arguments), 0
    while (used := _used_by_ended(pid)) is None:
        peak = max(peak, peak_bytes(pid))
        await asyncio.sleep(POLL_S)
    return used, peak


def _spawn(*arguments: str) -> int:
    command = [*end_with_parent(), sys.executable, *arguments]
    silent = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
    return os.posix_spawnp(command[0], command, os.environ, file_actions=[silent])


def _used_by_ended(pid: int) -> resource.struct_rusage | None:
    """What a process used once it has ended well; None while it runs."""
    ended, status, used = os.wait4(pid, os.WNOHANG)
    assert status == 0, f"a command ended with {status}"
    return used if ended else None


def _at(line: dict[str, str]) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()


async def measure(options: argparse.Namespace, folder: Path, yardstick: float) -> None:
    print(
        f"{machine()}\n{NODES} nodes, N=3, W=R=2, {options.durability}; "
        f"{options.megabytes} MB of values of each size, at most {options.most_keys:,} keys; "
        f"{options.rounds} rounds, median (least..most)\n"
        f"one core copies {yardstick / MB:,.0f} MB/s through one gRPC stream, "
        f"in messages of {MESSAGE_BYTES >> 20} MiB\n",
        flush=True,
    )
    settings = {"durability": options.durability}
    if options.handoff_rate is not None:
        settings["handoff_rate"] = str(options.handoff_rate)
    measured: list[Measured] = []
    for size in options.values:
        home = folder / str(size)
        home.mkdir()
        with process_cluster(home, **settings) as cluster:
            for i in range(1, NODES + 2):
                cluster.node(f"n{i}").prefix = end_with_parent()
            cluster.form(NODES)
            bulk = Bulk(cluster, home, options)
            await bulk.all(DataSet(size, min(options.megabytes * MB, options.most_keys * size)), size)
        measured += bulk.measured
        print(f"{size}-byte values: others' normal p99 {Spread.of(bulk.normal_p99_ms).text()} ms", flush=True)
        os.sync()
    report(measured, yardstick)


def report(measured: Sequence[Measured], yardstick: float) -> None:
    for what in dict.fromkeys(one.what for one in measured):
        by_size: dict[int, list[Measured]] = {}
        for one in measured:
            if one.what == what:
                by_size.setdefault(one.value_bytes, []).append(one)
        print_table(
            what,
            ["value bytes", "MB", "s", "MB/s", "of a core's copying", "nodes CPU s", "client's",
             "node peak MiB", "more", "client or joiner MiB", "others' p99"],
            [_row(size, of, yardstick) for size, of in by_size.items()],
        )  # fmt: skip


def _row(size: int, of: Sequence[Measured], yardstick: float) -> list[str]:
    rate = Spread.of([one.bytes_per_s for one in of])
    return [
        f"{size:,}",
        f"{of[0].moved_bytes / MB:.0f}",
        written(Spread.of([one.took_s for one in of]).median),
        Spread(rate.median / MB, rate.least / MB, rate.most / MB).text(),
        f"{rate.median / yardstick:.0%}",
        written(Spread.of([one.nodes_cpu_s for one in of]).median),
        _or_none([one.client_cpu_s for one in of]),
        str(max(one.nodes_peak_bytes for one in of) >> 20),
        str(max(one.nodes_added_bytes for one in of) >> 20),
        _or_none(
            [None if one.client_peak_bytes is None else one.client_peak_bytes / (1 << 20) for one in of]
        ),
        _or_none([one.others_p99 for one in of], "×"),
    ]


def _or_none(values: Sequence[float | None], unit: str = "") -> str:
    known = [value for value in values if value is not None]
    return f"{Spread.of(known).text()}{unit}" if known else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=64, help="of each size of values; 1024 makes a GB")
    parser.add_argument("--most-keys", type=int, default=100_000, help="of each size")
    parser.add_argument("--values", type=int, nargs="+", default=VALUE_BYTES, metavar="BYTES")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--rounds", type=int, default=1, help="of all but the join")
    parser.add_argument(
        "--pace", type=float, default=0.005, help="seconds between the calls of the other client"
    )
    parser.add_argument("--normal", type=float, default=5.0, help="seconds that it is measured for by itself")
    parser.add_argument("--handoff-rate", type=int, help="in place of the default")
    add_durability_option(parser)
    options = parser.parse_args()
    yardstick = copied_bytes_per_s(MESSAGE_BYTES, COPIED_BYTES)
    with tempfile.TemporaryDirectory() as folder:
        run_to_end(measure(options, Path(folder), yardstick))


if __name__ == "__main__":
    main()
