"""Where batches are predicted: one after the other, in a thread, so that single predictions go on beside them.

What belongs here: the queue and giving way. What does not: what is done with a film.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, TypeVar

from serving.problems import Problem

__all__ = ["BatchWorker", "giving_way"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_PLACES: Final = 8
"""Batches that are read, wait or are worked on at a time: each may hold megabytes."""


class BatchWorker:
    """One thread, since more would only share the interpreter's lock, and a few places in front of it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        self._taken = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place while the block lasts, from before the body is read. Raises the 503 when all are taken."""
        if self._taken >= _PLACES:
            raise Problem(
                503, "too many batches are under way; send them one after the other", headers={"Retry-After": "1"}
            )
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """Do the work in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self) -> None:
        """Take no more work."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def giving_way(items: Iterable[_Item]) -> Iterator[_Item]:
    """Yield the items, and the interpreter to whoever waits for it after each.

    Otherwise a thread that computes keeps it for 5 ms at a time, as long as fifty predictions take.
    """
    for item in items:
        yield item
        time.sleep(0)
