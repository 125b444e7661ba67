"""Time that passes at once, for what waits by design."""

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

_T = TypeVar("_T")


class VirtualTime:
    """A clock that moves only when everybody in the event loop waits, and then at once.

    It stands in for `time.monotonic`, so for whatever measures time by it. `late` seconds are added to each waking.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.late = 0.0

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine in an event loop with this time."""
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(_Selector(self))) as runner:
            return runner.run(coroutine)


class _Selector(selectors.SelectSelector):
    def __init__(self, clock: VirtualTime) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout != 0:
            assert timeout is not None, "everybody waits for ever"
            self._clock.now += timeout + self._clock.late
        return ready


@pytest.fixture
def virtual_time(monkeypatch: pytest.MonkeyPatch) -> VirtualTime:
    clock = VirtualTime()
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    return clock
