"""What callers pass in: whatever it is, it is taken or refused at once by an InvalidRequest of one sentence."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from covey import AsyncClient, Client, CoveyError, InvalidRequest
from covey.client.arguments import MAX_ADDRESSES, MAX_REPLICAS, MAX_TIMEOUT_S, checked_addresses

HUGE = 10**5000
"""Has more digits than Python writes out."""
BAD_TIMEOUTS = [0, -1, -0.0, math.inf, -math.inf, math.nan, 10**12, HUGE, "x", "5", b"5", True, False, [], {}]
BAD_TIMEOUTS += [Decimal(1), 1j, object(), MAX_TIMEOUT_S * 1.01]
BAD_REPLICAS = [0, -1, 2**32, HUGE, MAX_REPLICAS + 1, 1.0, math.nan, "2", b"2", True, False, [], object()]
BAD_LEVELS = ["most", "", "QUORUM", 1, True, b"one", [], {}, object()]
BAD_TEXTS = [None, 1, 1.5, True, [], {}, object(), bytearray(b"k"), memoryview(b"k"), "\ud800"]
BAD_NAMES = [None, "", 1, True, b"n1", [], "x" * 256, "\ud800"]
BAD_MAPPINGS = [None, 1, "ab", b"ab", ["a"], [("a", "b")], {1: "v"}, {"k": 1}, {"k": None}, {None: "v"}]
BAD_KEY_LISTS = [None, 1, "ab", b"ab", [1], [None], ["a", 2], [[]], [{}], [bytearray(b"k")]]
BAD_ADDRESSES = [None, 1, b"a:1", [], "", ",", "a", "a:", ":1", "a:0", "a:65536", "a:x", "a:1,b", "a:1,,b:1"]
BAD_ADDRESSES += [
    [1],
    [None],
    [b"a:1"],
    ["a:1", ["b:1"]],
    {"a:1": "b"},
    "a b:1",
    "a\n:1",
    "::1:7001",
    "a:" + "1" * 5000,
]
BAD_ADDRESSES += ["x" * 300 + ":1", [f"h{i}:1" for i in range(MAX_ADDRESSES + 1)], "a:٣", True, 1.5]

Call = Callable[[AsyncClient, Any], Awaitable[object]]

CALLS: dict[str, tuple[Call, list[Any]]] = {
    "get key": (lambda kv, bad: kv.get(bad), BAD_TEXTS),
    "get r": (lambda kv, bad: kv.get("k", r=bad), BAD_REPLICAS),
    "get consistency": (lambda kv, bad: kv.get("k", consistency=bad), BAD_LEVELS),
    "get timeout": (lambda kv, bad: kv.get("k", timeout=bad), BAD_TIMEOUTS),
    "put key": (lambda kv, bad: kv.put(bad, "v"), BAD_TEXTS),
    "put value": (lambda kv, bad: kv.put("k", bad), BAD_TEXTS),
    "put w": (lambda kv, bad: kv.put("k", "v", w=bad), BAD_REPLICAS),
    "put consistency": (lambda kv, bad: kv.put("k", "v", consistency=bad), BAD_LEVELS),
    "put timeout": (lambda kv, bad: kv.put("k", "v", timeout=bad), BAD_TIMEOUTS),
    "delete key": (lambda kv, bad: kv.delete(bad), BAD_TEXTS),
    "delete w": (lambda kv, bad: kv.delete("k", w=bad), BAD_REPLICAS),
    "delete consistency": (lambda kv, bad: kv.delete("k", consistency=bad), BAD_LEVELS),
    "delete timeout": (lambda kv, bad: kv.delete("k", timeout=bad), BAD_TIMEOUTS),
    "put_many items": (lambda kv, bad: kv.put_many(bad), BAD_MAPPINGS),
    "put_many w": (lambda kv, bad: kv.put_many({"k": "v"}, w=bad), BAD_REPLICAS),
    "put_many consistency": (lambda kv, bad: kv.put_many({"k": "v"}, consistency=bad), BAD_LEVELS),
    "put_many timeout": (lambda kv, bad: kv.put_many({"k": "v"}, timeout=bad), BAD_TIMEOUTS),
    "get_many keys": (lambda kv, bad: kv.get_many(bad), BAD_KEY_LISTS),
    "get_many r": (lambda kv, bad: kv.get_many(["k"], r=bad), BAD_REPLICAS),
    "get_many consistency": (lambda kv, bad: kv.get_many(["k"], consistency=bad), BAD_LEVELS),
    "get_many timeout": (lambda kv, bad: kv.get_many(["k"], timeout=bad), BAD_TIMEOUTS),
    "keys prefix": (lambda kv, bad: anext(kv.keys(bad)), BAD_TEXTS),
    "keys timeout": (lambda kv, bad: anext(kv.keys("k", timeout=bad)), BAD_TIMEOUTS),
    "status timeout": (lambda kv, bad: kv.admin.status(timeout=bad), BAD_TIMEOUTS),
    "ring timeout": (lambda kv, bad: kv.admin.ring(timeout=bad), BAD_TIMEOUTS),
    "explain key": (lambda kv, bad: kv.admin.explain(bad), BAD_TEXTS),
    "explain timeout": (lambda kv, bad: kv.admin.explain("k", timeout=bad), BAD_TIMEOUTS),
    "leave name": (lambda kv, bad: kv.admin.leave(bad, timeout=1), BAD_NAMES),
    "leave timeout": (lambda kv, bad: kv.admin.leave("n1", timeout=bad), BAD_TIMEOUTS),
    "remove name": (lambda kv, bad: kv.admin.remove(bad, timeout=1), BAD_NAMES),
    "remove timeout": (lambda kv, bad: kv.admin.remove("n1", timeout=bad), BAD_TIMEOUTS),
    "repair timeout": (lambda kv, bad: kv.admin.repair(timeout=bad), BAD_TIMEOUTS),
}


@asynccontextmanager
async def client_of_nobody(closed_address: str) -> AsyncIterator[AsyncClient]:
    """What was sent would end as Unavailable."""
    async with AsyncClient(closed_address) as kv:
        yield kv


def is_one_sentence(error: CoveyError) -> bool:
    return 0 < len(str(error)) < 300 and "\n" not in str(error) and not error.maybe_applied


@pytest.mark.parametrize("call", CALLS)
async def test_a_bad_argument_is_refused_in_one_sentence(call: str, closed_address: str) -> None:
    ask, bad_values = CALLS[call]
    async with client_of_nobody(closed_address) as kv:
        for bad in bad_values:
            with pytest.raises(InvalidRequest) as caught:
                await ask(kv, bad)
            assert is_one_sentence(caught.value), bad


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_client_is_not_made_of_bad_arguments(kind: type[Client] | type[AsyncClient]) -> None:
    for bad in BAD_ADDRESSES:
        with pytest.raises(InvalidRequest) as caught:
            kind(bad)
        assert is_one_sentence(caught.value), bad
    for bad in [*BAD_TIMEOUTS, None]:
        with pytest.raises(InvalidRequest) as caught:
            kind("a:1", timeout=bad)
        assert is_one_sentence(caught.value), bad


def test_a_blocking_client_refuses_at_the_call(closed_address: str) -> None:
    with Client(closed_address) as kv:
        for ask in (
            lambda: kv.get(3),  # type: ignore[arg-type]
            lambda: kv.put("k", "v", timeout=math.inf),
            lambda: kv.put_many({"k": 3}),  # type: ignore[dict-item]
            lambda: next(kv.keys(3)),  # type: ignore[call-overload]
            lambda: kv.admin.status(timeout=math.nan),
        ):
            with pytest.raises(InvalidRequest):
                ask()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a:1", ("a:1",)),
        ("a:1,b:2", ("a:1", "b:2")),
        (" a:1 , b:2 ", ("a:1", "b:2")),
        (["a:1", "b:2,c:3", "a:1"], ("a:1", "b:2", "c:3")),
        (iter(["[::1]:7001"]), ("[::1]:7001",)),
    ],
)
def test_addresses_are_split_at_commas_each_once(given: Any, expected: tuple[str, ...]) -> None:
    assert checked_addresses(given) == expected


@pytest.mark.parametrize("timeout", [0.001, 1, 2.5, 86_400])
def test_a_timeout_is_a_number_of_seconds(timeout: float) -> None:
    AsyncClient("a:1", timeout=timeout)
