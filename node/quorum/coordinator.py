"""The coordinator: serves clients' operations on any key, by quorum over every live ring."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass

from ..epochs import Epochs
from ..errors import InvalidRequest, OperationError, OperationTimeout, Overloaded, Unavailable
from ..events import Event, EventLog
from ..load import LoadMeter
from ..operations import Delete, Get, GetResult, Operation, OperationResult, Put, WriteResult
from ..peers import Self
from ..storage.engine import Entry
from .listing import KeyListing
from .read import ReadFlow
from .replicas import Replicas
from .skew_guard import SkewGuard
from .version_source import VersionSource
from .write import WriteFlow


@dataclass(frozen=True, slots=True)
class Limits:
    max_key_bytes: int
    max_value_bytes: int
    max_in_flight: int


class Coordinator:
    def __init__(
        self,
        me: Self,
        epochs: Epochs,
        replicas: Replicas,
        listing: KeyListing,
        versions: VersionSource,
        skew_guard: SkewGuard,
        load: LoadMeter,
        limits: Limits,
        rng: random.Random,
        log: EventLog,
    ) -> None:
        self._me = me
        self._epochs = epochs
        self._replicas = replicas
        self._listing = listing
        self._versions = versions
        self._skew_guard = skew_guard
        self._load = load
        self._limits = limits
        self._rng = rng
        self._log = log
        self._stopping = False

    def refuse_new(self) -> None:
        """From now on refuse operations; those under way go on."""
        self._stopping = True

    async def drained(self, timeout_s: float) -> None:
        """Return when no operation is under way, or at the timeout."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._load.idle.wait()

    async def execute(self, operation: Operation) -> OperationResult:
        """See Operations.execute."""
        self._admit(operation)
        deadline_s = asyncio.get_running_loop().time() + operation.timeout_s
        with self._load.coordinating():
            try:
                if isinstance(operation, Get):
                    result: OperationResult = await self._read(operation, deadline_s)
                else:
                    result = await self._write(operation, deadline_s)
                self._refuse_lost(maybe_applied=not isinstance(operation, Get))
                return result
            except InvalidRequest:
                raise
            except OperationError as error:
                self._log.emit(
                    Event.QUORUM_FAILED,
                    operation=type(operation).__name__.lower(),
                    key=operation.key.decode("utf-8", "backslashreplace"),
                    reason=str(error),
                    maybe_applied=error.maybe_applied,
                )
                raise

    def keys(
        self, prefix: bytes, after_key: bytes | None, timeout_s: float
    ) -> AsyncGenerator[list[bytes], None]:
        """See Operations.keys."""
        self._refuse_skewed()
        return self._listing.keys(prefix, after_key, timeout_s)

    async def _read(self, get: Get, deadline_s: float) -> GetResult:
        flow = ReadFlow(self._epochs, self._replicas, self._rng, get.consistency, deadline_s)
        entry = await flow.run(get.key)
        if entry is None:
            return GetResult(None, None)
        self._versions.see(entry.version)
        return GetResult(entry.value, entry.version)

    async def _write(self, operation: Put | Delete, deadline_s: float) -> WriteResult:
        version = self._versions.draw(operation.seen_timestamp)
        flow = WriteFlow(self._epochs, self._replicas, self._rng, operation.consistency, deadline_s)
        value = operation.value if isinstance(operation, Put) else None
        result = await flow.run(operation.key, Entry(version, value))
        self._versions.see_standing(flow.stands or version)
        return result

    def _admit(self, operation: Operation) -> None:
        """Raise for what must not be begun; certainly nothing was done."""
        limits = self._limits
        if not 0 < len(operation.key) <= limits.max_key_bytes:
            raise InvalidRequest(f"a key has 1 to {limits.max_key_bytes} bytes, not {len(operation.key)}")
        if isinstance(operation, Put) and len(operation.value) > limits.max_value_bytes:
            raise InvalidRequest(
                f"a value has at most {limits.max_value_bytes} bytes, not {len(operation.value)}"
            )
        self._refuse_lost(maybe_applied=False)
        if self._stopping:
            raise Unavailable("the operation was not done: this node is stopping")
        if self._load.in_flight >= limits.max_in_flight:
            raise Overloaded(f"the operation was not done: {limits.max_in_flight} are under way already")
        self._refuse_skewed()
        self._versions.follow_client(operation.seen_timestamp)

    def _refuse_lost(self, *, maybe_applied: bool) -> None:
        """What was begun under an identity that is another process's by now is not acknowledged either."""
        if self._me.lost and maybe_applied:
            raise OperationTimeout(f"the write may have happened: {self._me.lost}", maybe_applied=True)
        if self._me.lost:
            raise Unavailable(f"the operation was not done: {self._me.lost}")

    def _refuse_skewed(self) -> None:
        """What this node wrote or read by a wrong clock would be refused by the others or be in the wrong order."""
        if (refusal := self._skew_guard.refusal()) is not None:
            raise Unavailable(f"the operation was not done: {refusal}")
