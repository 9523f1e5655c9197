"""An asyncio loop whose time jumps to the next timer instead of passing."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


class NothingLeftToHappen(AssertionError):
    """Every task waits and no timer is set: a deadlock."""


class _JumpingSelector(selectors.SelectSelector):
    """Advances the loop's clock by as long as a real selector would have slept."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise NothingLeftToHappen
        self.now_s += max(0.0, timeout)
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` in virtual time, in as little real time as its work takes."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make a test of a coroutine function that runs in virtual time."""

    @functools.wraps(test)
    def timeless(*args: P.args, **kwargs: P.kwargs) -> None:
        run(test(*args, **kwargs))

    return timeless
