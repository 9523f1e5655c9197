"""A network in memory that encodes and decodes every message, and loses, holds or delays them when told to."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from covey.node.errors import PeerTimeout, PeerUnreachable
from covey.node.messages import Reply, Request
from covey.node.ports import Handler
from covey.node.rpc.codec import reply_from_bytes, reply_to_bytes, request_from_bytes, request_to_bytes

LATENCY_S = (0.0002, 0.002)


@dataclass(frozen=True)
class Message:
    """A request on its way, as rules see it."""

    source: str
    """Name of the sending node."""
    target: str
    request: Request


Rule = Callable[[Message], bool]
"""Whether a message is concerned."""


class Hold:
    """Keeps what is concerned on its way until released."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.held: list[Message] = []
        self._released = asyncio.Event()

    def release(self) -> None:
        self._released.set()

    async def pass_through(self, message: Message) -> None:
        if not self._released.is_set() and self.rule(message):
            self.held.append(message)
            await self._released.wait()


class Network:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._doors: dict[str, tuple[str, Handler]] = {}
        self._refused_requests: list[Rule] = []
        self._lost_requests: list[Rule] = []
        self._lost_replies: list[Rule] = []
        self._holds: list[Hold] = []
        self._reply_holds: list[Hold] = []
        self.delivered = 0

    # --- faults ---

    def refuse(self, rule: Rule) -> Callable[[], None]:
        """Turn concerned requests back at once, as a closed port does; returns how to end it."""
        return _listed(self._refused_requests, rule)

    def lose(self, rule: Rule) -> Callable[[], None]:
        """Lose concerned requests before they arrive; returns how to end it."""
        return _listed(self._lost_requests, rule)

    def lose_replies(self, rule: Rule) -> Callable[[], None]:
        """Let concerned requests be handled, and lose their replies."""
        return _listed(self._lost_replies, rule)

    def hold(self, rule: Rule) -> Hold:
        hold = Hold(rule)
        self._holds.append(hold)
        return hold

    def hold_replies(self, rule: Rule) -> Hold:
        """Let concerned requests be handled, and keep their replies until released."""
        hold = Hold(rule)
        self._reply_holds.append(hold)
        return hold

    def partition(self, *sides: set[str]) -> Callable[[], None]:
        """Let nodes hear only who is on their own side; returns how to heal it."""

        def apart(message: Message) -> bool:
            return not any(message.source in side and message.target in side for side in sides)

        return self.lose(apart)

    # --- traffic ---

    def open(self, address: str, name: str, handler: Handler) -> None:
        self._doors[address] = (name, handler)

    def shut(self, address: str) -> None:
        self._doors.pop(address, None)

    async def call(self, source: str, address: str, request: Request, timeout_s: float) -> Reply:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._travel(source, address, request)
        except TimeoutError as error:
            raise PeerTimeout(f"{address} did not answer in {timeout_s:g} s") from error

    async def _travel(self, source: str, address: str, request: Request) -> Reply:
        sent = request_to_bytes(request)
        await asyncio.sleep(self._rng.uniform(*LATENCY_S))
        if address not in self._doors:
            raise PeerUnreachable(f"nobody listens at {address}")
        name, handler = self._doors[address]
        message = Message(source, name, request)
        if any(rule(message) for rule in self._refused_requests):
            raise PeerUnreachable(f"{address} is closed to this")
        if any(rule(message) for rule in self._lost_requests):
            await asyncio.Event().wait()
        for hold in list(self._holds):
            await hold.pass_through(message)
        if self._doors.get(address) != (name, handler):
            raise PeerTimeout(f"{address} went away")
        self.delivered += 1
        answered = reply_to_bytes(await handler(request_from_bytes(sent)))
        if any(rule(message) for rule in self._lost_replies):
            await asyncio.Event().wait()
        for hold in list(self._reply_holds):
            await hold.pass_through(message)
        await asyncio.sleep(self._rng.uniform(*LATENCY_S))
        return reply_from_bytes(answered)


class SimulatedTransport:
    """One node's way into the network. Cut it when the node's process dies."""

    def __init__(self, network: Network, name: str) -> None:
        self._network = network
        self._name = name
        self.cut = False

    async def call(self, address: str, request: Request, *, timeout_s: float) -> Reply:
        if self.cut:
            raise PeerUnreachable("this process is dead")
        reply = await self._network.call(self._name, address, request, timeout_s)
        if self.cut:
            raise PeerTimeout("this process is dead")
        return reply

    async def close(self) -> None:
        self.cut = True


def _listed(rules: list[Rule], rule: Rule) -> Callable[[], None]:
    rules.append(rule)

    def end() -> None:
        if rule in rules:
            rules.remove(rule)

    return end
