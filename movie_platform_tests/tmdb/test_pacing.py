"""The rate, the number at once, and pauses."""

import asyncio
import threading
import time
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from movie_platform.tmdb.pacing import MAX_CONNECTIONS, Pacer
from movie_platform_tests.tmdb.conftest import VirtualTime


def passes(pacer: Pacer, virtual_time: VirtualTime, callers: int, *, seconds: float = 0.0) -> list[tuple[int, float]]:
    """Return who passed when, for callers that all ask at once and are under way for so long."""
    passed = []

    async def caller(number: int) -> None:
        async with pacer.turn():
            passed.append((number, virtual_time.now))
            await asyncio.sleep(seconds)

    async def run() -> None:
        await asyncio.gather(*(caller(number) for number in range(callers)))

    virtual_time.run(run())
    return passed


def test_callers_pass_in_order_and_evenly_spaced(virtual_time):
    passed = passes(Pacer(4), virtual_time, 9)
    assert [number for number, _ in passed] == list(range(9))
    assert [moment for _, moment in passed] == pytest.approx([1000 + 0.25 * number for number in range(9)])


def test_late_wake_ups_do_not_lower_the_rate(virtual_time):
    virtual_time.late = 0.002
    pacer = Pacer(38)

    async def caller() -> None:
        for _ in range(100):
            async with pacer.turn():
                await asyncio.sleep(0.05)

    async def run() -> None:
        await asyncio.gather(*(caller() for _ in range(16)))

    virtual_time.run(run())
    assert 1600 / (virtual_time.now - 1000) == pytest.approx(38, rel=0.005)


def test_after_a_stall_nobody_bursts(virtual_time):
    """Lateness is made up by 1 % more than the rate, so that a limit just above it holds all the same."""
    moments: list[float] = []
    pacer = Pacer(38)

    async def caller() -> None:
        for _ in range(30):
            async with pacer.turn():
                moments.append(virtual_time.now)
                await asyncio.sleep(0.05)

    async def stall() -> None:
        await asyncio.sleep(3)
        virtual_time.now += 2  # something else held the event loop

    async def run() -> None:
        await asyncio.gather(stall(), *(caller() for _ in range(16)))

    virtual_time.run(run())
    assert len(moments) == 480
    assert min(later - earlier for earlier, later in pairwise(moments)) >= 0.89 / 38
    most_in_a_second = max(sum(start <= moment < start + 1 for moment in moments) for start in moments)
    assert most_in_a_second <= 40


def test_no_burst_after_idle_time(virtual_time):
    pacer = Pacer(4)
    passes(pacer, virtual_time, 3)
    virtual_time.now += 60
    resumed = virtual_time.now
    assert [moment - resumed for _, moment in passes(pacer, virtual_time, 3)] == pytest.approx([0, 0.25, 0.5])


def test_a_pause_holds_back_those_who_wait_already(virtual_time):
    pacer = Pacer(10)
    passed = []

    async def caller() -> None:
        async with pacer.turn():
            passed.append(virtual_time.now - 1000)

    async def run() -> None:
        waiting = [asyncio.create_task(caller()) for _ in range(4)]
        await asyncio.sleep(0.15)
        pacer.pause(5)
        pacer.pause(1)  # a shorter one shortens nothing
        await asyncio.gather(*waiting, caller())

    virtual_time.run(run())
    assert sorted(passed) == pytest.approx([0, 0.1, 5.15, 5.25, 5.35])


def test_no_more_than_16_are_under_way(virtual_time):
    passed = passes(Pacer(1000), virtual_time, 40, seconds=10)
    assert [sum(begun <= 1000 + 10 * wave < begun + 10 for _, begun in passed) for wave in (0.9, 1.9, 2.9)] == [
        MAX_CONNECTIONS,
        MAX_CONNECTIONS,
        40 - 2 * MAX_CONNECTIONS,
    ]


def test_whoever_fails_or_is_cancelled_leaves_its_place(virtual_time):
    pacer = Pacer(1000)

    async def fail() -> None:
        async with pacer.turn():
            raise RuntimeError

    async def run() -> None:
        waiting = [asyncio.create_task(fail()) for _ in range(100)]
        waiting[50].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    virtual_time.run(run())
    assert len(passes(pacer, virtual_time, MAX_CONNECTIONS)) == MAX_CONNECTIONS


def test_an_infinite_rate_spaces_nothing_and_pauses_all_the_same(virtual_time):
    pacer = Pacer(float("inf"))
    assert {moment for _, moment in passes(pacer, virtual_time, MAX_CONNECTIONS)} == {1000}
    pacer.pause(2)
    assert {moment for _, moment in passes(pacer, virtual_time, 5)} == {1002}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=40), st.integers(1, 50), st.floats(0, 0.05))
def test_whoever_comes_whenever_the_rate_holds(virtual_time, arrivals, rate, late):
    virtual_time.late = late
    pacer, moments = Pacer(rate), []

    async def caller(after: float) -> None:
        await asyncio.sleep(after)
        async with pacer.turn():
            moments.append(virtual_time.now)

    async def run() -> None:
        await asyncio.gather(*map(caller, arrivals))

    virtual_time.run(run())
    assert len(moments) == len(arrivals)
    assert all(later - earlier >= 0.89 / rate - 1e-6 for earlier, later in pairwise(moments))
    assert all(
        last - first >= (0.99 * between - 0.1) / rate - 1e-6
        for position, first in enumerate(moments)
        for between, last in enumerate(moments[position + 1 :], start=1)
    )


def test_event_loops_in_several_threads_share_rate_and_places():
    pacer = Pacer(400)
    under_way, most, done = 0, 0, 0
    counting = threading.Lock()

    async def caller() -> None:
        nonlocal under_way, most, done
        async with pacer.turn():
            with counting:
                under_way += 1
                most = max(most, under_way)
            await asyncio.sleep(0.05)
            with counting:
                under_way -= 1
                done += 1

    async def run() -> None:
        await asyncio.gather(*(caller() for _ in range(12)))

    threads = [threading.Thread(target=lambda: asyncio.run(run())) for _ in range(4)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == 48
    assert most <= MAX_CONNECTIONS
    assert time.monotonic() - begun >= 47 * 0.99 / 400


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(ValueError, match="positive number"):
        Pacer(rate)
