"""gRPC metadata that nodes send to clients; proto/covey/v1/kv.proto documents the keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

MAYBE_APPLIED: Final = "covey-maybe-applied"
RETRY_AFTER: Final = "covey-retry-after"
ERROR_CODE: Final = "covey-error-code"
LAST_BEGUN: Final = "covey-last-begun"
CLUSTER_ID: Final = "covey-cluster-id"
CLOCK_MS: Final = "covey-clock-ms"
MAX_SKEW_MS: Final = "covey-max-skew-ms"

MAX_DIGITS: Final = 15
"""Maximum length of a number that is read from metadata."""
MAX_CLUSTER_ID: Final = 256
"""Maximum length of a cluster id that is read from metadata, in characters; clusters have ids of up to 64."""

Pairs = Iterable[tuple[str, str | bytes]]


class Greeting(NamedTuple):
    """The initial metadata of a stream; 0 or empty where a node has no value yet."""

    cluster_id: str
    clock_ms: int
    max_skew_ms: int

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (
            (CLUSTER_ID, self.cluster_id),
            (CLOCK_MS, str(self.clock_ms)),
            (MAX_SKEW_MS, str(self.max_skew_ms)),
        )


def read_greeting(metadata: Pairs | None) -> Greeting | None:
    """Return the greeting; None if the metadata are not a node's."""
    pairs = dict(metadata or ())
    if CLUSTER_ID not in pairs:
        return None
    return Greeting(read_cluster_id(pairs), _number(pairs, CLOCK_MS), _number(pairs, MAX_SKEW_MS))


def read_cluster_id(pairs: Mapping[str, str | bytes]) -> str:
    text = pairs.get(CLUSTER_ID, "")
    return text if isinstance(text, str) and len(text) <= MAX_CLUSTER_ID else ""


def read_last_begun(metadata: Pairs | None) -> int | None:
    """Return the id of the last batch that a node began before it ended a stream in good order, 0 for none.

    A node begins batches in their order, and none after it has sent this. Return None when it did not send it.
    """
    text = dict(metadata or ()).get(LAST_BEGUN, "")
    return int(text) if isinstance(text, str) and text.isdecimal() else None


def _number(pairs: Mapping[str, str | bytes], key: str) -> int:
    text = pairs.get(key, "")
    plain = isinstance(text, str) and text.isascii() and text.isdecimal()
    return int(text) if plain and len(text) <= MAX_DIGITS else 0
