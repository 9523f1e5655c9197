"""A node: how it starts, what it does with each epoch, and how it stops. Its parts are in ``parts``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from ..identity import Identity
from ..membership.gossip import OwnChanges
from ..membership.record import Status
from .config.config import Config
from .epoch.epochs import Epoch
from .errors import StorageFailed
from .events import Event, EventLog
from .messages.envelope import Reply, Request
from .parts import NodeParts
from .ports import Ports
from .runtime import NodeSpec

LAST_WRITE_S = 1.0
"""Maximum time that a stopping node waits for its last write to be on disk."""


class Node(NodeParts):
    """One member of a cluster. ``on_failure`` is called with an error after which the node cannot continue."""

    def __init__(
        self,
        config: Config,
        spec: NodeSpec,
        ports: Ports,
        log: EventLog,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        super().__init__(config, spec, ports, log=log, on_failure=on_failure)
        self._began_s = ports.clock.monotonic()
        self._logged_serving = self._begun = False
        if refusal := self.absorption.refusal():
            self._close_for(refusal)

        # Called in this order with each epoch that is adopted, before anything is served under it
        self.epochs.observe(
            self.gossip.on_epoch,
            self.maintenance.anti_entropy.on_epoch,
            self.maintenance.recovery.on_epoch,
            self.maintenance.tombstones.on_epoch,
            self._handoff.start,
            self.absorption.on_epoch,
            self._on_epoch,
        )
        # Called with each member that becomes known or returns after it was down
        self.gossip.observe_arrivals(self.maintenance.anti_entropy.mark, self._on_arrival)

    # --- start and stop ---

    async def handle(self, request: Request) -> Reply:
        """Answer a peer."""
        return await self._server.handle(request)

    async def join(self) -> None:
        """Find or form the cluster, and start all loops.

        Raise JoinRefused if the cluster does not admit this node, DiskReplaced if the disk may not be used under its
        identity.
        """
        await self._disk_check.run()
        if self.absorption.verdict is not None:
            await self._be_absorbed()
            await asyncio.Event().wait()  # this process never serves again
        if (epoch := self.epochs.current) is not None:
            self.gossip.resume(epoch)
            self._begin()
            self._settings.compare(epoch.record)
            self._handoff.start(epoch)
        await self._join.run()
        tasks, addresses = self._runtime.tasks, [*self._spec.seeds, *self._known_addresses]
        tasks.spawn(self._seeds.discover_owners(addresses, self._config.heartbeat_interval))
        tasks.spawn(self._be_absorbed())
        self._log_serving()

    def lone(self) -> str:
        """Return a notice for the operator if this is a fresh node that is its only seed; else an empty text."""
        return self._join.lone()

    async def left(self) -> None:
        """Return once this node has left the cluster for good."""
        await self.gossip.left.wait()

    async def stop(self, drain_s: float) -> None:
        """Stop the node: refuse new operations, and wait up to ``drain_s`` for those in flight to finish.

        The caller closes the engine.
        """
        self.coordinator.refuse_new()
        await self.coordinator.drained(drain_s)
        self._server.stopping = True
        await self._handoff.close()
        if self.gossip.left.is_set():
            await self.gossip.announce_departure()
        await self._runtime.tasks.close()
        await self.coordinator.close()
        await self._replica_queues.close()
        self.maintenance.hints.writer.flush()
        await self.epochs.close()
        if not self.me.silent:
            # If the disk fails or hangs now, the next start treats this process as one that was killed.
            with suppress(StorageFailed, TimeoutError):
                async with asyncio.timeout(LAST_WRITE_S):
                    await self._disk_history.end()

    async def _be_absorbed(self) -> None:
        await self.absorption.run(self._close_for, self.coordinator.idle)

    def _close_for(self, reason: str) -> None:
        """Refuse clients and peers from now on."""
        self.coordinator.refuse_new(reason)
        self._server.closed_for = reason
        self._steward.closed = True

    def _begin(self) -> None:
        """Start the loops that need an epoch, unless they run already."""
        if not self._begun:
            self._begun = True
            self.maintenance.begin()
            self._runtime.tasks.spawn(self.gossip.run(self._own_report))
            self._runtime.tasks.spawn(self._steward.run())

    def _own_report(self) -> OwnChanges:
        """Return the fields of this node's record that each heartbeat publishes."""
        return {
            "load": self._load.report(self._ports.engine.usage()),
            "condition": self.maintenance.condition(),
            "mark": self._disk_history.extent().mark,
        }

    def _on_epoch(self, epoch: Epoch) -> None:
        self._begin()
        self._log_serving()
        self._settings.compare(epoch.record)

    def _on_arrival(self, member: Identity) -> None:
        self._ranking.returned(member, self._ports.clock.monotonic())

    def _log_serving(self) -> None:
        if not self._logged_serving and self.members.own_record().status is Status.SERVING:
            self._logged_serving = True
            self._runtime.log.emit(
                Event.NODE_SERVING,
                epoch=self.epochs.number,
                after_s=round(self._ports.clock.monotonic() - self._began_s, 3),
            )
