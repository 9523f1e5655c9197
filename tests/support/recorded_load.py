"""Clients that read, write and delete a few keys continuously, and record every operation.

As a separate process, ``python -m tests.support.recorded_load``, it runs until its standard input is closed, which also
happens when its parent dies.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from covey import Client
from covey.client.errors import CoveyError
from covey.client.links import NodeLink
from covey.client.version import Version
from covey.proto.generated import kv_pb2
from tests.support.history import Kind, Operation, Outcome, operation_line
from tests.support.workload import Background

KINDS = {Kind.GET: 50, Kind.PUT: 38, Kind.DELETE: 12}
SHARE_OF_NEW_KEYS = 0.2
"""Of puts; they are written once, and the others fight over a few."""
SHARED_KEYS = 60
LONGEST_FILLING = 2000
TIMEOUT_S = 4.0
PAUSE_S = 0.02
STOP_TIMEOUT_S = 60.0

Told = tuple[str | None, Version | None]


class Recorder:
    """Appends operations to a file; threads share it."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("a", buffering=1, encoding="utf-8")
        self._lock = threading.Lock()

    def record(self, operation: Operation, error: str = "") -> None:
        """Append an operation to the file, and print ``error``, if any, to stderr."""
        line = operation_line(operation)
        with self._lock:
            self._file.write(line + "\n")
            if error:
                print(f"{operation}: {error}", file=sys.stderr, flush=True)

    def close(self) -> None:
        with self._lock:
            self._file.close()


class TellingClient(Client):
    """A client whose reads also return the version."""

    def get_with_version(self, key: str, timeout_s: float) -> Told:
        async def ask() -> Told:
            session = self._client._open()

            async def ask_one(link: NodeLink, deadline: float) -> kv_pb2.GetResponse:
                left_s = deadline - asyncio.get_running_loop().time()
                seen = session.seen.timestamp
                response: kv_pb2.GetResponse = await link.call(
                    "Get", left_s, key=key.encode(), seen_timestamp=seen, timeout=0.9 * left_s
                )
                return response

            answer = await session._dispatcher.ask_any(ask_one, timeout_s)
            version = (
                Version(answer.version.timestamp, answer.version.disk_id, answer.version.generation)
                if answer.HasField("version")
                else None
            )
            session.seen.observe(answer.version.timestamp)
            return answer.value.decode() if answer.found else None, version

        return self._thread.run(ask())


def filled(name: str) -> str:
    """The value of that name, long or short. Histories have the names alone."""
    return f"{name}|" + "x" * random.Random(name).randrange(LONGEST_FILLING)


def name_of(value: str) -> str:
    """The name of a value; one that is not as it was put is all name."""
    name, _, _ = value.partition("|")
    return name if value == filled(name) else value


@dataclass(frozen=True)
class Pace:
    threads: int = 4
    pause_s: float = PAUSE_S
    """Between two operations of a thread, on average."""
    timeout_s: float = TIMEOUT_S


class RecordedLoad:
    """Some threads that share one client."""

    def __init__(
        self, addresses: Sequence[str], recorder: Recorder, name: str, seed: int, pace: Pace | None = None
    ) -> None:
        self._client = TellingClient(addresses)
        self._recorder = recorder
        self._name = name
        self._pace = pace or Pace()
        self._stopping = threading.Event()
        self._work = [
            Background(self._working(number, random.Random(f"{seed}/{name}/{number}")))
            for number in range(1, self._pace.threads + 1)
        ]

    def stop(self) -> None:
        """Return once what is under way has ended."""
        self._stopping.set()
        for work in self._work:
            work.join(STOP_TIMEOUT_S)
        self._client.close()

    def _working(self, thread: int, rng: random.Random) -> Callable[[], None]:
        def work() -> None:
            number = 0
            while not self._stopping.is_set():
                number += 1
                (kind,) = rng.choices(list(KINDS), list(KINDS.values()))
                key, value = f"shared/{rng.randrange(SHARED_KEYS)}", None
                if kind is Kind.PUT:
                    value = f"{self._name}/{thread}/{number}"
                    key = f"own/{value}" if rng.random() < SHARE_OF_NEW_KEYS else key
                outcome = self._perform(kind, key, value)
                if outcome is Outcome.UNKNOWN:  # write what is wanted now, after what may yet happen
                    self._perform(Kind.PUT, key, f"{self._name}/{thread}/{number}/again")
                time.sleep(rng.uniform(0, 2 * self._pace.pause_s))

        return work

    def _perform(self, kind: Kind, key: str, value: str | None) -> Outcome:
        start_s, outcome, told, error = time.monotonic(), Outcome.DONE, None, ""
        try:
            value, told = self._ask(kind, key, value)
        except CoveyError as caught:
            unknown = caught.maybe_applied and kind is not Kind.GET
            outcome = Outcome.UNKNOWN if unknown else Outcome.NOT_DONE
            error = f"{type(caught).__name__}: {caught}"
        operation = Operation(
            kind,
            self._name,
            key,
            start_s,
            time.monotonic(),
            outcome,
            value,
            None if told is None else (told.timestamp, told.disk_id, told.generation),
            told.superseded if told is not None and kind is not Kind.GET else None,
        )
        self._recorder.record(operation, error)
        return outcome

    def _ask(self, kind: Kind, key: str, value: str | None) -> Told:
        timeout_s = self._pace.timeout_s
        if kind is Kind.GET:
            found, version = self._client.get_with_version(key, timeout_s)
            return None if found is None else name_of(found), version
        if value is None:
            return None, self._client.delete(key, timeout=timeout_s)
        return value, self._client.put(key, filled(value), timeout=timeout_s)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--server", action="append", required=True)
    options.add_argument("--file", type=Path, required=True)
    options.add_argument("--name", required=True)
    options.add_argument("--seed", type=int, required=True)
    options.add_argument("--timeout", type=float, default=TIMEOUT_S)
    given = options.parse_args()
    recorder = Recorder(given.file)
    load = RecordedLoad(given.server, recorder, given.name, given.seed, Pace(timeout_s=given.timeout))
    sys.stdin.read()
    load.stop()
    recorder.close()


if __name__ == "__main__":
    main()
