"""Detects callbacks that block the event loop, and logs where, for debugging and tests.

While a callback runs, no message is answered and no heartbeat is sent. ``LoopWatch`` repeatedly sets a short timer on
the loop. A separate thread checks whether the timer is overdue; if so, it samples which code the loop's thread runs.
When the timer fires late, ``loop.held`` is logged, but only for the processor time that the loop's thread used: on a
busy machine it may only have waited for a processor.

The thread wakes a hundred times a second, so a watch is started only if debug events are logged.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from ..events import Event, EventLog

HELD_S = 0.02
"""Minimum processor time of a callback, in seconds, that is logged."""
BEAT_S = 0.02
SAMPLE_S = 0.01
PACKAGE = str(Path(__file__).parents[2])


class CodeLocation(NamedTuple):
    """A line of covey's code."""

    file: str
    """The path relative to the package; empty for code outside of it."""
    function: str
    line: int


OUTSIDE = CodeLocation("", "", 0)


class LoopWatch:
    """Watches the running event loop until closed. To be created in the loop's thread."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._watched = threading.get_ident()
        self._due_s = time.monotonic() + BEAT_S
        self._cpu_s = time.thread_time()
        self._samples: Counter[CodeLocation] = Counter()
        self._closing = threading.Event()
        self._timer = self._loop.call_later(BEAT_S, self._beat)
        self._thread = threading.Thread(target=self._sample, name="covey-loop-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._timer.cancel()
        self._thread.join()

    def _beat(self) -> None:
        cpu_s = time.thread_time()
        held_s = min(time.monotonic() - self._due_s, cpu_s - self._cpu_s)
        samples, self._samples = self._samples, Counter()
        if held_s > HELD_S:
            self._log.emit(Event.LOOP_HELD, held_ms=round(1000 * held_s, 1), where=_busiest(samples))
        self._cpu_s = time.thread_time()
        self._due_s = time.monotonic() + BEAT_S
        self._timer = self._loop.call_later(BEAT_S, self._beat)

    def _sample(self) -> None:
        while not self._closing.wait(SAMPLE_S):
            if time.monotonic() - self._due_s > SAMPLE_S:
                self._samples[innermost(sys._current_frames().get(self._watched))] += 1


def innermost(frame: FrameType | None) -> CodeLocation:
    """Return the innermost location in covey's code of a thread's stack; OUTSIDE if there is none."""
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(PACKAGE) and code.co_filename != __file__:
            return CodeLocation(
                code.co_filename[len(PACKAGE) + 1 :], code.co_name, frame.f_lineno or code.co_firstlineno
            )
        frame = frame.f_back
    return OUTSIDE


def _busiest(samples: Counter[CodeLocation]) -> str:
    """Return the function sampled most often, at its line sampled most often, as ``file:line function``."""
    if not samples:
        return "unknown"
    functions: Counter[tuple[str, str]] = Counter()
    for location, count in samples.items():
        functions[location.file, location.function] += count
    busiest = functions.most_common(1)[0][0]
    lines = {
        location.line: count
        for location, count in samples.items()
        if (location.file, location.function) == busiest
    }
    file, function = busiest
    return f"{file}:{max(lines, key=lines.__getitem__)} {function}" if file else "outside covey"
