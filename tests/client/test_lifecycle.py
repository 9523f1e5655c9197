"""Clients and what they give out, as objects: loops, leaks, copies, pickles, texts."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import covey
from covey import (
    AsyncClient,
    Client,
    CoveyError,
    InvalidRequest,
    Overloaded,
    PartialFailure,
    Timeout,
    Unavailable,
    Version,
    errors,
)
from covey.api.cluster import Explanation, NodeRepair, RepairReport

from .conftest import FakeCluster, ThreadedCluster, eventually, never

COPIES: dict[str, Callable[[Any], Any]] = {
    **{
        f"pickle {protocol}": lambda thing, protocol=protocol: pickle.loads(pickle.dumps(thing, protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}

ERRORS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CoveyError)
]  # those that are public and the rest


def made(kind: type[CoveyError]) -> CoveyError:
    if kind is PartialFailure:
        failed = {"a": Timeout("late", maybe_applied=True), b"b": Overloaded("busy", retry_after=3.0)}
        return PartialFailure({"c": Version(1, 2, 3)}, failed)
    error = kind("why", maybe_applied=True)
    if isinstance(error, Overloaded):
        error.retry_after = 7.0
    return error


def parts(error: CoveyError) -> tuple[object, ...]:
    attributes = {
        name: {key: parts(one) for key, one in value.items()} if name == "failed" else value
        for name, value in vars(error).items()
    }
    return type(error), str(error), error.args, attributes


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_can_be_copied(kind: type[CoveyError], way: str) -> None:
    error = made(kind)
    assert parts(COPIES[way](error)) == parts(error)


def test_every_public_error_is_among_those() -> None:
    public = [getattr(covey, name) for name in covey.__all__]
    assert {kind for kind in public if isinstance(kind, type) and issubclass(kind, CoveyError)} <= {*ERRORS}


@pytest.mark.parametrize("way", COPIES)
async def test_every_result_can_be_copied(way: str, cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    node.status.nodes.add(state="serving").identity.name = "n1"
    async with AsyncClient(node.address) as kv:
        results = [
            await kv.put("k", "v"),
            await kv.delete("k"),
            await kv.admin.status(),
            await kv.admin.ring(),
        ]
    results.append(Explanation(b"k", 1, 1, (), 1, 1, 1))
    results.append(RepairReport((NodeRepair("n1", 1, 1, 1, 1, 1, (), ""),), ()))
    assert [COPIES[way](one) for one in results] == results
    assert [COPIES[way](one.superseded) for one in results[:2]] == [one.superseded for one in results[:2]]


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_client_cannot_be_copied_and_says_what_to_do(kind: type[Any], way: str) -> None:
    with pytest.raises(TypeError, match="make one in each process"):
        COPIES[way](kind("a:1"))


# --- texts --------------------------------------------------------------------------------------------------


def test_a_client_is_shown_with_its_addresses_and_state_without_asking_anybody() -> None:
    kv = Client("a:1,b:2")
    assert repr(kv) == "<covey.Client a:1, b:2 (unused)>"
    kv.close()
    assert repr(kv) == "<covey.Client a:1, b:2 (closed)>"
    assert repr(AsyncClient([f"h:{i}" for i in range(1, 9)])) == (
        "<covey.AsyncClient h:1, h:2, h:3, h:4, h:5 and 3 more (unused)>"
    )


async def test_a_client_in_use_is_shown_as_open(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    async with AsyncClient(node.address) as kv:
        await kv.get("k")
        assert repr(kv) == f"<covey.AsyncClient {node.address} (open)>"


async def test_errors_do_not_speak_of_the_command_line(closed_address: str) -> None:
    async with AsyncClient(closed_address) as kv:
        with pytest.raises(Unavailable, match="no node of the cluster can be reached") as caught:
            await kv.get("k")
    assert "--" not in str(caught.value)


# --- loops --------------------------------------------------------------------------------------------------


def test_a_client_on_another_loop_says_so_at_once(threaded: ThreadedCluster) -> None:
    kv = AsyncClient(threaded.node.address)
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    first.run_until_complete(kv.put("k", "v"))
    for make in (
        lambda: kv.get("k"),
        lambda: kv.put("k", "v"),
        lambda: kv.delete("k"),
        lambda: kv.get_many(["k"]),
        lambda: kv.put_many({"k": "v"}),
        lambda: anext(kv.keys()),
        lambda: anext(kv.key_chunks()),
        kv.close,
    ):
        with pytest.raises(InvalidRequest, match="belongs to another event loop"):
            second.run_until_complete(asyncio.wait_for(make(), 1))
    assert first.run_until_complete(kv.get("k")) == b"v"
    first.run_until_complete(kv.close())
    first.close()
    second.close()


def test_a_client_whose_loop_is_closed_says_so_and_can_be_closed(threaded: ThreadedCluster) -> None:
    kv = AsyncClient(threaded.node.address)
    asyncio.run(kv.put("k", "v"))
    with pytest.raises(InvalidRequest, match="belongs to another event loop"):
        asyncio.run(kv.get("k"))
    asyncio.run(kv.close())
    with pytest.raises(Unavailable, match="closed"):
        asyncio.run(kv.get("k"))


# --- after the end ------------------------------------------------------------------------------------------


async def test_a_listing_that_goes_on_after_its_client_was_closed_fails(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    cluster.store.values.update({f"k{i}".encode(): b"" for i in range(35)})
    kv = AsyncClient(node.address)
    listing = kv.keys()
    await anext(listing)
    await kv.close()
    with pytest.raises(Unavailable, match="closed"):
        async for _ in listing:
            pass
    with pytest.raises(Unavailable, match="closed"):
        await anext(kv.keys())


@pytest.mark.filterwarnings("error")
def test_a_blocking_listing_that_goes_on_after_its_client_was_closed_fails(threaded: ThreadedCluster) -> None:
    threaded.cluster.store.values.update({f"k{i}".encode(): b"" for i in range(35)})
    kv = Client(threaded.node.address)
    listing = kv.keys()
    next(listing)
    kv.close()
    with pytest.raises(Unavailable, match="closed"):
        list(listing)
    with pytest.raises(Unavailable, match="closed"):
        next(kv.keys())
    del listing
    gc.collect()


async def test_a_forgotten_asynchronous_client_warns_and_its_connections_are_closed(
    cluster: FakeCluster,
) -> None:
    (node,) = await cluster.start(1)
    kv = AsyncClient(node.address)
    await kv.get("k")
    links = kv.admin._dispatcher._links
    with pytest.warns(ResourceWarning, match="unclosed <covey.AsyncClient"):
        del kv
    await eventually(lambda: not links._links)


@pytest.mark.filterwarnings("error")
async def test_a_client_that_was_closed_or_never_used_does_not_warn(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    async with AsyncClient(node.address) as kv:
        await kv.get("k")
    del kv
    AsyncClient(node.address)
    gc.collect()


def test_closing_ends_what_waits_for_room_too(threaded: ThreadedCluster) -> None:
    threaded.node.every_time = never

    async def program() -> list[BaseException]:
        kv = AsyncClient(threaded.node.address, timeout=60)
        asked = [asyncio.create_task(kv.put(f"k{i}", b"")) for i in range(6000)]
        await eventually(lambda: kv.admin._dispatcher.admission.waiting)
        await kv.close()
        return [
            one for one in await asyncio.gather(*asked, return_exceptions=True) if isinstance(one, Exception)
        ]

    ended = asyncio.run(program())
    assert len(ended) == 6000
    assert not [one for one in ended[-1000:] if getattr(one, "maybe_applied", True)]
