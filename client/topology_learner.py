"""Keeps the client's copy of the ring up to date: reads it soon after the first answer, regularly, and after failures.

It also checks whether a node of the client's cluster answers at certain addresses: those at which another cluster has
answered, given addresses that are not verified yet (``cluster_identity``), and those of silent nodes (``routing``).

A client that carries out a single command ends before the ring is first read, so that the command costs one call.
"""

from __future__ import annotations

import asyncio
import random

from .cluster_identity import ClusterIdentity
from .errors import CoveyError, is_answer
from .links import Links
from .routing import Router, Topology

FIRST_LOOK_AFTER_S = 0.02
REFRESH_EVERY_S = 30.0
REFRESH_TIMEOUT_S = 2.0
LOOK_AGAIN_EVERY_S = 5.0
"""Time between two checks of an address that belongs to another cluster."""
ASK_SILENT_EVERY_S = 1.0
"""Time between two requests to a silent node; less than the request's timeout."""
MAX_CHECKED = 16
"""Maximum number of addresses that are checked at a time."""
MIN_INTERVAL_S = 0.5


class TopologyLearner:
    """Owns the task that reads the ring from nodes."""

    def __init__(self, router: Router, links: Links, rng: random.Random, cluster: ClusterIdentity) -> None:
        self._cluster = cluster
        self._router = router
        self._links = links
        self._rng = rng
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def note(self, answered: bool) -> None:
        """Record the end of an attempt. The first attempt starts the task; after a failure, the ring is read soon."""
        if self._closed:
            return
        if self._task is None:
            self._task = asyncio.create_task(self._keep_learning())
        elif not answered:
            self._wanted.set()

    async def pause(self) -> None:
        """End the task; the next attempt starts another."""
        await self._end()

    async def close(self) -> None:
        self._closed = True
        await self._end()

    async def _end(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep_learning(self) -> None:
        await asyncio.sleep(FIRST_LOOK_AFTER_S)
        while True:
            self._wanted.clear()
            await self._look()
            await self._look_again()
            await asyncio.sleep(MIN_INTERVAL_S * self._rng.uniform(0.8, 1.2))
            await self._wait_until_wanted(self._interval_s() * self._rng.uniform(0.8, 1.2))

    def _interval_s(self) -> float:
        if self._router.silent:
            return ASK_SILENT_EVERY_S
        return LOOK_AGAIN_EVERY_S if self._cluster.foreign else REFRESH_EVERY_S

    async def _wait_until_wanted(self, longest_s: float) -> None:
        try:
            async with asyncio.timeout(longest_s):
                await self._wanted.wait()
        except TimeoutError:
            return  # it is time to read the ring regularly

    async def _look(self) -> None:
        """Ask nodes for the ring, one after the other, until one answers with it."""
        loop = asyncio.get_running_loop()
        tried: dict[str, None] = {}
        while (address := self._router.choose(tried, loop.time())) is not None:
            tried[address] = None
            topology = await self._ask(address)
            if topology is not None:
                self._router.learn(topology)
                self._cluster.listed(topology.addresses)
                await self._links.close_unused(self._router.addresses)
                return

    async def _look_again(self) -> None:
        """Send a request to silent nodes and doubtful addresses, to some of them if they are many.

        ``NodeLink.call`` records which cluster answers.
        """
        unsure = list(dict.fromkeys([*self._router.silent, *self._cluster.doubtful]))
        checked = self._rng.sample(unsure, min(MAX_CHECKED, len(unsure)))
        await asyncio.gather(*(self._ask(address) for address in checked))

    async def _ask(self, address: str) -> Topology | None:
        """Return the ring of the node at ``address``; None if it has none or does not answer."""
        try:
            response = await self._links.to(address).call("Ring", REFRESH_TIMEOUT_S)
            self._router.answered(address)
            topology = Topology.decode(response.record, response.addresses)
            return topology if topology.record.cluster_id == self._cluster.cluster_id else None
        except (CoveyError, ValueError) as error:
            if isinstance(error, CoveyError) and is_answer(error):
                self._router.answered(address)
            return None  # other nodes are asked, and routing works without a ring
