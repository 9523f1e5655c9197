"""The connections of one client, by address; opened when first needed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from .cluster_identity import ClusterIdentity
from .errors import NotSent, Unavailable
from .link import NodeLink
from .operating import Heard
from .version import HighestSeen


class Links:
    def __init__(
        self,
        seen: HighestSeen,
        on_reply: Callable[[Heard], None],
        cluster: ClusterIdentity | None = None,
    ) -> None:
        self._cluster = cluster or ClusterIdentity()
        self._seen = seen
        self._on_reply = on_reply
        self._links: dict[str, NodeLink] = {}
        self._closed = False
        self._paused = False

    def to(self, address: str) -> NodeLink:
        """Return the connection to ``address``. Raise Unavailable once the client is closed, NotSent during a fork."""
        link = self._links.get(address)
        if link is None:
            if self._closed:
                raise Unavailable("the client is closed")
            if self._paused:
                raise NotSent("it was not sent before the process forked")
            link = self._links[address] = NodeLink(address, self._seen, self._on_reply, self._cluster)
        return link

    def outstanding(self, address: str) -> int:
        link = self._links.get(address)
        return 0 if link is None else link.operator.lane.outstanding

    def silent_since(self, address: str) -> float | None:
        """See ``Lane.silent_since``."""
        link = self._links.get(address)
        return None if link is None else link.operator.lane.silent_since()

    async def close_unused(self, wanted: Collection[str]) -> None:
        """Close idle connections to nodes that are no longer part of the cluster."""
        idle = [address for address in self._links if address not in wanted and not self.outstanding(address)]
        await asyncio.gather(
            *(self._links.pop(address).close("the node left the cluster") for address in idle)
        )

    async def close(self) -> None:
        self._closed = True
        await self._close_all("the client was closed")

    def pause(self) -> None:
        """Open no connection before ``reconnect``."""
        self._paused = True

    async def disconnect(self) -> None:
        """Close all connections, and open no others before ``reconnect``."""
        self.pause()
        await self._close_all("the process forked")

    def reconnect(self) -> None:
        self._paused = False

    async def _close_all(self, why: str) -> None:
        links = list(self._links.values())
        self._links.clear()
        await asyncio.gather(*(link.close(why) for link in links))
