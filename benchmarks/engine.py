"""What an entry costs the engine, beside what bare RocksDB takes for the same bytes: ``python -m benchmarks.engine``.

Microseconds of this process's CPU time for one entry, RocksDB's own threads included: the least and the median
of some rounds. Rounds of all columns alternate, so that they meet the same noise. Bare RocksDB writes the same
entries without reading what is held, without checksums of its own and without the ledger's rows. Under ``sync``
every batch waits for its fsync, which costs little CPU but a turn of the loop.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import uvloop
from rich.console import Console
from rich.table import Table
from rocksdict import Options, Rdict, WriteBatch

from covey.node.storage.encoding import pack, stored_key
from covey.node.storage.engine import Durability
from covey.node.storage.interface import Entry
from covey.node.storage.rocks import RocksEngine
from covey.quorum.version import Version

VALUE = b"x" * 100
BATCHES = (1, 20, 100)
Given = tuple[bytes, Entry]
Step = Callable[[], Awaitable[None]]


class Subject(Protocol):
    """What is measured. A step is made ready first, so that only what it does itself is counted."""

    def merging(self, entries: Sequence[Given]) -> Step: ...

    def getting(self, keys: Sequence[bytes]) -> Step:
        """One by one."""

    def getting_many(self, keys: Sequence[bytes]) -> Step:
        """All at once."""

    async def close(self) -> None: ...


class Covey:
    def __init__(self, folder: Path, durability: Durability) -> None:
        self._engine = RocksEngine.open(folder, durability)

    def merging(self, entries: Sequence[Given]) -> Step:
        async def merge() -> None:
            self._engine.merge(entries)
            await self._engine.durable()

        return merge

    def getting(self, keys: Sequence[bytes]) -> Step:
        async def get() -> None:
            for key in keys:
                assert self._engine.get(key) is not None

        return get

    def getting_many(self, keys: Sequence[bytes]) -> Step:
        async def get() -> None:
            assert None not in self._engine.get_many(keys)

        return get

    async def close(self) -> None:
        await self._engine.close()


class Bare:
    """RocksDB as it comes, keeping the same rows of entries."""

    def __init__(self, folder: Path) -> None:
        self._rows = Rdict(str(folder), Options(raw_mode=True))

    def merging(self, entries: Sequence[Given]) -> Step:
        packed = [(stored_key(key), pack(stored_key(key), entry)) for key, entry in entries]

        async def write() -> None:
            changes = WriteBatch(raw_mode=True)
            for stored, row in packed:
                changes.put(stored, row)
            self._rows.write(changes)

        return write

    def getting(self, keys: Sequence[bytes]) -> Step:
        stored = [stored_key(key) for key in keys]

        async def get() -> None:
            for key in stored:
                assert self._rows.get(key) is not None

        return get

    def getting_many(self, keys: Sequence[bytes]) -> Step:
        stored: Any = [stored_key(key) for key in keys]

        async def get() -> None:
            found: Any = self._rows.get(stored)
            assert None not in found

        return get

    async def close(self) -> None:
        self._rows.close()


class Workload:
    """Keys and entries, which every subject is given alike."""

    def __init__(self, keys: int) -> None:
        self._held = [b"key/%016d" % number for number in range(keys)]
        self._new = itertools.count(keys)
        self._timestamps = itertools.count(1)
        self._rng = random.Random(1)

    def first(self) -> list[Given]:
        return self._entries(self._held)

    def new(self, count: int) -> list[Given]:
        return self._entries([b"key/%016d" % next(self._new) for _ in range(count)])

    def overwrites(self, count: int) -> list[Given]:
        return self._entries(self.held(count))

    def held(self, count: int) -> list[bytes]:
        return self._rng.sample(self._held, count)

    def _entries(self, keys: Sequence[bytes]) -> list[Given]:
        return [(key, Entry(Version(next(self._timestamps), 2**63 + 1, 1), VALUE)) for key in keys]


async def cost_us(steps: Sequence[Step]) -> float:
    """Of all these steps together."""
    began = time.process_time()
    for step in steps:
        await step()
    return (time.process_time() - began) * 1e6


def steps_of(name: str, subject: Subject, given: Sequence[Given], batch: int) -> list[Step]:
    some = [given[begin : begin + batch] for begin in range(0, len(given), batch)]
    if name.startswith("merge"):
        return [subject.merging(entries) for entries in some]
    getting = subject.getting_many if name == "get many" else subject.getting
    return [getting([key for key, _ in entries]) for entries in some]


async def measure(folder: Path, options: argparse.Namespace) -> dict[tuple[str, int], dict[str, list[float]]]:
    """Microseconds an entry, of each operation and size of batch, for each subject and round."""
    subjects: dict[str, Subject] = {
        "bare": Bare(folder / "bare"),
        "periodic": Covey(folder / "periodic", "periodic"),
        "sync": Covey(folder / "sync", "sync"),
    }
    workload = Workload(options.keys)
    first = workload.first()
    for subject in subjects.values():
        await cost_us(steps_of("merge", subject, first, 1000))
    found: dict[tuple[str, int], dict[str, list[float]]] = {}
    for _ in range(options.rounds):
        for batch in BATCHES:
            count = options.entries if batch > 1 else options.entries // 4
            asked = {
                "merge, new keys": workload.new(count),
                "merge, overwrites": workload.overwrites(count),
                "get, one by one": workload.overwrites(count),
                "get many": workload.overwrites(count),
            }
            for name, given in asked.items():
                costs = found.setdefault((name, batch), {})
                for column, subject in subjects.items():
                    cost = await cost_us(steps_of(name, subject, given, batch))
                    costs.setdefault(column, []).append(cost / count)
    for subject in subjects.values():
        await subject.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--keys", type=int, default=100_000, help="held before it begins")
    parser.add_argument(
        "--entries", type=int, default=2_000, help="in each round, a quarter of it one by one"
    )
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = uvloop.run(measure(Path(folder), options))
    table = Table("CPU us an entry: least / median", "batch", "bare", "periodic", "sync")
    for column in table.columns[1:]:
        column.justify = "right"
    for (name, batch), costs in sorted(found.items(), key=lambda item: item[0][0]):
        cells = (f"{min(some):.1f} / {statistics.median(some):.1f}" for some in costs.values())
        table.add_row(name, str(batch), *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
