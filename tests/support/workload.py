"""Load during changes of the cluster: paced writes, and counters whose reads must never go back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from itertools import islice

from covey import Client
from covey.client.errors import CoveyError, PartialFailure

LOAD_BATCH = 64


class Background:
    """A thread whose failure is raised in ``join``."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised in join
            self._error = error

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), f"still working after {timeout_s:g} s"
        if self._error is not None:
            raise self._error


class PacedLoad:
    """Puts every record once over about ``duration_s``; a write that was certainly not done is tried again."""

    def __init__(self, client: Client, records: Mapping[str, bytes], duration_s: float) -> None:
        self._client = client
        self._records = records
        self._pause_s = duration_s * LOAD_BATCH / len(records)
        self.acknowledged: dict[str, bytes] = {}
        self.unknown: dict[str, CoveyError] = {}
        self.refused: dict[str, CoveyError] = {}
        self._work = Background(self._run)

    @property
    def share_done(self) -> float:
        return (len(self.acknowledged) + len(self.unknown) + len(self.refused)) / len(self._records)

    def join(self, timeout_s: float) -> None:
        self._work.join(timeout_s)

    def _run(self) -> None:
        remaining = iter(self._records.items())
        next_at = time.monotonic()
        while batch := dict(islice(remaining, LOAD_BATCH)):
            self._put(batch)
            next_at = max(next_at + self._pause_s, time.monotonic() - 1)
            time.sleep(max(0.0, next_at - time.monotonic()))

    def _put(self, batch: dict[str, bytes]) -> None:
        try:
            done = self._client.put_many(batch, timeout=15)
        except PartialFailure as failure:
            done = failure.done
            for key, error in failure.failed.items():
                assert isinstance(error, CoveyError), repr(error)
                (self.unknown if error.maybe_applied else self.refused)[key] = error
        self.acknowledged.update({key: batch[key] for key in done})


class Counters:
    """Counts up in a few keys, and reads them all the time: what is read never goes back."""

    KEYS = 16

    def __init__(self, make_client: Callable[[], Client]) -> None:
        self._make_client = make_client
        self._stopping = threading.Event()
        self.acknowledged = dict.fromkeys(range(self.KEYS), 0)
        self.reads = 0
        self.errors: list[CoveyError] = []
        self._work = [Background(self._write), Background(self._read), Background(self._read)]

    def stop(self) -> None:
        self._stopping.set()
        for work in self._work:
            work.join(30)

    @staticmethod
    def key(counter: int) -> str:
        return f"counter/{counter}"

    def _write(self) -> None:
        with self._make_client() as client:
            count = 0
            while not self._stopping.is_set():
                count += 1
                for counter in range(self.KEYS):
                    self._bump(client, counter, count)
                time.sleep(0.02)

    def _bump(self, client: Client, counter: int, count: int) -> None:
        try:
            client.put(self.key(counter), str(count), timeout=10)
            self.acknowledged[counter] = count
        except CoveyError as error:
            self.errors.append(error)

    def _read(self) -> None:
        seen = dict.fromkeys(range(self.KEYS), 0)
        with self._make_client() as client:
            while not self._stopping.is_set():
                for counter in range(self.KEYS):
                    least = max(seen[counter], self.acknowledged[counter])
                    try:
                        value = client.get(self.key(counter), timeout=10)
                    except CoveyError as error:
                        self.errors.append(error)
                        continue
                    self.reads += 1
                    count = int(value or 0)
                    assert count >= least, f"{self.key(counter)}: read {count} after {least}"
                    seen[counter] = count
                time.sleep(0.01)
