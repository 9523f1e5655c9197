"""A TCP proxy that hands on what one server sends only after a delay: ``python -m benchmarks.programs.delaying_proxy``.

It runs as a process of its own, as a network would. The delay is changed while it runs, by a line on its standard
input; it holds for what comes from then on, and what came before is never overtaken.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import threading
from collections import deque
from typing import cast

import uvloop

from benchmarks.support.servers import end_with_parent


class Delay:
    """Of all connections, in seconds."""

    def __init__(self) -> None:
        self.seconds = 0.0


class _End(asyncio.Protocol):
    """One end of a connection: what is read there is written to the other end, later."""

    def __init__(self, delay: Delay) -> None:
        self._delay = delay
        self._held: deque[bytes] = deque()
        self._before: deque[bytes] = deque()
        """What came before there was another end."""
        self._due_at = 0.0
        self._over = False
        self._other: _End | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def join(self, other: _End) -> None:
        self._other = other
        while self._before:
            self.data_received(self._before.popleft())
        if self._over:
            other.close()

    def data_received(self, data: bytes) -> None:
        if self._other is None:
            self._before.append(data)
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._due_at = max(self._due_at, now + self._delay.seconds)
        if self._due_at <= now and not self._held:
            self._other.write(data)
            return
        self._held.append(data)
        loop.call_at(self._due_at, self._hand_on)

    def _hand_on(self) -> None:
        assert self._other is not None
        self._other.write(self._held.popleft())

    def write(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._over = True
        if self._other is not None:
            self._other.close()

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()


async def _serve(port: int, to_port: int) -> None:
    delay, none = Delay(), Delay()
    loop = asyncio.get_running_loop()
    connecting: set[asyncio.Task[None]] = set()

    async def connect(near: _End) -> None:
        far = _End(delay)
        try:
            await loop.create_connection(lambda: far, "127.0.0.1", to_port)
        except OSError:
            near.close()
            return
        far.join(near)
        near.join(far)

    def accepted() -> _End:
        near = _End(none)
        task = loop.create_task(connect(near))
        connecting.add(task)
        task.add_done_callback(connecting.discard)
        return near

    def obey() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(setattr, delay, "seconds", float(line))

    await loop.create_server(accepted, "127.0.0.1", port)
    threading.Thread(target=obey, daemon=True).start()
    print("serving", flush=True)
    await loop.create_future()


class DelayingProxy:
    """The process, for who starts it."""

    def __init__(self, port: int, to_port: int) -> None:
        command = [sys.executable, "-m", __name__, "--port", str(port), "--to-port", str(to_port)]
        self._process = subprocess.Popen(
            [*end_with_parent(), *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise RuntimeError(f"the proxy at port {port} did not start")

    @property
    def pid(self) -> int:
        return self._process.pid

    def delay(self, seconds: float) -> None:
        """Of what the server sends from now on."""
        assert self._process.stdin is not None
        print(seconds, file=self._process.stdin, flush=True)

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="to listen at")
    parser.add_argument("--to-port", type=int, required=True, help="of the server")
    options = parser.parse_args()
    uvloop.run(_serve(options.port, options.to_port))


if __name__ == "__main__":
    main()
