"""A client of covey as a separate process, which loads a cluster and reports its results."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import uvloop

from benchmarks.contestants.covey_cluster import CoveyStore
from benchmarks.support.figures import percentile
from benchmarks.support.load import RunningLoad, uniform
from benchmarks.support.servers import end_with_parent
from covey import AsyncClient

START_S = 1.5
"""How long a process may take to start."""
END_S = 30.0
"""How long its last calls may take."""


@dataclass(frozen=True)
class Client:
    """What a client is to do: reads and writes even, keys drawn evenly."""

    servers: Sequence[str]
    callers: int
    keys: int
    value_bytes: int


@dataclass(frozen=True)
class Outcome:
    """What came of it in the time that was measured."""

    ops_per_s: float
    """Of those that were answered well."""
    p50_ms: float
    p99_ms: float
    longest_ms: float
    errors: dict[str, int]
    """By kind."""
    answered: int

    @property
    def success(self) -> float:
        """The share of operations that were answered well."""
        failed = sum(self.errors.values())
        return self.answered / max(1, self.answered + failed)


async def load_by(clients: Sequence[Client], warm_up_s: float, seconds: float) -> list[Outcome]:
    """Have all of them call at the same time."""
    begin_at = time.perf_counter() + START_S + warm_up_s
    running = [_launch(client, begin_at, seconds) for client in clients]
    try:
        texts = await asyncio.gather(
            *(asyncio.to_thread(_answer, process, begin_at + seconds) for process in running)
        )
    finally:
        for process in running:
            process.kill()
            process.wait()
    return [Outcome(**json.loads(text)) for text in texts]


def _launch(client: Client, begin_at: float, seconds: float) -> subprocess.Popen[str]:
    work = json.dumps({"client": asdict(client), "begin_at": begin_at, "seconds": seconds})
    command = [*end_with_parent(), sys.executable, "-m", __name__, work]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def _answer(process: subprocess.Popen[str], ends_at: float) -> str:
    text, _ = process.communicate(timeout=ends_at - time.perf_counter() + END_S)
    if process.returncode != 0:
        raise RuntimeError(f"a client process ended with {process.returncode}")
    return text


async def _work(client: Client, begin_at: float, seconds: float) -> Outcome:
    rng = random.Random()
    keys, value = [f"key/{i}" for i in range(client.keys)], rng.randbytes(client.value_bytes)
    store = CoveyStore(AsyncClient(client.servers))
    try:
        load = RunningLoad(uniform(store, keys, value, 0.5, rng), client.callers, store.errors)
        end_at = begin_at + seconds
        await asyncio.sleep(end_at - time.perf_counter())
        await load.stop()
    finally:
        await store.close()
    line = load.timeline
    took_ms = [1000 * took for took in line.took_s_of(begin_at, end_at)]
    return Outcome(
        ops_per_s=line.rate(begin_at, end_at),
        p50_ms=percentile(took_ms, 0.5),
        p99_ms=percentile(took_ms, 0.99),
        longest_ms=max(took_ms, default=0.0),
        errors=dict(line.errors_of(begin_at, end_at)),
        answered=len(took_ms),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=json.loads)
    work = parser.parse_args().work
    outcome = uvloop.run(_work(Client(**work["client"]), work["begin_at"], work["seconds"]))
    print(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main()
