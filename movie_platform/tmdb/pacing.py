"""When a request may be sent: the rate, the number at once, and pauses, for all who share a pacer.

What a request is and whether it is sent again belongs in `client`.
"""

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["MAX_CONNECTIONS", "Pacer"]

MAX_CONNECTIONS = 16
"""TMDB's content network allows 20 connections for one address; some are left to other programs."""

_CATCHING_UP = 0.99  # of the interval: how close requests may follow one another while lateness is made up
_USUAL_LATENESS = 0.1  # of the interval: a sleeper wakes so late, which must not add up
_SLOWEST = 32  # times the interval
_RECOVERY = 0.98  # of the interval, with each request that passes
_POLL_SECONDS = 0.01  # between two looks for a free place, which only several event loops ever need


class Pacer:
    """Lets requests pass one by one, evenly spaced, at a stated rate, and at most 16 at once.

    Each takes the next slot of a schedule: the slot before plus the interval, or now when nobody has passed for
    longer. Slots follow from slots, not from the moment a sleeper really wakes, so late wake-ups do not add up to a
    lower rate. Nor do they end in a burst: whoever is late passes hardly faster than the rate (1 %), and a slot that
    nobody took is not saved up.

    One pacer may be shared by clients in several threads and event loops. An infinite rate spaces nothing; pauses and
    the number at once hold all the same.
    """

    def __init__(self, requests_per_second: float) -> None:
        if not requests_per_second > 0:
            raise ValueError(f"requests_per_second must be a positive number, not {requests_per_second!r}")
        self._shortest_interval = self._interval = 1 / requests_per_second
        self._next_slot = -math.inf
        self._passed = -math.inf  # when the last one passed, or should have if that was hardly earlier
        self._paused_until = -math.inf
        self._under_way = 0
        # Held for arithmetic only; an asyncio.Lock, held while waiting, would tie it to one event loop.
        self._lock = threading.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one's turn, and count as under way inside the block.

        Up to 16 callers of one event loop pass in the order in which they asked, but for pauses.
        """
        while not self._take_place():  # noqa: ASYNC110 an event would belong to one event loop
            await asyncio.sleep(_POLL_SECONDS)
        try:
            slot = -math.inf
            while True:
                slot, seconds = self._try_to_pass(slot)
                if seconds <= 0:
                    break
                await asyncio.sleep(seconds)
            yield
        finally:
            with self._lock:
                self._under_way -= 1

    def pause(self, seconds: float, *, slow_down: bool = False) -> None:
        """Let nobody pass for so long, those included that have been waiting for a slot.

        With `slow_down`, the rate is halved as well, at most once a pause and at most to a 32nd; it recovers by 2 %
        with each request that passes.
        """
        with self._lock:
            now = time.monotonic()
            if slow_down and now >= self._paused_until:
                self._interval = min(2 * self._interval, _SLOWEST * self._shortest_interval)
            self._paused_until = max(self._paused_until, now + seconds)

    def _take_place(self) -> bool:
        with self._lock:
            free = self._under_way < MAX_CONNECTIONS
            self._under_way += free
            return free

    def _try_to_pass(self, slot: float) -> tuple[float, float]:
        """Return the caller's slot, a new one if it has none or a pause has taken it, and the seconds to wait."""
        with self._lock:
            now = time.monotonic()
            if slot < self._paused_until or math.isinf(slot):
                slot = max(self._next_slot, self._paused_until, now)
                self._next_slot = slot + self._interval
            due = max(slot, self._passed + _CATCHING_UP * self._interval)
            if due <= now:
                self._passed = max(due, now - _USUAL_LATENESS * self._interval)
                self._interval = max(self._shortest_interval, _RECOVERY * self._interval)
            return slot, due - now
