"""The errors of a node, each named after its cause.

An ``OperationError`` ends a client's operation. Its ``maybe_applied`` is True if the operation may still have happened.
"""

from __future__ import annotations

from ..identity import Identity


class NodeError(Exception):
    """Base of all errors raised by a node on purpose."""


class ConfigurationError(NodeError):
    """A setting, flag or file given by the operator cannot be used. The text states what is allowed."""


class DataDirectoryError(NodeError):
    """The data folder is in use, was made by a newer version, or belongs to another node."""


class DiskDoubted(NodeError):
    """Other nodes' records contradict the disk of a running node. The node restarts, and checks its disk first."""


class DiskReplaced(NodeError):
    """The disk may not be used under the folder's identity. The node continues as a new node, on an empty engine."""


class AddressInUse(NodeError):
    """Another process listens at the address."""


class JoinRefused(NodeError):
    """The cluster does not admit this node; the text gives the reason."""


def describe_duplicate(identity: Identity, address: str) -> str:
    """Return the reason for refusing a node whose identity is in use."""
    return f"{identity} is alive at {address}; stop it first (is this a copy of its data folder?)"


class StorageFailed(NodeError):
    """The engine could not write or sync. From then on nothing may be acknowledged."""


class Corruption(StorageFailed):
    """Stored bytes do not match their checksum."""


class Quarantined(Corruption):
    """The key or range lies in a damaged segment that is not yet restored from other replicas.

    Its contents on this node are unknown, which is not the same as absent.
    """


class DiskFull(NodeError):
    """The disk has less free space than the reserve. Nothing was applied, and nothing is damaged."""


class PeerError(NodeError):
    """A call to a peer returned no usable reply."""


class PeerUnreachable(PeerError):
    """The request was certainly not handled."""


class PeerTimeout(PeerError):
    """The request may have been handled; no reply came."""


class PeerRefused(PeerError):
    """The peer replied that it did nothing; the text gives the reason."""


class PeerNotReady(PeerRefused):
    """The peer does not serve yet."""


class ForeignCluster(PeerRefused):
    """The peer belongs to another cluster than this node."""


class OperationError(NodeError):
    """A client's operation that was not acknowledged."""

    maybe_applied = False


class InvalidRequest(OperationError):
    """A fault of the client: an empty or over-long key, an over-long value, or an r or w that is impossible."""


class Unavailable(OperationError):
    """Too few replicas are available. Certainly not done."""


class Overloaded(OperationError):
    """Refused because of overload. Certainly not done; may be retried after ``retry_after_s``."""

    def __init__(self, message: str, retry_after_s: float = 0.1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ReplyFull(Overloaded):
    """The value of a read did not fit into the replica's reply. May be retried in a request with fewer operations."""


class Expired(Unavailable):
    """The operation arrived after the time by which its client allows it to begin. Certainly not done."""

    @classmethod
    def met_at(cls, now_ms: int, sent_ms: int) -> Expired:
        """Return the error for an operation that was sent and arrived at these times by this node's clock."""
        return cls(
            f"the operation was not done: it arrived {max(0, now_ms - sent_ms) / 1000:.1f} s after it was sent, "
            "later than its client lets it begin"
        )


class WrongCluster(OperationError):
    """The request names another cluster than this node's. Certainly not done."""

    def __init__(self, message: str, cluster_id: str = "") -> None:
        super().__init__(message)
        self.cluster_id = cluster_id
        """The id of this node's cluster."""


class OperationTimeout(OperationError):
    """Too few replicas answered in time."""

    def __init__(self, message: str, *, maybe_applied: bool) -> None:
        super().__init__(message)
        self.maybe_applied = maybe_applied


class UnknownNode(OperationError):
    """An administrative request names an unknown node."""


class Refused(OperationError):
    """An administrative request that would be unsafe; the text gives the reason and what to do instead."""
