"""The parts of a running client. Loading this module loads gRPC."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from . import forking
from .arguments import checked_items, checked_keys
from .cluster_identity import ClusterIdentity
from .dispatch import Dispatcher
from .key_stream import Listing
from .links import Links
from .many import perform_all
from .requests import (
    Key,
    Level,
    consistency_of,
    delete_operation,
    encoded,
    get_operation,
    put_operation,
    refuse_duplicates,
)
from .routing import Router
from .sender import ReplyReport
from .topology_learner import TopologyLearner
from .version import HighestSeen, Version

if TYPE_CHECKING:
    from .admin import Administration

_K = TypeVar("_K", bound=Key)


class Session:
    """The parts of one client on one event loop. Arguments are checked at the call; operations begin when awaited."""

    def __init__(
        self,
        addresses: Sequence[str],
        rng: random.Random,
        cluster: ClusterIdentity,
        seen: HighestSeen | None = None,
    ) -> None:
        self.seen = seen or HighestSeen()
        self._links = Links(self.seen, self._on_reply, cluster)
        self._router = Router(
            given=addresses,
            outstanding=self._links.outstanding,
            silent_since=self._links.silent_since,
            rng=rng,
            foreign=cluster.foreign,
        )
        self._learner = TopologyLearner(self._router, self._links, rng=rng, cluster=cluster)
        self._dispatcher = Dispatcher(
            router=self._router,
            links=self._links,
            rng=rng,
            on_attempt=self._learner.note,
            seen=self.seen,
            cluster=cluster,
        )

    @cached_property
    def admin(self) -> Administration:
        with forking.loading():
            from .admin import Administration  # loaded late: operations do not need it

        return Administration(self._dispatcher)

    def get(
        self, key: Key, consistency: Level | None, r: int | None, timeout_s: float
    ) -> Awaitable[bytes | None]:
        operation = get_operation(key, consistency_of(consistency, r, "r"))
        return self._dispatcher.perform(operation, timeout_s)

    def put(
        self, key: Key, value: Key, consistency: Level | None, w: int | None, timeout_s: float
    ) -> Awaitable[Version]:
        operation = put_operation(key, value, consistency_of(consistency, w, "w"))
        return self._dispatcher.perform(operation, timeout_s)

    def delete(
        self, key: Key, consistency: Level | None, w: int | None, timeout_s: float
    ) -> Awaitable[Version]:
        operation = delete_operation(key, consistency_of(consistency, w, "w"))
        return self._dispatcher.perform(operation, timeout_s)

    async def get_all(
        self, keys: Iterable[_K], consistency: Level | None, r: int | None, timeout_s: float
    ) -> dict[_K, bytes | None]:
        chosen = consistency_of(consistency, r, "r")
        keys = checked_keys(keys)
        return await perform_all(self._dispatcher, keys, lambda key: get_operation(key, chosen), timeout_s)

    async def put_all(
        self, items: Mapping[_K, Key], consistency: Level | None, w: int | None, timeout_s: float
    ) -> dict[_K, Version]:
        checked_items(items)
        refuse_duplicates(items)
        chosen = consistency_of(consistency, w, "w")
        return await perform_all(
            self._dispatcher, items, lambda key: put_operation(key, items[key], chosen), timeout_s
        )

    def list_keys(self, prefix: Key, timeout_s: float) -> Listing:
        return Listing(self._dispatcher, encoded(prefix, "prefix"), timeout_s)

    def wait_for_fork(self) -> None:
        """Let no operation begin and no connection be opened until ``reconnect``."""
        self._dispatcher.admission.pause()
        self._links.pause()

    async def disconnect(self, drain_s: float) -> None:
        """Close all connections. Operations in hand get ``drain_s`` seconds to end; no other operation begins."""
        self._dispatcher.admission.pause()
        await self._dispatcher.admission.drained(drain_s)
        await self._learner.pause()
        await self._links.disconnect()

    def reconnect(self) -> None:
        """Let operations begin again after ``disconnect``; connections are opened when they are needed."""
        self._links.reconnect()
        self._dispatcher.admission.resume()

    async def close(self) -> None:
        self._dispatcher.close()
        await self._learner.close()
        await self._links.close()

    def _on_reply(self, reply: ReplyReport) -> None:
        self._dispatcher.on_reply(reply)  # not passed directly, since the dispatcher is made after the links
