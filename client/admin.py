"""Administrative calls, which show and change the cluster. An answer is the view of the node that was asked.

That node is the first of the addresses given to the client that answers, never a node that the client has learned of.
"""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from ..api.cluster import ClusterStatus, Explanation, RepairReport, RingView
from ..api.cluster_codec import EXPLANATION, REPAIR, STATUS
from ..api.codec import Codec, MalformedMessage
from ..identity import Identity
from .arguments import checked_node_name, checked_timeout
from .dispatch import Dispatcher
from .errors import InternalError
from .links import NodeLink
from .requests import Key, encoded

DEFAULT_TIMEOUT_S = 5.0
ANSWER_GRACE_S = 2.0
"""Time, after the timeout of a change, for the answer of a node that gives it up at the timeout."""

_Answer = TypeVar("_Answer")


class Administration:
    """Administrative calls. Each may raise CoveyError; leave and remove may raise Refused and NotFound."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    async def status(self, *, timeout: float = DEFAULT_TIMEOUT_S) -> ClusterStatus:
        """Return the state of the cluster in the view of the node that was asked."""
        return _decoded(STATUS, await self._look("Status", timeout))

    async def ring(self, *, timeout: float = DEFAULT_TIMEOUT_S) -> RingView:
        """Return the newest epoch record of the node that was asked, with the owners' addresses."""
        from ..ring.epoch import EpochRecord  # loaded late: most commands do not need it

        answer = await self._look("Ring", timeout)
        try:
            record = EpochRecord.decode(answer.record)
            addresses = {Identity.parse(text): address for text, address in sorted(answer.addresses.items())}
        except ValueError as error:
            raise InternalError(f"the node's answer holds no usable ring: {error}") from error
        return RingView(record, addresses)

    async def explain(self, key: Key, *, timeout: float = DEFAULT_TIMEOUT_S) -> Explanation:
        """Return the replicas of a key and the version that each of them holds."""
        return _decoded(EXPLANATION, await self._look("Explain", timeout, key=encoded(key, "key")))

    async def leave(self, name: str, *, timeout: float) -> None:
        """Make the node hand off all its data and leave the ring; return when that is complete."""
        await self._change("Leave", timeout, name=checked_node_name(name))

    async def remove(self, name: str, *, timeout: float) -> None:
        """Remove a node that is down; return when it is no longer in the ring."""
        await self._change("Remove", timeout, name=checked_node_name(name))

    async def repair(self, *, timeout: float) -> RepairReport:
        """Make every live owner compare its data with its peers; the report lists those that did not finish."""
        return _decoded(REPAIR, await self._change("Repair", timeout))

    async def _look(self, method: str, timeout: float, **fields: Any) -> Any:
        async def ask(link: NodeLink, deadline: float) -> Any:
            return await link.call(method, _left_s(deadline), **fields)

        return await self._dispatcher.ask_given(ask, checked_timeout(timeout), writes=False)

    async def _change(self, method: str, timeout: float, **fields: Any) -> Any:
        timeout = checked_timeout(timeout)

        async def ask(link: NodeLink, deadline: float) -> Any:
            return await link.change(method, _left_s(deadline), timeout=timeout, **fields)

        return await self._dispatcher.ask_given(ask, timeout + ANSWER_GRACE_S, writes=True)


def _left_s(deadline: float) -> float:
    return max(0.001, deadline - asyncio.get_running_loop().time())


def _decoded(codec: Codec[_Answer], message: Any) -> _Answer:
    try:
        return codec.decode(message)
    except MalformedMessage as error:
        raise InternalError(f"the node's answer is malformed: {error}") from error
