"""What can go wrong with an operation, named after whose fault it is.

``maybe_applied`` of every error is whether the operation may have happened all the same. False is a promise: it
certainly did not. A read changes nothing, so it is False for the errors of reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class CoveyError(Exception):
    """Base of all errors that a client raises on purpose."""

    maybe_applied: bool = False
    """Whether the operation may have happened; False means that it certainly did not."""

    def __init__(self, message: str, *, maybe_applied: bool = False) -> None:
        super().__init__(message)
        self.maybe_applied = maybe_applied

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy any error of the tree, whatever arguments its constructor takes."""
        return _restored, (type(self), self.args, self.__dict__.copy())


class Unavailable(CoveyError):
    """Too few replicas, or no node could be reached. Certainly not done."""


class Timeout(CoveyError):
    """No answer in time, or the connection was lost before one came. A write may have happened."""


class NotSent(Timeout):
    """The timeout passed while the operation waited to be sent. Certainly not done."""


class Unanswered(Timeout):
    """The node itself gave no answer: not in time, or the connection to it was lost before one came."""


class Overloaded(CoveyError):
    """Refused early, certainly not done; may be retried after ``retry_after`` seconds."""

    def __init__(self, message: str, *, retry_after: float = 0.1, maybe_applied: bool = False) -> None:
        super().__init__(message, maybe_applied=maybe_applied)
        self.retry_after = retry_after


class InvalidRequest(CoveyError):
    """A mistake of the caller: an empty or over-long key, an over-long value, an impossible r or w."""


class Unauthenticated(CoveyError):
    """The cluster does not know who is asking."""


class PermissionDenied(CoveyError):
    """The caller is known and may not do this."""


class Refused(CoveyError):
    """An administrative call that would be unsafe now; the text gives the reason and what to do instead."""


class WrongCluster(CoveyError):
    """The node belongs to another cluster than this client. Certainly not done."""

    def __init__(self, message: str, *, cluster_id: str = "", maybe_applied: bool = False) -> None:
        super().__init__(message, maybe_applied=maybe_applied)
        self.cluster_id = cluster_id
        """The cluster id of the node; empty when it did not send one."""


class NotFound(CoveyError):
    """An administrative call names a node that the cluster does not know."""


class Unreachable(Unavailable):
    """There is no connection to the node, or it is not a covey node. Certainly not done."""


class MessageTooLarge(InvalidRequest):
    """A message was over gRPC's size limit."""


class InternalError(CoveyError):
    """The node failed in a way it should not have."""


class PartialFailure(CoveyError):
    """Some operations of ``put_many`` or ``get_many`` failed; keys are the caller's own.

    ``maybe_applied`` is True when it is for any of the failed operations; each of their errors has its own.
    """

    def __init__(self, done: Mapping[Any, Any], failed: Mapping[Any, CoveyError]) -> None:
        first = next(iter(failed.values()))
        super().__init__(
            f"{len(failed)} of {len(failed) + len(done)} operations failed, the first with: {first}",
            maybe_applied=any(error.maybe_applied for error in failed.values()),
        )
        self.done = dict(done)
        """Results of what succeeded: versions for ``put_many``, values (or None) for ``get_many``."""
        self.failed = dict(failed)
        """The error of each operation that failed."""


def is_answer(error: CoveyError) -> bool:
    """Return True if a node sent this error; False if none was reached, or none answered."""
    return not isinstance(error, (NotSent, Unanswered, Unreachable))


def _restored(kind: type[CoveyError], args: tuple[Any, ...], attributes: dict[str, Any]) -> CoveyError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error
