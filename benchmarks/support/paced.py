"""Open-loop load: calls at a fixed pace, however long the ones before take, so that a pause shows in all of them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from benchmarks.support.figures import percentile
from covey import AsyncClient, CoveyError

KEYS = 1000


class PacedClient:
    """A read or a write every so often; it notes how long each took."""

    def __init__(self, addresses: Sequence[str], value: bytes, pace_s: float = 0.01) -> None:
        self._addresses = addresses
        self._value = value
        self._pace_s = pace_s
        self._rng = random.Random(1)
        self.took_ms: list[float] = []
        self.failed = 0

    async def prepare(self) -> None:
        """Store what is read."""
        async with AsyncClient(self._addresses) as client:
            await client.put_many({_key(i): self._value for i in range(KEYS)})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Calls are made as long as the block lasts; those under way are waited for."""
        over = asyncio.Event()
        calling = asyncio.create_task(self._run(over))
        try:
            yield
        finally:
            over.set()
            await calling

    def percentile_ms(self, share: float) -> float:
        return percentile(self.took_ms, share)

    def report(self, what: str) -> None:
        print(
            f"{what:24} {len(self.took_ms):6} operations, {self.failed} failed; ms: p50 {self.percentile_ms(0.5):.1f}, "
            f"p99 {self.percentile_ms(0.99):.1f}, worst {max(self.took_ms):.1f}"
        )

    async def _run(self, over: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        async with AsyncClient(self._addresses) as client, asyncio.TaskGroup() as group:
            next_at = loop.time()
            while not over.is_set():
                group.create_task(self._one(client))
                next_at += self._pace_s
                await asyncio.sleep(max(0.0, next_at - loop.time()))

    async def _one(self, client: AsyncClient) -> None:
        key = _key(self._rng.randrange(KEYS))
        began = time.perf_counter()
        try:
            if self._rng.random() < 0.5:
                await client.get(key)
            else:
                await client.put(key, self._value)
        except CoveyError as error:
            self.failed += 1
            print(f"a client's operation failed: {error}")
        self.took_ms.append((time.perf_counter() - began) * 1000)


def _key(number: int) -> str:
    return f"client/{number}"
