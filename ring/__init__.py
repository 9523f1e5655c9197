"""Where keys live and who agreed on it. Pure: no I/O, no clock, no random, no logging."""

from __future__ import annotations

from .allocation import Joiner, allocate
from .epoch import EpochRecord, EpochStamp, Owner, Quorums, RingSpec
from .fairness import fair_shares, share_ratio
from .hashing import TOKEN_SPACE, token_of
from .moves import (
    Pull,
    RangeMove,
    adoption_quorum,
    finish_obstacles,
    gained_spans,
    handoff_finished,
    most_newcomers,
)
from .ring import PreferenceList, ReplicatedRange, Ring
from .span import WHOLE_RING, TokenRange

__all__ = [
    "TOKEN_SPACE",
    "WHOLE_RING",
    "EpochRecord",
    "EpochStamp",
    "Joiner",
    "Owner",
    "PreferenceList",
    "Pull",
    "Quorums",
    "RangeMove",
    "ReplicatedRange",
    "Ring",
    "RingSpec",
    "TokenRange",
    "adoption_quorum",
    "allocate",
    "fair_shares",
    "finish_obstacles",
    "gained_spans",
    "handoff_finished",
    "most_newcomers",
    "share_ratio",
    "token_of",
]
