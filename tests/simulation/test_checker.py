"""The checker of histories: it finds each kind of wrong, and finds it exactly where a naive one does."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.checker import Rule, check
from tests.support.history import Copies, Copy, History, Kind, NodeState, Operation, Outcome, Version

DONE, NOT_DONE, UNKNOWN = Outcome.DONE, Outcome.NOT_DONE, Outcome.UNKNOWN


def v(number: int) -> Version:
    return number, 7, 1


def operation(
    kind: Kind, start_s: float, end_s: float, value: str | None, version: int | None, **more: object
) -> Operation:
    told = {"client": f"c{start_s}", "key": "k", "outcome": DONE, **more}
    return Operation(
        kind=kind,
        start_s=start_s,
        end_s=end_s,
        value=value,
        version=None if version is None else v(version),
        **told,  # type: ignore[arg-type]
    )


def put(start_s: float, end_s: float, value: str, version: int | None, **more: object) -> Operation:
    superseded = False if version is not None else None
    return operation(Kind.PUT, start_s, end_s, value, version, **{"superseded": superseded, **more})


def get(start_s: float, end_s: float, value: str | None, version: int | None, **more: object) -> Operation:
    return operation(Kind.GET, start_s, end_s, value, version, **more)


def delete(start_s: float, end_s: float, version: int | None, **more: object) -> Operation:
    superseded = False if version is not None else None
    return operation(Kind.DELETE, start_s, end_s, None, version, **{"superseded": superseded, **more})


def listing(start_s: float, end_s: float, *keys: str) -> Operation:
    return operation(Kind.KEYS, start_s, end_s, None, None, key="", keys=keys)


def copies(**held: Copy | None) -> Copies:
    return Copies("k", held)


def found(
    *operations: Operation, held: Copies | None = None, node_states: tuple[NodeState, ...] = ()
) -> set[Rule]:
    history = History(list(operations), copies=[held] if held else [], node_states=list(node_states))
    return {violation.rule for violation in check(History.of(history.lines()))}


A = put(0, 1, "a", 10)
B = put(2, 3, "b", 20)
D = delete(4, 5, 30)

WRONG = {
    "a read of what was there before an acknowledged write": (
        Rule.STALE,
        [A, B, get(4, 5, "a", 10)],
    ),
    "a read of nothing after an acknowledged write": (Rule.STALE, [A, get(4, 5, None, None)]),
    "a read of nothing before the only delete began": (Rule.STALE, [A, get(2, 3, None, None), D]),
    "a read older than an earlier read": (
        Rule.UNREAD,
        [A, put(2, 9, "b", None, outcome=UNKNOWN), get(3, 4, "b", 20), get(5, 6, "a", 10)],
    ),
    "a read older than an earlier read of an unknown delete": (
        Rule.RETURNED,
        [A, delete(2, 9, None, outcome=UNKNOWN), get(3, 4, None, 30), get(5, 6, "a", 10)],
    ),
    "a value after its acknowledged delete": (Rule.RETURNED, [A, B, D, get(6, 7, "b", 20)]),
    "a value nobody wrote": (Rule.UNWRITTEN, [A, get(2, 3, "z", 11)]),
    "a value read before its write began": (Rule.UNWRITTEN, [get(0, 1, "b", 20), B]),
    "a tombstone nobody wrote": (Rule.UNWRITTEN, [A, get(2, 3, None, 15)]),
    "a tombstone of a delete that was not done": (
        Rule.UNWRITTEN,
        [A, delete(2, 3, None, outcome=NOT_DONE), get(4, 5, None, 30)],
    ),
    "a value whose write was not done": (
        Rule.DENIED,
        [put(0, 1, "a", None, outcome=NOT_DONE), get(2, 3, "a", 10)],
    ),
    "one version of two writes": (Rule.VERSION, [A, put(2, 3, "b", 10, superseded=True)]),
    "one value at two versions": (Rule.VERSION, [A, get(2, 3, "a", 11)]),
    "a write under a version that stood": (Rule.UNREPORTED, [B, put(4, 5, "a", 10)]),
    "a client's second write below its first": (
        Rule.ORDER,
        [put(0, 1, "b", 20, client="c", key="l"), put(2, 3, "a", 10, client="c")],
    ),
    "a client's write below what it read": (
        Rule.ORDER,
        [B, get(4, 5, "b", 20, client="c"), put(6, 7, "a", 10, client="c", superseded=True)],
    ),
    "a listing without an acknowledged key": (Rule.MISSING, [A, listing(2, 3)]),
    "a listing with a deleted key": (Rule.SURPLUS, [A, D, listing(6, 7, "k")]),
    "a listing with a key of nobody": (Rule.SURPLUS, [A, listing(2, 3, "k", "l")]),
    "a listing with a key not yet written": (Rule.SURPLUS, [listing(0, 1, "k"), B]),
    "a listing with a key twice": (Rule.SURPLUS, [A, listing(2, 3, "k", "k")]),
}


@pytest.mark.parametrize("what", WRONG)
def test_finds(what: str) -> None:
    rule, operations = WRONG[what]
    assert found(*operations) == {rule}
    assert found(*reversed(operations)) == {rule}, "the order of lines means nothing"


RIGHT = {
    "a read beside a write": [A, put(2, 5, "b", 20), get(3, 4, "a", 10), get(3, 4, "b", 20)],
    "reads of either beside a write that ended": [A, B, get(2.5, 4, "a", 10)],
    "a write of unknown outcome seen late or never": [
        A,
        put(2, 3, "b", None, outcome=UNKNOWN),
        get(4, 5, "a", 10),
        get(6, 7, "b", 20),
    ],
    "nothing where a collected tombstone was": [A, D, get(6, 7, None, None)],
    "nothing after a delete that may have happened": [
        A,
        delete(2, 3, None, outcome=UNKNOWN),
        get(4, 5, None, None),
    ],
    "a weak read that is old": [A, B, get(4, 5, "a", 10, level="one")],
    "what a weak write was told": [A, put(2, 3, "b", 20, level="one"), get(4, 5, "a", 10)],
    "an overtaken write that says so": [B, put(4, 5, "a", 10, superseded=True), get(6, 7, "b", 20)],
    "a value whose version nobody was told": [A, put(2, 3, "b", None, outcome=UNKNOWN), get(4, 5, "b", None)],
    "listings beside changes": [A, delete(2, 5, 30), listing(3, 4), listing(3, 4, "k")],
}


@pytest.mark.parametrize("what", RIGHT)
def test_accepts(what: str) -> None:
    assert found(*RIGHT[what]) == set()


def test_finds_an_acknowledged_write_that_no_copy_has() -> None:
    old = Copy(v(10), "a")
    assert found(A, B, held=copies(n1=old, n2=old)) == {Rule.LOST}
    assert found(A, B, held=copies(n1=None, n2=None)) == {Rule.LOST}
    assert found(A, B, D, held=copies(n1=None, n2=None)) == set()
    assert found(A, B, D, held=copies(n1=Copy(v(20), "b"))) == {Rule.RETURNED}


def test_finds_copies_that_differ() -> None:
    held = copies(n1=Copy(v(20), "b"), n2=Copy(v(10), "a"))
    assert found(A, B, held=held) == {Rule.COPIES}
    assert check(History([A, B], copies=[held]), converged=False) == []
    assert found(A, B, held=copies(n1=Copy(v(20), "b"), n2=None)) == {Rule.COPIES}


def test_finds_copies_of_what_was_not_written() -> None:
    denied = put(2, 3, "b", None, outcome=NOT_DONE)
    assert found(A, denied, held=copies(n1=Copy(v(20), "b"))) == {Rule.DENIED}
    assert found(held=copies(n1=Copy(v(20), "b"))) == {Rule.UNWRITTEN}


def test_finds_nodes_at_different_epochs_and_with_work_left() -> None:
    assert found(node_states=(NodeState("n1", "4/aa"), NodeState("n2", "5/bb"))) == {Rule.EPOCHS}
    assert found(node_states=(NodeState("n1", "4/aa", {"hints": 1}),)) == {Rule.PENDING}
    assert found(node_states=(NodeState("n1", "4/aa", {"hints": 0}), NodeState("n2", "4/aa"))) == set()


def test_a_history_survives_its_file(tmp_path: Path) -> None:
    history = History(
        [A, B, D, listing(6, 7, "k"), get(8, 9, None, None)],
        [{"at_s": 1.0, "kind": "crash"}],
        [copies(n1=Copy(v(10), "a"), n2=None)],
        [NodeState("n1", "4/aa", {"hints": 1})],
    )
    history.write(tmp_path / "history")
    assert History.read(tmp_path / "history") == history


def test_says_which_line_of_a_file_is_wrong() -> None:
    lines = [*History([A]).lines(), '{"is": "operation"}']
    with pytest.raises(ValueError, match="line 2"):
        History.of(lines)


# --- against a naive checker --------------------------------------------------------------------------------

INSTANTS = st.integers(0, 12)


@st.composite
def operations(draw: st.DrawFn) -> list[Operation]:
    """Operations at random: mostly wrong ones, and many that touch at their ends."""
    result = []
    for number in range(draw(st.integers(0, 9))):
        start_s = draw(INSTANTS)
        kind = draw(st.sampled_from(Kind))
        outcome = draw(st.sampled_from(Outcome))
        version = draw(st.none() | st.integers(1, 5)) if outcome is DONE else None
        value = f"w{number}" if kind is Kind.PUT else None
        if kind is Kind.GET:
            value = draw(st.none() | st.sampled_from([f"w{i}" for i in range(9)]))
        keys = tuple(draw(st.lists(st.sampled_from("kl"), max_size=2))) if kind is Kind.KEYS else ()
        result.append(
            Operation(
                kind,
                draw(st.sampled_from(["c", "d"])),
                "" if kind is Kind.KEYS else draw(st.sampled_from("kl")),
                start_s,
                start_s + draw(st.integers(0, 4)),
                outcome,
                value,
                v(version) if version is not None and kind is not Kind.KEYS else None,
                draw(st.booleans()) if kind in (Kind.PUT, Kind.DELETE) else None,
                draw(st.sampled_from(["one", "quorum", "all"])),
                keys,
            )
        )
    return result


class Naive:
    """The naive checker: the rules over all pairs of operations."""

    def __init__(self, operations: list[Operation]) -> None:
        self._all = operations
        self._done = [op for op in operations if op.outcome is DONE]

    def version(self, op: Operation) -> Version | None:
        if op.version is not None or op.value is None:
            return op.version
        same = [o for o in self._done if o.key == op.key and o.value == op.value and o.version is not None]
        return same[-1].version if same else None

    def found(self) -> Iterator[tuple[Rule, str]]:
        for op in self._done:
            if op.kind is Kind.GET and op.strict:
                yield from self._read(op)
            if op.writes:
                yield from self._write(op)
            if op.kind is Kind.KEYS:
                yield from self._listing(op)

    def _newest(self, key: str, before_s: float) -> Operation | None:
        told = [
            op
            for op in self._done
            if op.key == key and op.kind is not Kind.KEYS and op.strict and op.end_s < before_s
        ]
        known = [op for op in told if self.version(op) is not None]
        known.sort(key=lambda op: op.end_s)
        return max(known, key=lambda op: self.version(op) or v(0), default=None)

    def _may_be_newer(self, kind: Kind, key: str, than: Operation | None, by_s: float) -> bool:
        floor = self.version(than) if than is not None else None
        return any(
            floor is None or (version := self.version(op)) is None or version > floor
            for op in self._all
            if op.kind is kind and op.key == key and op.outcome is not NOT_DONE and op.start_s <= by_s
        )

    def _read(self, op: Operation) -> Iterator[tuple[Rule, str]]:
        newest = self._newest(op.key, op.start_s)
        if newest is None:
            return
        version = self.version(op)
        if version is not None:
            older = version < (self.version(newest) or v(0))
        elif op.value is None:
            older = newest.value is not None and not self._may_be_newer(Kind.DELETE, op.key, newest, op.end_s)
        else:
            older = False
        if older and newest.value is None and op.value is not None:
            yield Rule.RETURNED, op.key
        elif older:
            yield Rule.UNREAD if newest.kind is Kind.GET else Rule.STALE, op.key

    def _write(self, op: Operation) -> Iterator[tuple[Rule, str]]:
        newest = self._newest(op.key, op.start_s)
        if (
            op.strict
            and newest is not None
            and op.version is not None
            and op.superseded is False
            and op.version < (self.version(newest) or v(0))
        ):
            yield Rule.UNREPORTED, op.key
        if op.version is not None and any(
            o.end_s < op.start_s and o.client == op.client and o.version[0] >= op.version[0]
            for o in self._done
            if o.version is not None
        ):
            yield Rule.ORDER, op.key

    def _listing(self, op: Operation) -> Iterator[tuple[Rule, str]]:
        for key in sorted({o.key for o in self._all if o.kind is not Kind.KEYS}):
            newest = self._newest(key, op.start_s)
            there = newest is not None and newest.value is not None
            if there and key not in op.keys and not self._may_be_newer(Kind.DELETE, key, newest, op.end_s):
                yield Rule.MISSING, key
            if not there and key in op.keys and not self._may_be_newer(Kind.PUT, key, newest, op.end_s):
                yield Rule.SURPLUS, key


NAIVELY_FOUND = {
    *(
        Rule.STALE,
        Rule.UNREAD,
        Rule.RETURNED,
        Rule.UNREPORTED,
        Rule.ORDER,
        Rule.MISSING,
        Rule.SURPLUS,
    ),
}


@given(operations())
def test_finds_what_a_naive_checker_finds(operations: list[Operation]) -> None:
    written = {op.key for op in operations if op.kind is not Kind.KEYS}
    quick = Counter(
        (violation.rule, violation.key)
        for violation in check(History(operations))
        if violation.rule in NAIVELY_FOUND and violation.key in written
    )
    assert quick == Counter(Naive(operations).found())


def test_judges_a_long_history_in_seconds() -> None:
    """A hundred thousand operations; a million take ten times as long, and a quadratic checker a day."""
    operations = []
    for number in range(50_000):
        at_s = number / 100
        told = {"key": f"k{number % 40}", "client": f"c{number % 8}"}
        operations.append(put(at_s, at_s + 0.005, f"w{number}", number + 1, **told))
        operations.append(get(at_s + 0.006, at_s + 0.009, f"w{number}", number + 1, **told))
    began = time.process_time()
    assert check(History(operations)) == []
    assert time.process_time() - began < 10
