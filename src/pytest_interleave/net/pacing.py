"""The way back to a client, for the answers of a route that has faults: what the server writes, slowly, cut or never.

An aiohttp handler writes to the transport of its connection. This stands between the two from the first answer that has
faults on, so that no later answer overtakes what is still under way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from pytest_interleave.net.faults import HEALTHY, Faults
from pytest_interleave.net.wire import GAP_SECONDS, reset_when_closed


class PacedTransport:
    """Writes to another transport when the time has come; all else is that one's affair."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        #: When, and what is to be done then.
        self._queue: deque[tuple[float, Callable[[], object]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._last = 0.0
        self._is_silent = False
        self._is_closing = False
        self.begin(HEALTHY, 0.0, _tell_nobody)

    def begin(self, faults: Faults, latency: float, tell: Callable[[str], object]) -> None:
        """Let the answer that is written from now on have these faults; ``tell`` hears what strikes."""
        self._faults = faults
        self._latency = latency
        self._tell = tell
        self._sent = 0
        self._parts = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: Any) -> None:
        """Take what the server writes."""
        if self._is_silent or self._is_closing:
            return
        faults = self._faults
        now = self._loop.time()
        if faults is HEALTHY and not self._queue:
            self._transport.write(data)
            return
        content, strike = self._cut(bytes(data))
        for piece in faults.slice(content) if content else ():
            due = max(self._last + GAP_SECONDS, now + self._latency)
            if faults.bandwidth:
                due = max(self._last, now + self._latency) + len(piece) / faults.bandwidth
            self._put(due, partial(self._transport.write, piece))
        if strike:
            self._strike(strike)

    def writelines(self, pieces: Iterable[Any]) -> None:
        """Take several pieces as one."""
        self.write(b"".join(bytes(piece) for piece in pieces))

    def is_closing(self) -> bool:
        """Whether nothing more may be written."""
        return bool(self._is_closing or self._transport.is_closing())

    def close(self) -> None:
        """Close it behind what is under way."""
        if self._queue and not self._is_closing:
            self._is_closing = True
            self._put(self._last, self._transport.close)
        elif not self._queue:
            self._transport.close()

    def abort(self) -> None:
        """Close it now."""
        self._queue.clear()
        self._transport.abort()

    def _cut(self, data: bytes) -> tuple[bytes, str]:
        """Return what of it still comes through, and what strikes behind that, if anything does."""
        kept, strike = self._faults.cut(data, self._sent, self._parts)
        self._sent += len(kept)
        self._parts += 1
        return kept, strike

    def _strike(self, strike: str) -> None:
        self._is_silent = True
        self._tell(f"{strike} after {self._sent} bytes")
        if strike == "was reset":
            self._put(self._last + GAP_SECONDS, self._reset)
        elif strike == "was closed":
            self._put(self._last + GAP_SECONDS, self._transport.close)

    def _reset(self) -> None:
        reset_when_closed(self._transport)
        self.abort()

    def _put(self, due: float, act: Callable[[], object]) -> None:
        self._last = max(self._last, due, self._loop.time())
        self._queue.append((self._last, act))
        if self._timer is None:
            self._timer = self._loop.call_at(self._queue[0][0], self._look)

    def _look(self) -> None:
        """Do what is due next, and set the timer for what follows."""
        self._timer = None
        if self._queue:
            _, act = self._queue.popleft()
            if not self._transport.is_closing():
                act()
        if self._queue:
            self._timer = self._loop.call_at(self._queue[0][0], self._look)


def pace(request: Any) -> PacedTransport | None:
    """Return what stands between that request's answer and its client from now on; None if the client is gone."""
    protocol = request.protocol
    transport = protocol.transport
    if transport is None or isinstance(transport, PacedTransport):
        return transport
    protocol.transport = PacedTransport(transport)
    paced: PacedTransport = protocol.transport
    return paced


def _tell_nobody(text: str) -> None:
    """Nothing strikes a healthy answer."""
