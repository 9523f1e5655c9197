"""Programs that fork, one for each way in which programs do: ``python -m tests.support.forks NAME ADDRESS``.

A program ends with exit code 0 when parent and children could all do what they should.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from covey import AsyncClient, Client, CoveyError, Timeout, Unavailable

CHILD_TIMEOUT_S = 10.0
AT_ONCE_S = 1.0


def child(work: Callable[[], object]) -> int:
    """Fork; the child does the work and ends. Returns its process id."""
    process = os.fork()
    if process:
        return process
    try:
        work()
    except BaseException:  # noqa: BLE001 - it is printed, and the child must not go on as the parent
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def ends_well(process: int) -> None:
    """Return once the child has ended; raises unless it ended with exit code 0."""
    deadline = time.monotonic() + CHILD_TIMEOUT_S
    while (ended := os.waitpid(process, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(process, signal.SIGABRT)  # prints what its threads do
            os.waitpid(process, 0)
            raise AssertionError("the child hangs")
        time.sleep(0.002)
    assert ended[1] == 0, f"the child ended with {ended[1]}"


def works(address: str) -> None:
    """A client that is made here does."""
    with Client([address]) as kv:
        kv.put("made here", "value")
        assert kv.get("made here") == b"value"


def is_refused(make: Callable[[], object]) -> None:
    """Return if that fails for the fork; raises otherwise."""
    with pytest.raises(Unavailable, match="forked"):
        make()


def idle(address: str) -> None:
    with Client([address]) as kv:
        before = kv.put("key", "of the parent")

        def work() -> None:
            works(address)
            assert kv.get("key") == b"of the parent"
            assert kv.put("key", "of the child") > before

        ends_well(child(work))
        assert kv.get("key") == b"of the child"


def threads_busy(address: str) -> None:
    stop = threading.Event()
    with Client([address]) as kv, ThreadPoolExecutor(8) as threads:

        def ask(number: int) -> int:
            done = 0
            while not stop.is_set():
                kv.put(f"key{number}", str(done))
                assert kv.get(f"key{number}") == str(done).encode()
                done += 1
            return done

        asking = [threads.submit(ask, number) for number in range(8)]
        try:
            for _ in range(5):
                ends_well(child(lambda: works(address)))
                ends_well(child(lambda: kv.put("inherited", "value")))
        finally:
            stop.set()
        assert all(one.result() for one in asking)


def twice(address: str) -> None:
    with Client([address]) as kv:
        kv.put("key", "value")

        def grandchild() -> None:
            works(address)
            assert kv.get("key") == b"value"

        def work() -> None:
            works(address)
            assert kv.get("key") == b"value"
            ends_well(child(grandchild))
            assert kv.get("key") == b"value"

        ends_well(child(work))
        ends_well(child(work))
        assert kv.get("key") == b"value"


def unused(address: str) -> None:
    with Client([address]) as kv:

        def work() -> None:
            works(address)
            kv.put("key", "value")

        ends_well(child(work))
        assert kv.get("key") == b"value"


def exits(address: str) -> None:
    """The child ends as programs do, which takes down the interpreter with all that it has inherited."""
    with Client([address]) as kv:
        kv.put("key", "value")
        process = os.fork()
        if not process:
            assert kv.get("key") == b"value"
            works(address)
            sys.exit()
        ends_well(process)
        assert kv.get("key") == b"value"


def closed(address: str) -> None:
    works(address)
    ends_well(child(lambda: works(address)))
    works(address)


_inherited: Client


def _pool_task(number: int) -> bytes | None:
    with Client([sys.argv[2]]) as own:
        own.put(f"own{number}", "value")
    _inherited.put(f"key{number}", str(number))
    return _inherited.get(f"key{number}")


def pool(address: str) -> None:
    global _inherited
    with Client([address]) as _inherited:
        _inherited.put("key", "value")
        with multiprocessing.get_context("fork").Pool(2) as processes:
            given = processes.map_async(_pool_task, range(8)).get(CHILD_TIMEOUT_S)
            assert given == [str(number).encode() for number in range(8)]
        assert _inherited.get("key7") == b"7"


def prefork(address: str) -> None:
    """A server that loads its application, which uses a client, before it forks workers; one is replaced."""
    with Client([address]) as kv:
        kv.put("setting", "value")

        def serve() -> None:
            for request in range(20):
                assert kv.get("setting") == b"value"
                kv.put(f"{os.getpid()}/{request}", "done")

        workers = [child(serve) for _ in range(3)]
        for worker in workers:
            ends_well(worker)
        ends_well(child(serve))
        assert len(list(kv.keys(f"{workers[0]}/"))) == 20


def loop_in_another_thread(address: str) -> None:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    kv = AsyncClient([address])

    async def ask() -> None:
        await kv.put("key", "value")
        assert await kv.get("key") == b"value"

    def there() -> None:
        asyncio.run_coroutine_threadsafe(ask(), loop).result(CHILD_TIMEOUT_S)

    there()
    ends_well(child(lambda: asyncio.run(ask())))
    there()
    asyncio.run_coroutine_threadsafe(kv.close(), loop).result(CHILD_TIMEOUT_S)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def loop_that_forks_in_a_thread(address: str) -> None:
    async def parent() -> None:
        async with AsyncClient([address]) as kv:

            async def ask() -> None:
                await kv.put("key", "value")
                async with AsyncClient([address]) as own:
                    assert await own.get("key") == b"value"

            await ask()
            process = await asyncio.to_thread(child, lambda: asyncio.run(ask()))
            await asyncio.to_thread(ends_well, process)
            await ask()

    asyncio.run(parent())


def loop_between_runs(address: str) -> None:
    loop = asyncio.new_event_loop()
    kv = AsyncClient([address])
    loop.run_until_complete(kv.put("key", "value"))

    async def ask() -> None:
        assert await kv.get("key") == b"value"

    ends_well(child(lambda: asyncio.run(ask())))
    loop.run_until_complete(ask())
    loop.run_until_complete(kv.close())
    loop.close()


def loop_that_forks(address: str) -> None:
    """The one that cannot work: the child is told so at once, and the parent does not notice."""

    def refused() -> None:
        asyncio._set_running_loop(None)
        began = time.monotonic()
        for make in (lambda: works(address), lambda: asyncio.run(_get(address))):
            is_refused(make)
        assert time.monotonic() - began < AT_ONCE_S

    async def parent() -> None:
        async with AsyncClient([address]) as kv:
            await kv.put("key", "value")
            ends_well(child(refused))
            assert await kv.get("key") == b"value"

    asyncio.run(parent())
    ends_well(child(lambda: works(address)))


async def _get(address: str) -> None:
    async with AsyncClient([address]) as kv:
        await kv.get("key")


def grpc_of_others(address: str) -> None:
    """Another part of the program uses gRPC: told at once, and not at all once it has ended."""
    import grpc

    from covey.proto.generated import kv_pb2, kv_pb2_grpc

    with grpc.insecure_channel(address) as channel:
        kv_pb2_grpc.KVStub(channel).Get(kv_pb2.GetRequest(key=b"key"))

        ends_well(child(lambda: is_refused(lambda: works(address))))
        works(address)


def unanswered(address: str) -> None:
    """At an address that never answers: what is under way ends honestly in the parent, and a fork is not held up."""
    with Client([address], timeout=5) as kv, ThreadPoolExecutor(2) as threads:
        writing = threads.submit(kv.put, "key", "value")
        reading = threads.submit(kv.get, "key", timeout=3)
        sys.stdin.readline()  # both were sent
        began = time.monotonic()
        ends_well(child(lambda: None))
        assert time.monotonic() - began < 4
        error = writing.exception(CHILD_TIMEOUT_S)
        assert isinstance(error, Timeout) and error.maybe_applied and "fork" in str(error), error
        error = reading.exception(CHILD_TIMEOUT_S)
        assert isinstance(error, CoveyError) and not error.maybe_applied, error


PROGRAMS: dict[str, Callable[[str], None]] = {
    program.__name__: program
    for program in (
        idle,
        threads_busy,
        twice,
        unused,
        closed,
        exits,
        pool,
        prefork,
        loop_in_another_thread,
        loop_that_forks_in_a_thread,
        loop_between_runs,
        loop_that_forks,
        grpc_of_others,
        unanswered,
    )
}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](sys.argv[2])
