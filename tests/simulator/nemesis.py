"""The nemesis: performs a schedule of faults on a simulated cluster, and heals them in the end.

It stays within what covey promises to survive. It destroys or damages a disk only while the quorums can do without it
and no other disk is missing or damaged: the newest record is stable, every owner in it still has its disk, and the
data of the other owners is readable. All other faults occur when they are due. A process that ends by itself (its disk
failed, or it was refused) is restarted after a delay, as by a supervisor.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

from covey.identity import Identity
from covey.membership.member_list import Liveness
from covey.node.errors import JoinRefused, NodeError, StorageFailed
from covey.node.messages.control import Accept, FetchRecord, Prepare, PushRecord
from covey.node.messages.membership import GossipDelta, GossipSyn
from covey.node.storage.segments import SEGMENTS

from .cluster import FolderCopy, SimulatedCluster, SimulatedNode
from .faults import Fault, FaultKind, Schedule
from .network import Message, MessageFilter
from .scenario import carrying, merges, pulls, reads

MAX_NODES = 8
MIN_OWNERS = 4
"""Minimum number of nodes that remain when one leaves or is removed."""
RESTART_DELAY_S = 1.0
"""Delay until a process that ended by itself is restarted."""
SLICE_S = 0.1
"""A slow process is paused for a share of each slice."""
REMOVE_TIMEOUT_S = 10.0
FOREVER_S = 1e6
MIB = 1 << 20
UNLIMITED_BYTES = 1 << 50

End = Callable[[], None]

CONCERNING: dict[str, Callable[..., MessageFilter]] = {
    "writes": merges,
    "reads": reads,
    "records": partial(carrying, PushRecord, FetchRecord),
    "gossip": partial(carrying, GossipSyn, GossipDelta),
    "pulls": pulls,
    "votes": partial(carrying, Prepare, Accept),
}


def scrub(node: SimulatedNode) -> None:
    """Verify all data of a node at once instead of over a day."""
    for number in range(SEGMENTS):
        for _ in node.engine.verify(number, MIB):
            pass


class FaultSkipped(Exception):
    """The fault does not apply in the current state, or exceeds what covey promises to survive."""


class Nemesis:
    def __init__(self, cluster: SimulatedCluster, rng: random.Random) -> None:
        self._cluster = cluster
        self._rng = rng
        self._loop = asyncio.get_running_loop()
        self._ends: dict[End, None] = {}
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._leaving: dict[str, None] = {}
        self._foreigners = 0
        self._copies: dict[str, FolderCopy] = {}
        """Copies of data folders, to be restored."""
        self._lost: dict[str, Identity] = {}
        """By node, the identity whose disk has lost data."""
        self.made: Counter[str] = Counter()
        cluster.on_failure = self._ended_by_itself
        cluster.on_restart = self._watch_joining
        self._perform: dict[FaultKind, Callable[[Fault], Awaitable[None]]] = {
            FaultKind.CRASH: self._crash,
            FaultKind.POWER: self._crash,
            FaultKind.BLACKOUT: self._blackout,
            FaultKind.WIPE: self._wipe,
            FaultKind.EMPTIED: self._wipe,
            FaultKind.SET_BACK: self._set_back,
            FaultKind.FSYNC: self._break_disk,
            FaultKind.FULL: self._fill_disk,
            FaultKind.FLIP: self._flip,
            FaultKind.PAUSE: self._pause,
            FaultKind.LATE: self._pause,
            FaultKind.SLOW: self._slow,
            FaultKind.CUT: self._cut,
            FaultKind.LOSE: self._lose,
            FaultKind.MUTE: self._mute,
            FaultKind.REPEAT: self._repeat,
            FaultKind.DELAY: self._delay,
            FaultKind.JUMP: self._jump,
            FaultKind.DRIFT: self._drift,
            FaultKind.TAKEN: self._take_address,
            FaultKind.JOIN: self._join,
            FaultKind.LEAVE: self._leave,
            FaultKind.EVICT: self._evict,
        }

    async def run(self, schedule: Schedule, until_s: float) -> None:
        began_s = self._loop.time()
        for fault in sorted(schedule, key=lambda fault: fault.at_s):
            await asyncio.sleep(max(0.0, began_s + fault.at_s - self._loop.time()))
            try:
                await self._perform[fault.what](fault)
            except FaultSkipped as passed:
                self._cluster.run_trace.note(f"passed over, since {passed}: {fault}")
            else:
                self.made[fault.what] += 1
                self._cluster.run_trace.note(str(fault))
        await asyncio.sleep(max(0.0, until_s - self._loop.time()))

    def lose_writes(self, share: float) -> None:
        """Lose a share of all write requests until ``heal``."""
        if share:
            lost, writes = self._some(share), merges()
            self._ending(FOREVER_S, self._cluster.network.lose(lambda m: writes(m) and lost(m)))

    async def heal(self) -> None:
        """End all faults, and start every node that is down."""
        self._cluster.run_trace.note("all is healed")
        for end in list(self._ends):
            end()
        for node in self._nodes():
            node.clock.drift(0.0)
            node.clock.wall_offset_ms = 0
            if node.node is None:
                node.restart()
            self._watch_joining(node)
            if node.engine.unreadable():
                node.process.context.run(scrub, node)

    async def over(self) -> None:
        """Wait until every leave and removal has ended."""
        await asyncio.gather(*self._tasks)

    # --- common ---

    def _nodes(self) -> list[SimulatedNode]:
        return list(self._cluster.nodes.values())

    def _up(self) -> list[SimulatedNode]:
        return [node for node in self._nodes() if node.node is not None]

    def _one_up(self, fault: Fault) -> SimulatedNode:
        node = self._cluster.nodes.get(fault.node)
        if node is None or node.node is None:
            raise FaultSkipped(f"{fault.node} is not up")
        return node

    def _ending(self, for_s: float, end: End) -> None:
        """Call ``end`` once: after ``for_s``, or when all faults are healed."""

        def once() -> None:
            if once in self._ends:
                del self._ends[once]
                timer.cancel()
                end()

        self._ends[once] = None
        timer = self._loop.call_later(for_s, once)

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks[task] = None
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        """Drop a finished task; one that failed is kept and raises its error in ``over``."""
        if task.exception() is None:
            del self._tasks[task]

    def _back_after(self, node: SimulatedNode, for_s: float) -> None:
        def back() -> None:
            if node.node is None and self._cluster.nodes.get(node.name) is node:
                node.restart()
                self._watch_joining(node)

        self._ending(for_s, back)

    def _watch_joining(self, node: SimulatedNode) -> None:
        """End a node that is refused, and restart it after a delay."""
        process = node.node

        async def joined() -> None:
            try:
                await node.joined()
            except asyncio.CancelledError:
                return  # it ended before it was in
            except NodeError as error:
                if node.node is process:
                    self._cluster.run_trace.note(f"{node.name} ends: {error}")
                    await node.crash()
                    self._back_after(node, RESTART_DELAY_S)

        self._spawn(joined())

    def _ended_by_itself(self, node: SimulatedNode, error: BaseException) -> None:
        if not isinstance(error, StorageFailed | JoinRefused):
            self._cluster.failures.append((node.name, error))
            return
        process = node.node

        async def end() -> None:
            if node.node is process and process is not None:
                self._cluster.run_trace.note(f"{node.name} ends: {error}")
                await node.crash()
                self._back_after(node, RESTART_DELAY_S)

        self._spawn(end())

    # --- processes and disks ---

    async def _crash(self, fault: Fault) -> None:
        node = self._one_up(fault)
        await node.crash(power=fault.what is FaultKind.POWER, spared=fault.amount)
        self._back_after(node, fault.for_s)

    async def _blackout(self, fault: Fault) -> None:
        for node in self._up():
            await node.crash(power=True)
            self._back_after(node, fault.for_s * self._rng.uniform(0.5, 1.5))

    async def _wipe(self, fault: Fault) -> None:
        node = self._one_up(fault)
        if not self._may_lose(node):
            raise FaultSkipped("the cluster is not whole")
        await node.crash()
        if fault.what is FaultKind.EMPTIED:
            node.empty()
            self._lost[node.name] = node.identity
        else:
            node.wipe()
        self._back_after(node, fault.for_s)

    async def _set_back(self, fault: Fault) -> None:
        """Restore the copy that the last such fault made of this node; the first one only makes it."""
        node = self._one_up(fault)
        copy = self._copies.pop(node.name, None)
        if copy is None or copy.home.identity != node.identity:
            self._copies[node.name] = node.copy_folder()
            return
        if not self._may_lose(node):
            raise FaultSkipped("the cluster is not whole")
        await node.crash()
        node.put_back(copy)
        self._lost[node.name] = node.identity
        self._back_after(node, fault.for_s)

    async def _flip(self, fault: Fault) -> None:
        node = self._one_up(fault)
        if not self._may_lose(node):
            raise FaultSkipped("the cluster is not whole")
        if not sum(node.engine.flip_any_bit(self._rng) for _ in range(int(fault.amount))):
            raise FaultSkipped(f"{fault.node} stores nothing")

    def _may_lose(self, node: SimulatedNode) -> bool:
        """Return True if no disk of an owner, except possibly this one, is missing or damaged."""
        known = [record for node in self._nodes() if (record := node.adopted()) is not None]
        newest = max(known, key=lambda record: record.number, default=None)
        disks = {node.identity for node in self._nodes() if self._lost.get(node.name) != node.identity}
        return (
            newest is not None
            and not newest.changing
            and newest.owners.n > max(newest.owners.w, newest.owners.r)
            and newest.owners.owners.keys() <= disks
            and not any(other.damaged() for other in self._nodes() if other is not node)
        )

    async def _fill_disk(self, fault: Fault) -> None:
        """Leave less free space than the node's reserve, or almost none."""
        node = self._one_up(fault)
        node.engine.set_free_space(int(fault.amount * MIB))
        self._ending(fault.for_s, lambda: node.engine.set_free_space(UNLIMITED_BYTES))

    async def _break_disk(self, fault: Fault) -> None:
        self._one_up(fault).engine.break_disk()

    async def _pause(self, fault: Fault) -> None:
        process = self._one_up(fault).process
        if process.paused:
            raise FaultSkipped(f"{fault.node} is paused already")
        process.pause()
        self._ending(fault.for_s, process.resume)

    async def _slow(self, fault: Fault) -> None:
        process = self._one_up(fault).process
        if process.paused:
            raise FaultSkipped(f"{fault.node} is paused already")
        slow = True

        def end() -> None:
            nonlocal slow
            slow = False
            process.resume()

        async def stutter() -> None:
            while slow:
                process.pause()
                await asyncio.sleep(SLICE_S * (1 - fault.amount))
                process.resume()
                await asyncio.sleep(SLICE_S * fault.amount)

        self._ending(fault.for_s, end)
        self._spawn(stutter())

    # --- the network ---

    async def _cut(self, fault: Fault) -> None:
        """Lose requests in the directions given, and replies to requests of the opposite direction."""
        cut = frozenset(fault.cut)
        network = self._cluster.network
        self._ending(fault.for_s, network.lose(lambda m: (m.source, m.target) in cut))
        self._ending(fault.for_s, network.lose_replies(lambda m: (m.target, m.source) in cut))

    async def _lose(self, fault: Fault) -> None:
        chosen = self._some(fault.amount, fault.node)
        self._ending(fault.for_s, self._cluster.network.lose(chosen))
        self._ending(fault.for_s, self._cluster.network.lose_replies(chosen))

    async def _mute(self, fault: Fault) -> None:
        kind, _, side = fault.kind.partition(" ")
        concerned = CONCERNING[kind](**{"source" if side == "from" else "target": {fault.node}})
        network = self._cluster.network
        self._ending(fault.for_s, (network.lose_replies if fault.amount else network.lose)(concerned))

    async def _repeat(self, fault: Fault) -> None:
        self._ending(fault.for_s, self._cluster.network.repeat(self._some(fault.amount)))

    async def _delay(self, fault: Fault) -> None:
        self._ending(fault.for_s, self._cluster.network.slow(self._some(0.5), fault.amount))

    def _some(self, share: float, node: str = "") -> Callable[[Message], bool]:
        chance = random.Random(self._rng.getrandbits(64))

        def chosen(message: Message) -> bool:
            concerned = not node or node in (message.source, message.target)
            return concerned and chance.random() < share

        return chosen

    async def _take_address(self, fault: Fault) -> None:
        node = self._one_up(fault)
        await node.crash()
        self._foreigners += 1
        foreign = SimulatedNode(self._cluster, f"foreign{self._foreigners}", [], {})
        foreign.address = node.address
        foreign.start()

        def newcomer(message: Message) -> bool:
            """Select requests of new nodes, which could join the other cluster."""
            request = message.request
            return message.target == foreign.name and not request.envelope.cluster_id

        admitted = self._cluster.network.refuse(newcomer)

        def vacate() -> None:
            admitted()
            if self._cluster.network.listener(foreign.address) == foreign.name:
                self._cluster.network.shut(foreign.address)
            foreign.address = "gone"
            self._spawn(self._end_foreign(foreign))

        self._ending(fault.for_s, vacate)
        self._back_after(node, fault.for_s)

    async def _end_foreign(self, foreign: SimulatedNode) -> None:
        """Stop a node of another cluster, and check that the two clusters share no data and no members."""
        record = foreign.adopted()
        assert record is None or list(record.owners.owners) == [foreign.identity], "it is of no other cluster"
        assert foreign.engine.usage().keys == 0, f"{foreign.name} was given keys"
        for node in self._up():
            known = [member.identity for member in node.running.members.all()]
            assert foreign.identity not in known, f"{node.name} counts {foreign.name} as a member"
        await foreign.crash()

    # --- clocks ---

    async def _jump(self, fault: Fault) -> None:
        clock, by_ms = self._one_up(fault).clock, int(fault.amount)
        clock.wall_offset_ms += by_ms

        def back() -> None:
            clock.wall_offset_ms -= by_ms

        self._ending(fault.for_s, back)

    async def _drift(self, fault: Fault) -> None:
        clock = self._one_up(fault).clock
        before_ms = clock.wall_offset_ms
        clock.drift(fault.amount)

        def set_right() -> None:
            clock.drift(0.0)
            clock.wall_offset_ms = before_ms

        self._ending(fault.for_s, set_right)

    # --- who is in the ring ---

    async def _join(self, fault: Fault) -> None:
        if len(self._nodes()) >= MAX_NODES or fault.node in self._cluster.nodes:
            raise FaultSkipped("there are enough nodes")
        self._watch_joining(self._cluster.add(fault.node, [node.address for node in self._nodes()]))

    async def _leave(self, fault: Fault) -> None:
        node = self._one_up(fault)
        if len(self._nodes()) <= MIN_OWNERS:
            raise FaultSkipped("there are few nodes")
        if node.name in self._leaving:
            raise FaultSkipped(f"{fault.node} is leaving already")
        self._spawn(self._depart(node))

    async def _depart(self, node: SimulatedNode) -> None:
        """Leave, and stop once out. A process that dies before is restarted as a member."""
        process = node.running
        self._leaving[node.name] = None
        process.gossip.leave()
        while node.node is process:
            if process.gossip.left.is_set() and not node.process.paused:
                del self._cluster.nodes[node.name]  # so that it is not restarted meanwhile
                await node.stop()
                break
            await asyncio.sleep(0.05)
        del self._leaving[node.name]

    async def _evict(self, fault: Fault) -> None:
        """Ask a node that considers this one down to remove it."""
        owners = [node for node in self._up() if node.adopted() is not None]
        if len(owners) < MIN_OWNERS:
            raise FaultSkipped("there are few nodes")
        asked = self._rng.choice(owners)
        named = [m for m in asked.running.members.all() if m.identity.name == fault.node and not m.left]
        if not any(member.liveness is Liveness.DOWN for member in named):
            raise FaultSkipped(f"{fault.node} is not down")
        self._spawn(self._remove(asked, fault.node))

    async def _remove(self, asked: SimulatedNode, name: str) -> None:
        task = asked.process.create_task(asked.running.administration.remove(name, REMOVE_TIMEOUT_S))
        done, _ = await asyncio.wait([task], timeout=2 * REMOVE_TIMEOUT_S)
        if not done:
            task.cancel()
        elif not task.cancelled() and not isinstance(task.exception(), NodeError | None):
            task.result()
