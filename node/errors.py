"""The errors of a node, named after whose fault they are.

An ``OperationError`` ends a client's operation; ``maybe_applied`` is whether the operation may have happened all the
same.
"""

from __future__ import annotations

from ..identity import Identity


class NodeError(Exception):
    """Base of all errors raised by a node on purpose."""


class ConfigurationError(NodeError):
    """A setting, flag or file of the operator that cannot be used. The text states what is allowed."""


class DataDirectoryError(NodeError):
    """The data folder is in use, was made by a newer version, or belongs to another node."""


class DiskDoubted(NodeError):
    """Other nodes' records contradict the disk while the node runs: it restarts, and checks the disk first."""


class DiskReplaced(NodeError):
    """The disk may not act under the folder's identity: the node continues as a new one, on an empty engine."""


class AddressInUse(NodeError):
    """Another process listens at the address."""


class JoinRefused(NodeError):
    """The cluster does not admit this node; the text gives the reason."""


def describe_duplicate(identity: Identity, address: str) -> str:
    """Return why a node is not admitted whose identity is in use."""
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


class PeerError(NodeError):
    """A call to a peer brought no usable reply."""


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
    """Refused early, certainly not done; may be retried after ``retry_after_s``."""

    def __init__(self, message: str, retry_after_s: float = 0.1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ReplyFull(Overloaded):
    """A read whose value did not fit the reply of its replica; may be retried with fewer others."""


class Expired(Unavailable):
    """The operation arrived later than its client allows it to begin. Certainly not done."""

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
    """An administrative request names an unknown node."""


class Refused(OperationError):
    """An administrative request that would be unsafe; the text gives the reason and what to do instead."""
