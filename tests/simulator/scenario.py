"""Scenarios for one protocol rule: records made by hand, and filters that select messages of one kind.

Agreement is frozen in a scenario: no record is chosen except those that the test distributes, until it resumes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from covey.membership.member_list import Liveness
from covey.node.messages.control import Accept, FetchRecord, Prepare, PushRecord
from covey.node.messages.data import DataBatch, Merge, Read, Scan, ScanPurpose
from covey.node.messages.envelope import RequestBody
from covey.node.messages.membership import Hello
from covey.node.storage.interface import Entry
from covey.ring.epoch import EpochRecord, Owner, Quorums, RingSpec
from covey.ring.succession import begin, finish

from .cluster import SimulatedCluster
from .network import Message, MessageFilter

KEY = b"k"
TOKENS = 4
"""Virtual nodes per owner; few, for speed."""
NO_REPAIR = {"tokens_per_weight": TOKENS, "repair_interval": 0}
"""Anti-entropy is off, so that replicas stay as the test makes them."""


class FrozenAgreement:
    """Loses the Prepare messages of all nodes, so that no record is chosen."""

    def __init__(self) -> None:
        self._resumed = False
        self._ending: int | None = None

    def resume(self) -> None:
        """Let stewards propose records again."""
        self._resumed = True

    def allow_end_of(self, begun: EpochRecord) -> None:
        """Let stewards finish or abort this change, and propose nothing else."""
        self._ending = begun.number

    def holds(self, message: Message) -> bool:
        body = message.request.body
        return isinstance(body, Prepare) and not (self._resumed or body.base.number == self._ending)


class Scenario(NamedTuple):
    cluster: SimulatedCluster
    agreement: FrozenAgreement


@asynccontextmanager
async def scenario(owners: int, *outsiders: str, **settings: object) -> AsyncIterator[Scenario]:
    """A cluster of owners n1, n2, ..., and ``outsiders`` that wait to join; all know each other."""
    async with SimulatedCluster(1, **{**NO_REPAIR, **settings}) as cluster:
        await cluster.form(owners)
        agreement = FrozenAgreement()
        cluster.network.lose(agreement.holds)
        for name in outsiders:
            cluster.add(name, ["n1:1"])
        await cluster.until(lambda: _acquainted(cluster), "everyone knows everyone")
        yield Scenario(cluster, agreement)


def _acquainted(cluster: SimulatedCluster) -> bool:
    running = [node.running for node in cluster.nodes.values() if node.node is not None]
    return all(
        sum(member.liveness is Liveness.ALIVE for member in node.members.all()) == len(running)
        and node.epochs.number > 0
        for node in running
    )


# --- records ---


def record_of(cluster: SimulatedCluster) -> EpochRecord:
    """Return the newest record that any running node has adopted."""
    records = [node.running.epochs.record for node in cluster.nodes.values() if node.node is not None]
    return max((record for record in records if record is not None), key=lambda record: record.number)


def ring_of(cluster: SimulatedCluster, *names: str, quorums: Quorums | None = None) -> RingSpec:
    """Return a ring of these nodes. A node has the same tokens in each such ring."""
    owners = {cluster.nodes[name].identity: Owner(_tokens_of(name)) for name in names}
    return RingSpec(owners, quorums or record_of(cluster).owners.quorums)


def _tokens_of(name: str) -> tuple[int, ...]:
    rng = random.Random(name)
    return tuple(sorted(rng.getrandbits(64) for _ in range(TOKENS)))


def renumbered(record: EpochRecord) -> EpochRecord:
    """Return a next record under which nothing moves."""
    return replace(
        record, number=record.number + 1, settings={**record.settings, "renumbered": record.number}
    )


async def distribute(cluster: SimulatedCluster, record: EpochRecord, *names: str) -> EpochRecord:
    """Have these nodes (by default all that run) adopt the record, and return it."""
    chosen = names or tuple(name for name, node in cluster.nodes.items() if node.node is not None)
    await asyncio.gather(*(cluster.nodes[name].running.epochs.adopt(record) for name in chosen))
    return record


async def begin_change(cluster: SimulatedCluster, successors: RingSpec, *names: str) -> EpochRecord:
    return await distribute(cluster, begin(record_of(cluster), successors), *names)


async def wait_pulled(cluster: SimulatedCluster, *names: str, timeout_s: float = 10.0) -> None:
    """Wait until these nodes report that they hold all ranges that they gain under their epoch."""
    await cluster.until(lambda: all(is_done(cluster, name) for name in names), "pulled", timeout_s)


def is_done(cluster: SimulatedCluster, name: str) -> bool:
    said = cluster.nodes[name].running.members.own_record().handoff
    return said is not None and said.done and said.epoch == cluster.epoch(name)


async def change(cluster: SimulatedCluster, successors: RingSpec, *names: str) -> EpochRecord:
    """Perform a change from begin to finish on these nodes (by default all that run)."""
    begun = await begin_change(cluster, successors, *names)
    await wait_pulled(cluster, *(identity.name for identity in sorted(successors.owners)))
    return await distribute(cluster, finish(begun), *names)


async def finished(cluster: SimulatedCluster, begun: EpochRecord) -> None:
    """Wait until some node adopts the record that ends this change, which must be its finish."""
    await cluster.until(lambda: _end_of(cluster, begun) is not None, "the change ends")
    assert begun.successors is not None
    assert _end_of(cluster, begun) == sorted(identity.name for identity in begun.successors.owners)


def _end_of(cluster: SimulatedCluster, begun: EpochRecord) -> list[str] | None:
    """Return the owners after the change; None until it has ended."""
    for event in cluster.events("epoch.adopted"):
        if event["epoch"] == begun.number + 1:
            return sorted(event["owners"])
    return None


def isolate_from_records(cluster: SimulatedCluster, *names: str) -> Callable[[], None]:
    """Refuse these nodes all messages that carry new records, except replies to requests on data."""

    def carries_record(message: Message) -> bool:
        body = message.request.body
        if isinstance(body, FetchRecord | Hello):
            return message.source in names
        return isinstance(body, PushRecord | Prepare | Accept) and message.target in names

    return cluster.network.refuse(carries_record)


# --- messages ---


def carrying(
    *kinds: type[RequestBody], source: Collection[str] | None = None, target: Collection[str] | None = None
) -> MessageFilter:
    """Select requests of these kinds from and to these nodes (by default any)."""

    def concerned(message: Message) -> bool:
        return isinstance(message.request.body, kinds) and _between(message, source, target)

    return concerned


def pulls(*, source: Collection[str] | None = None, target: Collection[str] | None = None) -> MessageFilter:
    def concerned(message: Message) -> bool:
        body = message.request.body
        return (
            isinstance(body, Scan) and body.purpose is ScanPurpose.PULL and _between(message, source, target)
        )

    return concerned


def merges(*, source: Collection[str] | None = None, target: Collection[str] | None = None) -> MessageFilter:
    """Select batches with a write."""
    return partial(_carries, Merge, source, target)


def reads(*, source: Collection[str] | None = None, target: Collection[str] | None = None) -> MessageFilter:
    """Select batches with a read."""
    return partial(_carries, Read, source, target)


def _carries(
    kind: type[Merge | Read],
    source: Collection[str] | None,
    target: Collection[str] | None,
    message: Message,
) -> bool:
    body = message.request.body
    return (
        isinstance(body, DataBatch)
        and any(isinstance(operation, kind) for operation in body.operations)
        and _between(message, source, target)
    )


def _between(message: Message, source: Collection[str] | None, target: Collection[str] | None) -> bool:
    return (source is None or message.source in source) and (target is None or message.target in target)


# --- what a replica has ---


def held(cluster: SimulatedCluster, name: str, key: bytes = KEY) -> Entry | None:
    return cluster.nodes[name].engine.get(key)


def value_at(cluster: SimulatedCluster, name: str, key: bytes = KEY) -> bytes | None:
    entry = held(cluster, name, key)
    return entry.value if entry is not None else None
