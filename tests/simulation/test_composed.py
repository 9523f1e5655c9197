"""Everything at once, at random: clients read and write while nodes crash, lose power, come, go and lose messages."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from covey.node.errors import NodeError
from covey.node.operations import Delete, Get, GetResult, Put
from covey.ring.hashing import token_of
from covey.ring.ring import Ring

from .cluster import SimulatedCluster, SimulatedNode
from .history import History
from .network import Message
from .virtual_time import in_virtual_time

KEYS = [b"k%d" % number for number in range(4)]
CLIENTS = 3
LASTS_S = 60.0
MAX_NODES = 7
MIN_OWNERS = 4
CLOCKS_MS = 150
"""How far clocks are off, either way."""

SETTINGS = {
    "tokens_per_weight": 4,
    "rpc_timeout": 0.5,
    "handoff_timeout": 6.0,
    "evict_after": 8.0,
    "handoff_grace": 1.0,
}


class Client:
    """Carries the highest version it has seen, as the library does."""

    def __init__(self, name: str, cluster: SimulatedCluster, history: History, rng: random.Random) -> None:
        self._name = name
        self._cluster = cluster
        self._history = history
        self._rng = rng
        self._seen_timestamp = 0
        self._written = 0

    async def run(self, until_s: float) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < until_s:
            await asyncio.sleep(self._rng.uniform(0.0, 0.3))
            up = [node for node in self._cluster.nodes.values() if node.node is not None]
            if up:
                await self._operate(self._rng.choice(up), self._rng.choice(KEYS))

    async def _operate(self, node: SimulatedNode, key: bytes) -> None:
        process = node.running
        began_s = asyncio.get_running_loop().time()
        operation = self._choose(key)
        try:
            result = await process.coordinator.execute(operation)
        except NodeError:
            self._history.failed += 1
            return
        if node.node is not process:
            return  # it died meanwhile, and would have told nobody
        ended_s = asyncio.get_running_loop().time()
        if result.version is not None:
            self._seen_timestamp = max(self._seen_timestamp, result.version.timestamp)
        if isinstance(result, GetResult):
            self._history.read(key, result.version, result.value, began_s, ended_s)
        else:
            value = operation.value if isinstance(operation, Put) else None
            self._history.wrote(key, result.version, value, began_s, ended_s)

    def _choose(self, key: bytes) -> Get | Put | Delete:
        chance = self._rng.random()
        if chance < 0.5:
            return Get(key, 2.0, seen_timestamp=self._seen_timestamp)
        if chance < 0.6:
            return Delete(key, 2.0, seen_timestamp=self._seen_timestamp)
        self._written += 1
        value = f"{self._name}-{self._written}".encode()
        return Put(key, value, 2.0, seen_timestamp=self._seen_timestamp)


class Trouble:
    """Makes it, and heals all of it in the end."""

    def __init__(self, cluster: SimulatedCluster, rng: random.Random) -> None:
        self._cluster = cluster
        self._rng = rng
        self._joined = 0
        self._ending: list[Callable[[], None]] = []
        self._departing: list[asyncio.Task[None]] = []
        self.made: Counter[str] = Counter()

    async def run(self, until_s: float) -> None:
        kinds: list[Callable[[], Awaitable[None]]] = [
            *(self._crash, self._crash, self._crash_all, self._lose, self._lose, self._part),
            *(self._join, self._leave),
        ]
        loop = asyncio.get_running_loop()
        while loop.time() < until_s:
            await asyncio.sleep(self._rng.uniform(0.3, 3.0))
            await self._rng.choice(kinds)()
            self._heal_some()

    async def heal(self) -> None:
        for end in self._ending:
            end()
        for node in self._cluster.nodes.values():
            if node.node is None:
                node.restart()

    async def over(self) -> None:
        await asyncio.gather(*self._departing)

    def _heal_some(self) -> None:
        while len(self._ending) > 1 or (self._ending and self._rng.random() < 0.4):
            self._ending.pop(0)()
        for node in self._cluster.nodes.values():
            if node.node is None and self._rng.random() < 0.4:
                node.restart()

    def _up(self) -> list[SimulatedNode]:
        return [node for node in self._cluster.nodes.values() if node.node is not None]

    async def _crash(self) -> None:
        if len(self._up()) > 2:
            power = self._rng.random() < 0.7
            self.made["power failure" if power else "crash"] += 1
            await self._rng.choice(self._up()).crash(power=power)

    async def _crash_all(self) -> None:
        if self._rng.random() < 0.3:
            self.made["power failure of all"] += 1
            for node in self._up():
                await node.crash(power=True)

    async def _lose(self) -> None:
        """A part of all messages, or all of one node's."""
        share, unlucky = self._rng.choice([0.05, 0.3]), self._rng.choice([*self._up(), None])
        chance = random.Random(self._rng.getrandbits(64))
        self.made["loss"] += 1

        def lost(message: Message) -> bool:
            if unlucky is not None:
                return unlucky.name in (message.source, message.target)
            return chance.random() < share

        lose = self._rng.choice([self._cluster.network.lose, self._cluster.network.lose_replies])
        self._ending.append(lose(lost))

    async def _part(self) -> None:
        names = sorted(self._cluster.nodes)
        self._rng.shuffle(names)
        cut = self._rng.randrange(1, len(names))
        self.made["partition"] += 1
        self._ending.append(self._cluster.network.partition(set(names[:cut]), set(names[cut:])))

    async def _join(self) -> None:
        if len(self._cluster.nodes) < MAX_NODES:
            self._joined += 1
            self.made["join"] += 1
            node = self._cluster.add(f"j{self._joined}", [n.address for n in self._cluster.nodes.values()])
            node.clock.wall_offset_ms = self._rng.randint(-CLOCKS_MS, CLOCKS_MS)

    async def _leave(self) -> None:
        if len(self._cluster.nodes) > MIN_OWNERS and self._up():
            self.made["leave"] += 1
            leaving = self._rng.choice(self._up())
            self._departing.append(asyncio.ensure_future(self._depart(leaving)))

    async def _depart(self, node: SimulatedNode) -> None:
        """Leave, and end when out; a process that dies on its way out comes back as a member."""
        process = node.running
        process.gossiping.leave()
        while not process.gossiping.left.is_set():
            if node.node is not process:
                return
            await asyncio.sleep(0.05)
        if node.node is process:
            await node.stop()
            del self._cluster.nodes[node.name]


def check_replicas(cluster: SimulatedCluster, history: History) -> None:
    """After all is healed and read once: a write quorum of every list has the newest version there is."""
    record = next(iter(cluster.nodes.values())).running.epochs.record
    assert record is not None
    ring = Ring(record.owners)
    nodes = {node.identity: node for node in cluster.nodes.values()}
    for key in KEYS:
        entries = [nodes[owner].engine.get(key) for owner in ring.preference_list(token_of(key))]
        newest = max((entry for entry in entries if entry is not None), key=lambda e: e.version, default=None)
        told = history.newest_before(key, float("inf"))
        if newest is None:
            assert told is None, f"{key!r}: nobody has {told}"
            continue
        assert told is None or newest.version >= told.version, f"{key!r}: {newest} stands, told was {told}"
        assert sum(entry == newest for entry in entries) >= ring.w, f"{key!r}: {entries}"


async def live_through(seed: int) -> tuple[SimulatedCluster, History, Counter[str]]:
    rng = random.Random(seed)
    history = History()
    async with SimulatedCluster(seed, **SETTINGS) as cluster:
        loop = asyncio.get_running_loop()
        for node in await cluster.form(5):
            node.clock.wall_offset_ms = rng.randint(-CLOCKS_MS, CLOCKS_MS)
        trouble = Trouble(cluster, rng)
        until_s = loop.time() + LASTS_S
        clients = [
            Client(f"c{number}", cluster, history, random.Random(rng.getrandbits(64)))
            for number in range(CLIENTS)
        ]
        await asyncio.gather(trouble.run(until_s), *(client.run(until_s) for client in clients))
        await trouble.heal()
        await cluster.synced(timeout_s=180.0)
        await trouble.over()
        await read_everywhere(cluster, history)
        story = f"seed {seed}\n" + "\n".join(history.faults) + "\n" + cluster.story(200)
        assert not history.faults, story
        check_replicas(cluster, history)
    return cluster, history, trouble.made


async def read_everywhere(cluster: SimulatedCluster, history: History) -> None:
    loop = asyncio.get_running_loop()
    for node in cluster.nodes.values():
        for key in KEYS:
            began_s = loop.time()
            result = await node.running.coordinator.execute(Get(key, 5.0))
            assert isinstance(result, GetResult)
            history.read(key, result.version, result.value, began_s, loop.time())


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
@in_virtual_time
async def test_nothing_acknowledged_is_lost_and_nothing_read_is_unread(seed: int) -> None:
    _, history, made = await live_through(seed)
    assert history.reads > 100 and history.writes > 50, f"seed {seed}: hardly anything worked: {made}"
