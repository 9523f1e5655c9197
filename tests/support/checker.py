"""The checker: whether a store that keeps covey's promises could have produced a history.

Every rule concerns one key and takes logarithmic time per operation, so that a history of a million operations is
checked in seconds. There are no false alarms: an operation of unknown outcome may have taken effect at any time after
it began, or never.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import NamedTuple

from tests.support.key_history import TOMBSTONE, KeyHistory

from .history import Copies, Copy, History, Kind, Operation, Outcome, Version, format_version


class Rule(StrEnum):
    """The rules that a history can violate."""

    LOST = "an acknowledged write is lost"
    STALE = "a read is older than what was acknowledged before it began"
    UNREAD = "a read is older than what was read before it began"
    RETURNED = "a deleted value came back"
    UNWRITTEN = "what was read was not written"
    DENIED = "a write that was reported as not done happened"
    VERSION = "a version has two contents, or a content two versions"
    UNREPORTED = "a write was superseded by a version that existed before, and its reply does not report that"
    ORDER = "a client's write is not newer than what it had seen"
    MISSING = "a listing lacks a key that is there"
    SURPLUS = "a listing has a key that is not there"
    UNDER_REPLICATED = "a read quorum can miss an acknowledged write when all is healed"
    COPIES = "the copies of a key differ when all is healed"
    EPOCHS = "the nodes are at different epochs when all is healed"
    PENDING = "something is pending when all is healed"


class Violation(NamedTuple):
    rule: Rule
    key: str
    """Empty if the rule concerns no key."""
    details: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.details}"


def check(history: History, *, converged: bool = True) -> list[Violation]:
    """Return all violations in a history. Without ``converged``, replicas may differ and work may be pending."""
    keys = _by_key(history)
    found = [violation for key in keys.values() for violation in _check_key(key)]
    found += _check_clients(history)
    found += _check_listings(history, keys)
    for copies in history.copies:
        found += _check_copies(copies, keys.get(copies.key) or KeyHistory(copies.key, ()), converged)
    found += _check_node_states(history, converged)
    return found


def _by_key(history: History) -> dict[str, KeyHistory]:
    operations: dict[str, list[Operation]] = defaultdict(list)
    for operation in history.operations:
        if operation.kind is not Kind.KEYS:
            operations[operation.key].append(operation)
    return {key: KeyHistory(key, of_key) for key, of_key in operations.items()}


# --- single operations --------------------------------------------------------------------------------------


def _check_key(key: KeyHistory) -> Iterator[Violation]:
    contents: dict[Version, str] = {}
    versions: dict[str, Version] = {}
    for operation in key.operations:
        if operation.outcome is not Outcome.DONE:
            continue
        yield from _check_version(operation, contents, versions)
        if operation.kind is Kind.GET:
            yield from _check_content(key, operation.value, operation.version, operation.end_s, operation)
            if operation.strict:
                yield from _check_read(key, operation)
        elif operation.strict:
            yield from _check_write(key, operation)


def _check_version(
    operation: Operation, contents: dict[Version, str], versions: dict[str, Version]
) -> Iterator[Violation]:
    version = operation.version
    if version is None:
        return
    content = TOMBSTONE if operation.value is None else operation.value
    if contents.setdefault(version, content) != content:
        yield Violation(Rule.VERSION, operation.key, f"{operation}, but it had {contents[version]!r} before")
    if content != TOMBSTONE and versions.setdefault(content, version) != version:
        before = format_version(versions[content])
        yield Violation(Rule.VERSION, operation.key, f"{operation}, but it was version {before} before")


def _check_content(
    key: KeyHistory, value: str | None, version: Version | None, by_s: float, details: object
) -> Iterator[Violation]:
    """Check that what was found by an instant had been written by then."""
    if value is not None:
        put = key.put_of.get(value)
        if put is None or put.start_s > by_s:
            yield Violation(Rule.UNWRITTEN, key.key, str(details))
        elif put.outcome is Outcome.NOT_DONE:
            yield Violation(Rule.DENIED, key.key, f"{details}, though {put}")
    elif version is not None and version not in key.deleting and not key.unknown_deletes.above(None, by_s):
        yield Violation(Rule.UNWRITTEN, key.key, f"{details}: no client deleted it")


def _check_read(key: KeyHistory, read: Operation) -> Iterator[Violation]:
    before = key.known.before(read.start_s)
    if before is None:
        return
    newest, known_version = before
    version = key.version_of(read)
    if version is not None:
        broken = version < newest
    elif read.value is None:
        broken = known_version.value is not None and not key.deletes.above(newest, read.end_s)
    else:
        broken = False  # the version of this value is not known
    if broken:
        yield Violation(
            _rule_for_older(read.value, known_version), key.key, f"{read}, though {known_version}"
        )


def _rule_for_older(value: str | None, known_version: Operation) -> Rule:
    if known_version.value is None and value is not None:
        return Rule.RETURNED
    return Rule.UNREAD if known_version.kind is Kind.GET else Rule.STALE


def _check_write(key: KeyHistory, write: Operation) -> Iterator[Violation]:
    before = key.known.before(write.start_s)
    if before is None or write.version is None or write.superseded is not False:
        return
    newest, known_version = before
    if write.version < newest:
        yield Violation(Rule.UNREPORTED, key.key, f"{write}, though {known_version}")


# --- clients ------------------------------------------------------------------------------------------------


def _check_clients(history: History) -> Iterator[Violation]:
    """Check that each client's writes are newer than every version it had seen before, of any key.

    They must also be newer than its earlier writes of unknown outcome that were read or found later.
    """
    found = _versions_found(history)
    by_client: dict[str, list[Operation]] = defaultdict(list)
    for operation in history.operations:
        if operation.outcome is Outcome.DONE and operation.version is not None:
            by_client[operation.client].append(operation)
        elif operation.outcome is Outcome.UNKNOWN and operation.kind is Kind.PUT:
            version = found.get((operation.key, operation.value))
            if version is not None:
                by_client[operation.client].append(replace(operation, version=version))
    for operations in by_client.values():
        yield from _check_order(operations)


def _versions_found(history: History) -> dict[tuple[str, str | None], Version]:
    """Return the versions of values that were read, or found on a replica at the end."""
    found = {
        (read.key, read.value): read.version
        for read in history.operations
        if read.kind is Kind.GET and read.outcome is Outcome.DONE and read.version is not None
    }
    for copies in history.copies:
        found |= {(copies.key, c.value): c.version for c in copies.held.values() if c is not None}
    return found


def _check_order(operations: list[Operation]) -> Iterator[Violation]:
    ended = iter(sorted(operations, key=lambda operation: operation.end_s))
    pending = next(ended)
    newest: Operation | None = None
    for operation in sorted(operations, key=lambda operation: operation.start_s):
        while pending.end_s < operation.start_s:
            if newest is None or _timestamp(pending) > _timestamp(newest):
                newest = pending
            pending = next(ended)  # there is one: this operation itself ends later
        if operation.writes and newest is not None and _timestamp(operation) <= _timestamp(newest):
            yield Violation(Rule.ORDER, operation.key, f"{operation}, though before {newest}")


def _timestamp(operation: Operation) -> int:
    return operation.version[0] if operation.version is not None else 0


# --- listings -----------------------------------------------------------------------------------------------


def _check_listings(history: History, keys: Mapping[str, KeyHistory]) -> Iterator[Violation]:
    for listing in history.operations:
        if listing.kind is not Kind.KEYS or listing.outcome is not Outcome.DONE:
            continue
        found = set(listing.keys)
        if len(found) != len(listing.keys):
            yield Violation(Rule.SURPLUS, "", f"{listing}: a key is in it twice")
        for name in sorted(found - keys.keys()):
            yield Violation(Rule.SURPLUS, name, f"{listing}: no client wrote {name!r}")
        for name, key in keys.items():
            if name.startswith(listing.key):
                yield from _check_listed(key, listing, name in found)


def _check_listed(key: KeyHistory, listing: Operation, listed: bool) -> Iterator[Violation]:
    newest, known_version = key.known.before(listing.start_s) or (None, None)
    there = known_version is not None and known_version.value is not None
    if there and not listed and not key.deletes.above(newest, listing.end_s):
        yield Violation(Rule.MISSING, key.key, f"{listing} lacks {key.key!r}, though {known_version}")
    if not there and listed and not key.puts.above(newest, listing.end_s):
        yield Violation(
            Rule.SURPLUS, key.key, f"{listing} has {key.key!r}, though {known_version or 'it never was'}"
        )


# --- when all is healed -------------------------------------------------------------------------------------


def _check_copies(copies: Copies, key: KeyHistory, converged: bool) -> Iterator[Violation]:
    held = [copy for copy in copies.held.values() if copy is not None]
    newest = max(held, key=lambda copy: copy.version, default=None)
    details = ", ".join(f"{node} holds {_described(copy)}" for node, copy in copies.held.items())
    for copy in sorted(set(held), key=lambda copy: copy.version):
        yield from _check_content(key, copy.value, copy.version, float("inf"), f"{copies.key!r}: {details}")
    if converged and len(set(copies.held.values())) > 1:
        yield Violation(Rule.COPIES, copies.key, f"{copies.key!r}: {details}")
    yield from _check_kept(key, newest, f"{copies.key!r}: {details}")
    yield from _check_enough(key, copies, f"{copies.key!r}: {details}")


def _check_kept(key: KeyHistory, newest: Copy | None, details: str) -> Iterator[Violation]:
    ever = key.known.ever()
    if ever is None:
        return
    version, known_version = ever
    if newest is None:
        lost = known_version.value is not None and not key.deletes.above(version, float("inf"))
        if lost:
            yield Violation(Rule.LOST, key.key, f"{details}, though {known_version}")
    elif newest.version < version:
        returned = known_version.value is None and newest.value is not None
        yield Violation(
            Rule.RETURNED if returned else Rule.LOST, key.key, f"{details}, though {known_version}"
        )


def _check_enough(key: KeyHistory, copies: Copies, details: str) -> Iterator[Violation]:
    """Check that no read quorum consists of older copies only while others are newer."""
    before = key.known.before(copies.at_s)
    if before is None or key.deletes.above(before[0], copies.at_s):
        return  # what the delete removed may have been collected with its tombstone
    version, known_version = before
    have = sum(copy is not None and copy.version >= version for copy in copies.held.values())
    older = [copy for copy in copies.held.values() if copy is None or copy.version < version]
    if known_version.value is None:  # a collected tombstone leaves nothing to miss
        older = [copy for copy in older if copy is not None and copy.value is not None]
    if 0 < have < copies.needed and older:
        yield Violation(Rule.UNDER_REPLICATED, copies.key, f"{details}, though {known_version}")


def _described(copy: Copy | None) -> str:
    if copy is None:
        return "nothing"
    what = "a tombstone" if copy.value is None else repr(copy.value)
    return f"{what} at {format_version(copy.version)}"


def _check_node_states(history: History, converged: bool) -> Iterator[Violation]:
    if len({standing.epoch for standing in history.node_states}) > 1:
        details = ", ".join(f"{standing.node} at {standing.epoch}" for standing in history.node_states)
        yield Violation(Rule.EPOCHS, "", details)
    for standing in history.node_states if converged else ():
        left = {what: count for what, count in standing.pending.items() if count}
        if left:
            yield Violation(Rule.PENDING, "", f"{standing.node}: {left}")
