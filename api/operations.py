"""The columns in which operations and their results are sent (``OperateRequest`` and ``OperateReply`` of kv.proto)."""

from __future__ import annotations

from typing import Final

from ..proto.generated import kv_pb2
from ..quorum.version import COUNTER_BITS

GET: Final = 0
PUT: Final = 1
DELETE: Final = 2
"""Kinds of operations."""

ABSENT: Final = 0
FOUND: Final = 1
WRITTEN: Final = 2
SUPERSEDED: Final = 3
FAILED: Final = 4
"""Kinds of results: of a read, of a write, of either."""

Consistency = kv_pb2.Consistency
LEVELS: Final = {"one": kv_pb2.LEVEL_ONE, "quorum": kv_pb2.LEVEL_QUORUM, "all": kv_pb2.LEVEL_ALL}
"""The consistency levels, by name."""


def latest_timestamp(sent_ms: int, within_ms: int) -> int:
    """Return the highest version timestamp of a write that was sent at ``sent_ms`` and may begin ``within_ms``."""
    return (sent_ms + within_ms + 1 << COUNTER_BITS) - 1
