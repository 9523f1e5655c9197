"""The errors of operations.

``maybe_applied`` of an error is True if the operation may have happened although it failed. False is a promise: the
operation certainly did not happen. It is always False for reads, which change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class CoveyError(Exception):
    """Base class of all errors that a client raises."""

    maybe_applied: bool = False
    """True if the operation may have happened; False if it certainly did not."""

    def __init__(self, message: str, *, maybe_applied: bool = False) -> None:
        super().__init__(message)
        self.maybe_applied = maybe_applied

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy any error of the tree, whatever arguments its constructor takes."""
        return _restored, (type(self), self.args, self.__dict__.copy())


class Unavailable(CoveyError):
    """Too few replicas were available, or no node could be reached. The operation was certainly not done."""


class Timeout(CoveyError):
    """There was no answer in time, or the connection was lost before the answer. A write may have happened."""


class NotSent(Timeout):
    """The timeout passed while the operation waited to be sent. It was certainly not done."""


class Unanswered(Timeout):
    """The node that was asked gave no answer in time, or the connection to it was lost before the answer."""


class Overloaded(CoveyError):
    """Refused because of load, and certainly not done. It may be retried after ``retry_after`` seconds."""

    def __init__(self, message: str, *, retry_after: float = 0.1, maybe_applied: bool = False) -> None:
        super().__init__(message, maybe_applied=maybe_applied)
        self.retry_after = retry_after


class InvalidRequest(CoveyError):
    """An invalid argument: for instance an empty or too long key, a too long value, or an impossible r or w."""


class Unauthenticated(CoveyError):
    """The cluster does not know the caller."""


class PermissionDenied(CoveyError):
    """The cluster knows the caller and does not permit the operation."""


class Refused(CoveyError):
    """An administrative change would be unsafe now. The text gives the reason and an alternative."""


class WrongCluster(CoveyError):
    """The node belongs to a different cluster than this client. The operation was certainly not done."""

    def __init__(self, message: str, *, cluster_id: str = "", maybe_applied: bool = False) -> None:
        super().__init__(message, maybe_applied=maybe_applied)
        self.cluster_id = cluster_id
        """The cluster id of the node; empty if it did not send one."""


class NotFound(CoveyError):
    """An administrative call names a node that the cluster does not know."""


class Unreachable(Unavailable):
    """There is no connection to the node, or it is not a covey node. The operation was certainly not done."""


class MessageTooLarge(InvalidRequest):
    """A message exceeded gRPC's size limit."""


class InternalError(CoveyError):
    """The node failed because of a defect, or its answer is malformed."""


class PartialFailure(CoveyError):
    """Some operations of ``put_many`` or ``get_many`` failed. Keys are as the caller passed them.

    ``maybe_applied`` is True if it is True for any of the failed operations; each of their errors has it, too.
    """

    def __init__(self, done: Mapping[Any, Any], failed: Mapping[Any, CoveyError]) -> None:
        first = next(iter(failed.values()))
        super().__init__(
            f"{len(failed)} of {len(failed) + len(done)} operations failed, the first with: {first}",
            maybe_applied=any(error.maybe_applied for error in failed.values()),
        )
        self.done = dict(done)
        """Results of the operations that succeeded: versions for ``put_many``, values or None for ``get_many``."""
        self.failed = dict(failed)
        """The error of each operation that failed."""


def is_answer(error: CoveyError) -> bool:
    """Return True if a node sent this error; False if none was reached, or none answered."""
    return not isinstance(error, (NotSent, Unanswered, Unreachable))


def _restored(kind: type[CoveyError], args: tuple[Any, ...], attributes: dict[str, Any]) -> CoveyError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error
