"""Shows the cluster and changes it. Answers are the asked node's own view.

The node asked is the first of the client's given addresses that answers, never another one that it has learned of.
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
"""Time after the timeout of a change in which a node that gives it up may still answer."""

_Answer = TypeVar("_Answer")


class Administration:
    """Administrative calls. Each raises CoveyError; leave and remove also Refused and NotFound."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    async def status(self, *, timeout: float = DEFAULT_TIMEOUT_S) -> ClusterStatus:
        """Return the cluster in the view of the asked node."""
        return _decoded(STATUS, await self._look("Status", timeout))

    async def ring(self, *, timeout: float = DEFAULT_TIMEOUT_S) -> RingView:
        """Return the newest epoch record of the asked node."""
        from ..ring.epoch import EpochRecord  # loaded late: most commands do without

        answer = await self._look("Ring", timeout)
        try:
            record = EpochRecord.decode(answer.record)
            addresses = {Identity.parse(text): address for text, address in sorted(answer.addresses.items())}
        except ValueError as error:
            raise InternalError(f"the node's answer holds no usable ring: {error}") from error
        return RingView(record, addresses)

    async def explain(self, key: Key, *, timeout: float = DEFAULT_TIMEOUT_S) -> Explanation:
        """Return where a key lives and what each of its replicas holds."""
        return _decoded(EXPLANATION, await self._look("Explain", timeout, key=encoded(key, "key")))

    async def leave(self, name: str, *, timeout: float) -> None:
        """Have the node hand everything off and leave the ring; return when that is done."""
        await self._change("Leave", timeout, name=checked_node_name(name))

    async def remove(self, name: str, *, timeout: float) -> None:
        """Remove a node that is down; return when the ring no longer has it."""
        await self._change("Remove", timeout, name=checked_node_name(name))

    async def repair(self, *, timeout: float) -> RepairReport:
        """Have every owner that is up compare its data with its peers'; the report names those not finished."""
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
