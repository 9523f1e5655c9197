"""The errors of a node, named after whose fault they are.

An ``OperationError`` ends a client's operation and says whether it may have happened all the same.
"""

from __future__ import annotations

from ..identity import Identity


class NodeError(Exception):
    """Base of all errors raised by a node on purpose."""


class ConfigurationError(NodeError):
    """The operator's: a setting, flag or file that cannot be worked with. The text says what is allowed."""


class DataDirectoryError(NodeError):
    """The data folder is in use, was made by a newer version, or belongs to another node."""


class DiskDoubted(NodeError):
    """What others remember contradicts the disk while the node runs: it starts again, and checks the disk first."""


class DiskReplaced(NodeError):
    """The disk has no right to the folder's identity: the node goes on as a new one, on an empty engine."""


class AddressInUse(NodeError):
    """Somebody else listens at the address."""


class JoinRefused(NodeError):
    """The cluster does not take this node; the text says why."""


def describe_duplicate(identity: Identity, address: str) -> str:
    """Why a node is not taken whose identity is in use."""
    return f"{identity} is alive at {address}; stop it first (is this a copy of its data folder?)"


class StorageFailed(NodeError):
    """The engine could not write or sync. Nothing may be acknowledged any more."""


class Corruption(StorageFailed):
    """Stored bytes do not match their checksum."""


class Quarantined(Corruption):
    """The key or range lies in a segment that was found damaged and not yet merged from other replicas.

    What this node holds of it is unknown, which is not the same as absent.
    """


class DiskFull(NodeError):
    """The disk has less free space than is kept in reserve. Nothing was applied, and nothing is broken."""


class ClockSkew(NodeError):
    """A timestamp from further ahead than the allowed skew; it is not followed."""

    def __init__(self, ahead_s: float, allowed_s: float) -> None:
        super().__init__(
            f"a clock is {ahead_s:.3f} s ahead of this node's; at most {allowed_s:.3f} s are followed"
        )
        self.ahead_s = ahead_s
        self.allowed_s = allowed_s


class BeyondBound(NodeError):
    """The next timestamp would lie beyond the limit that the caller set; none was drawn."""


class PeerError(NodeError):
    """A call to a peer brought no usable reply."""


class MalformedMessage(PeerError):
    """Bytes from a peer that are not a message of this protocol version; nothing was done with them."""


class PeerUnreachable(PeerError):
    """The request was certainly not handled."""


class PeerTimeout(PeerError):
    """The request may have been handled; no reply came."""


class PeerRefused(PeerError):
    """The peer answered that it did nothing, and why."""


class PeerNotReady(PeerRefused):
    """The peer does not serve yet."""


class ForeignCluster(PeerRefused):
    """The peer belongs to another cluster than this node."""


class OperationError(NodeError):
    """A client's operation that was not acknowledged."""

    maybe_applied = False


class InvalidRequest(OperationError):
    """The client's: an empty or over-long key, an over-long value, impossible r or w."""


class Unavailable(OperationError):
    """Too few replicas; certainly not done."""


class Overloaded(OperationError):
    """Refused early, certainly not done; worth a retry after ``retry_after_s``."""

    def __init__(self, message: str, retry_after_s: float = 0.1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ReplyFull(Overloaded):
    """A read whose value did not fit the reply of its replica any more; worth another try, with fewer others."""


class Expired(Unavailable):
    """The operation arrived later than its client lets it begin. Certainly not done."""

    @classmethod
    def met_at(cls, now_ms: int, sent_ms: int) -> Expired:
        """Return the error for an operation that was sent and arrived at these times of this node's clock."""
        return cls(
            f"the operation was not done: it was met {max(0, now_ms - sent_ms) / 1000:.1f} s after it was sent, "
            "later than its client lets it begin"
        )


class WrongCluster(OperationError):
    """The request names another cluster than this node's. Certainly not done."""

    def __init__(self, message: str, cluster_id: str = "") -> None:
        super().__init__(message)
        self.cluster_id = cluster_id
        """The id of this node's cluster."""


class OperationTimeout(OperationError):
    """The quorum did not answer in time."""

    def __init__(self, message: str, *, maybe_applied: bool) -> None:
        super().__init__(message)
        self.maybe_applied = maybe_applied


class UnknownNode(OperationError):
    """An administrative request names a node that no one here knows."""


class Refused(OperationError):
    """An administrative request that would be unsafe; the text says why and what to do instead."""
