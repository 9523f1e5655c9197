"""A network in memory that encodes and decodes every message, and can lose, hold, delay and repeat messages.

A message under way belongs to no process: it arrives even if its sender is paused or dead by then. A request is
handled by the receiving process, and its reply is another message.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from covey.node.errors import NodeError, PeerTimeout, PeerUnreachable
from covey.node.messages.envelope import Reply, Request
from covey.node.ports import Handler
from covey.node.rpc.codec.peer import reply_from_bytes, reply_to_bytes, request_from_bytes, request_to_bytes

from .virtual_time import Process

LATENCY_S = (0.0002, 0.002)


@dataclass(frozen=True, slots=True)
class Message:
    """A request under way, as filters see it."""

    source: str
    """Name of the sending node."""
    target: str
    request: Request


MessageFilter = Callable[[Message], bool]
"""Returns True for the messages that it selects."""
OnMessage = Callable[[str, str, Request | Reply, bytes], None]
"""Called for every delivered message, with source, target, message and encoded bytes."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """A request or, when ``reply`` is set, a reply, at the instant at which it arrives or is lost."""

    source: str
    """Name of the node that sent the request."""
    target: str
    """Name of the node that the request is for; empty when no process listens there."""
    request: Request
    reply: Reply | None = None
    lost: str = ""
    """Why it did not arrive; empty when it did."""


def ignore_message(source: str, target: str, message: Request | Reply, encoded: bytes) -> None:
    """Do nothing."""


class Hold:
    """Delays the selected messages until released."""

    def __init__(self, rule: MessageFilter) -> None:
        self.rule = rule
        self.held: list[Message] = []
        self._going_on: list[Callable[[], None]] = []
        self._released = False

    def release(self) -> None:
        self._released = True
        loop = asyncio.get_running_loop()
        for go_on in self._going_on:
            loop.call_soon(go_on)
        self._going_on.clear()

    def holds(self, message: Message, go_on: Callable[[], None]) -> bool:
        if self._released or not self.rule(message):
            return False
        self.held.append(message)
        self._going_on.append(go_on)
        return True


class Listener:
    """The address of a process, with the requests that it is handling."""

    def __init__(self, name: str, handler: Handler, process: Process | None) -> None:
        self.name = name
        self.handler = handler
        self.process = process
        self.handling: dict[asyncio.Task[None], Call] = {}


class Call:
    """A request that waits for its reply. A reply after its end has no effect."""

    def __init__(self, source: str, request: Request, encoded: bytes) -> None:
        self.source = source
        self.request = request
        self.encoded = encoded
        self.answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def fail(self, error: NodeError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)

    def succeed(self, reply: Reply) -> None:
        if not self.answer.done():
            self.answer.set_result(reply)


class Network:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._context = contextvars.copy_context()
        self._listeners: dict[str, Listener] = {}
        self._refused_requests: list[MessageFilter] = []
        self._lost_requests: list[MessageFilter] = []
        self._lost_replies: list[MessageFilter] = []
        self._repeated: list[MessageFilter] = []
        self._slowed: list[tuple[MessageFilter, float]] = []
        self._holds: list[Hold] = []
        self._reply_holds: list[Hold] = []
        self.latency_s = LATENCY_S
        self.delivered = 0
        """Requests."""
        self.replied = 0
        self.on_message: OnMessage = ignore_message
        self.observers: list[Callable[[Transfer], None]] = []
        """Called for every message that arrives or is lost."""
        self.defects: list[tuple[str, BaseException]] = []
        """Unexpected errors of handlers, with the node's name."""

    # --- faults ---

    def refuse(self, rule: MessageFilter) -> Callable[[], None]:
        """Refuse the selected requests at once, as a closed port does. Return a function that ends this."""
        return _listed(self._refused_requests, rule)

    def lose(self, rule: MessageFilter) -> Callable[[], None]:
        """Lose the selected requests before they arrive. Return a function that ends this."""
        return _listed(self._lost_requests, rule)

    def lose_replies(self, rule: MessageFilter) -> Callable[[], None]:
        """Deliver the selected requests, and lose their replies. Return a function that ends this."""
        return _listed(self._lost_replies, rule)

    def repeat(self, rule: MessageFilter) -> Callable[[], None]:
        """Deliver the selected requests twice; the second reply is lost. Return a function that ends this."""
        return _listed(self._repeated, rule)

    def slow(self, rule: MessageFilter, most_s: float) -> Callable[[], None]:
        """Delay the selected requests and their replies by up to ``most_s``, so that they overtake each other."""
        return _listed(self._slowed, (rule, most_s))

    def hold(self, rule: MessageFilter) -> Hold:
        hold = Hold(rule)
        self._holds.append(hold)
        return hold

    def hold_replies(self, rule: MessageFilter) -> Hold:
        """Deliver the selected requests, and hold their replies until released."""
        hold = Hold(rule)
        self._reply_holds.append(hold)
        return hold

    def partition(self, *sides: set[str]) -> Callable[[], None]:
        """Lose messages between sides. Return a function that heals the partition."""

        def apart(message: Message) -> bool:
            return not any(message.source in side and message.target in side for side in sides)

        return self.lose(apart)

    # --- traffic ---

    def open(self, address: str, name: str, handler: Handler, process: Process | None = None) -> None:
        self._listeners[address] = Listener(name, handler, process)

    def listener(self, address: str) -> str:
        """Return the name of the node that listens there; empty if there is none."""
        listener = self._listeners.get(address)
        return listener.name if listener is not None else ""

    def shut(self, address: str) -> None:
        """Close an address; calls that wait for a reply fail."""
        listener = self._listeners.pop(address, None)
        for task, call in list(listener.handling.items()) if listener is not None else ():
            task.cancel()
            call.fail(PeerTimeout(f"{address} went away"))

    async def call(self, source: str, address: str, request: Request, timeout_s: float) -> Reply:
        call = Call(source, request, request_to_bytes(request))
        late = PeerTimeout(f"{address} did not answer in {timeout_s:g} s")
        timer = asyncio.get_running_loop().call_later(timeout_s, call.fail, late)
        self._send(address, call)
        try:
            return await call.answer
        finally:
            timer.cancel()
            call.answer.cancel()

    def _later(self, delay_s: float, happen: Callable[..., None], *what: object) -> None:
        asyncio.get_running_loop().call_later(delay_s, happen, *what, context=self._context)

    def _latency_s(self, message: Message) -> float:
        latency_s = self._rng.uniform(*self.latency_s)
        for rule, most_s in self._slowed:
            if rule(message):
                latency_s += self._rng.uniform(0.0, most_s)
        return latency_s

    def _send(self, address: str, call: Call) -> None:
        listener = self._listeners.get(address)
        message = Message(call.source, listener.name if listener is not None else "", call.request)
        self._later(self._latency_s(message), self._arrive, address, call)
        if any(rule(message) for rule in self._repeated):
            again = Call(call.source, call.request, call.encoded)
            again.answer.cancel()  # its reply is discarded
            self._later(self._latency_s(message), self._arrive, address, again)

    def _arrive(self, address: str, call: Call) -> None:
        listener = self._listeners.get(address)
        if listener is None:
            self._observe(Message(call.source, "", call.request), lost=f"{address} is closed")
            call.fail(PeerUnreachable(f"nothing listens at {address}"))
            return
        message = Message(call.source, listener.name, call.request)
        if any(rule(message) for rule in self._refused_requests):
            self._observe(message, lost="refused")
            call.fail(PeerUnreachable(f"{address} is closed to this"))
        elif any(rule(message) for rule in self._lost_requests):
            self._observe(message, lost="lost")
        else:
            self._come_in(address, listener, call, message, 0)

    def _observe(self, message: Message, reply: Reply | None = None, lost: str = "") -> None:
        for observer in self.observers:
            observer(Transfer(message.source, message.target, message.request, reply, lost))

    def _come_in(self, address: str, listener: Listener, call: Call, message: Message, passed: int) -> None:
        for number in range(passed, len(self._holds)):
            go_on = partial(self._come_in, address, listener, call, message, number + 1)
            if self._holds[number].holds(message, go_on):
                return
        if self._listeners.get(address) is not listener:
            call.fail(PeerTimeout(f"{address} went away"))
            return
        self.delivered += 1
        request = request_from_bytes(call.encoded)
        self._observe(message)
        self.on_message(call.source, listener.name, request, call.encoded)
        work = self._handle(listener, call, request, message)
        loop = asyncio.get_running_loop()
        task = listener.process.create_task(work) if listener.process is not None else loop.create_task(work)
        listener.handling[task] = call
        task.add_done_callback(lambda task: listener.handling.pop(task, None), context=self._context)

    async def _handle(self, listener: Listener, call: Call, request: Request, message: Message) -> None:
        try:
            encoded = reply_to_bytes(await listener.handler(request))
        except NodeError as error:
            call.fail(PeerTimeout(f"{listener.name} failed: {error}"))
        except Exception as error:  # noqa: BLE001 - recorded: it fails the simulation
            self.defects.append((listener.name, error))
            call.fail(PeerTimeout(f"{listener.name} failed: {error}"))
        else:
            self._reply(call, encoded, message, 0)

    def _reply(self, call: Call, encoded: bytes, message: Message, passed: int) -> None:
        if any(rule(message) for rule in self._lost_replies):
            self._observe(message, reply_from_bytes(encoded), "lost")
            return
        for number in range(passed, len(self._reply_holds)):
            go_on = partial(self._reply, call, encoded, message, number + 1)
            if self._reply_holds[number].holds(message, go_on):
                return
        self._later(self._latency_s(message), self._return, call, encoded, message)

    def _return(self, call: Call, encoded: bytes, message: Message) -> None:
        if not call.answer.done():
            self.replied += 1
            reply = reply_from_bytes(encoded)
            self._observe(message, reply)
            self.on_message(message.target, message.source, reply, encoded)
            call.succeed(reply)


class SimulatedTransport:
    """One node's transport. ``cut`` is set when the node's process dies."""

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


T = TypeVar("T")


def _listed(rules: list[T], rule: T) -> Callable[[], None]:
    rules.append(rule)

    def end() -> None:
        if rule in rules:
            rules.remove(rule)

    return end
