"""How fast, how evenly and with how much memory films are collected, against TMDB's stand-in in a process of its own.

    python -m benchmarks.collection rate                      # 38 a second under a limit of 40, 50 ms latency
    python -m benchmarks.collection window FILE [FILE ...]    # the training window of 2026-01-01, no minimum of votes

`rate` counts what arrived at the server. `window` compares the requests with the fewest that are possible (20 films a
page) and shows the memory of the collecting process, whose catalogue is in the server's.
"""

import argparse
import asyncio
import multiprocessing
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from pydantic import SecretStr
from rich.console import Console
from rich.progress import Progress as Bar

from movie_platform.partitions import training_window
from movie_platform.tmdb.catalogue import read_catalogue, synthetic_films
from movie_platform.tmdb.client import TmdbClient
from movie_platform.tmdb.collection import Progress, collect
from movie_platform.tmdb.pacing import Pacer
from movie_platform_tests.stand_in import Behaviour, StandIn

_TOKEN = "benchmark"  # noqa: S105
_DAY = date(2026, 1, 1)


def _serve(pipe: Connection, files: list[Path], behaviour: Behaviour) -> None:
    films = [film for file in files for film in read_catalogue(file)] or synthetic_films(_DAY)
    with StandIn(films, token=_TOKEN, behaviour=behaviour) as tmdb:
        pipe.send((tmdb.url, len(films)))
        pipe.recv()
        pipe.send(([(request.arrived, request.status) for request in tmdb.requests], tmdb.most_connections))


@contextmanager
def _server(files: list[Path], behaviour: Behaviour) -> Iterator[tuple[str, int, Connection]]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, files, behaviour), daemon=True)
    process.start()
    theirs.close()  # so that the end of the server ends the wait for it
    try:
        url, films = ours.recv()
        yield url, films, ours
    finally:
        ours.close()
        process.join(timeout=10)


def _rate(arguments: argparse.Namespace) -> dict[str, Any]:
    async def run(url: str, bar: Bar) -> None:
        task = bar.add_task("requests", total=arguments.seconds)
        begun = time.monotonic()
        pacer = Pacer(arguments.rate)
        async with TmdbClient(base_url=url, token=SecretStr(_TOKEN), pacer=pacer) as client:

            async def worker(number: int) -> None:
                page = number
                while time.monotonic() - begun < arguments.seconds:
                    await client.get("/discover/movie", {"page": 1 + page % 500})
                    page += 16
                    bar.update(task, completed=time.monotonic() - begun)

            await asyncio.gather(*(worker(number) for number in range(16)))

    behaviour = Behaviour(latency=arguments.latency, limit=arguments.limit)
    with _server([], behaviour) as (url, _, pipe), Bar(transient=True) as bar:
        asyncio.run(run(url, bar))
        pipe.send("stop")
        received, connections = pipe.recv()
    arrivals = [arrived for arrived, _ in received]
    gaps = sorted(later - earlier for earlier, later in pairwise(arrivals))
    rate = (len(arrivals) - 1) / (arrivals[-1] - arrivals[0])
    return {
        "requests": len(arrivals),
        "a second": round(rate, 2),
        "share of the rate that was set": f"{rate / arguments.rate:.1%}",
        "answered 429": sum(status == 429 for _, status in received),  # noqa: PLR2004
        "most in any second": max(
            sum(arrived <= other < arrived + 1 for other in arrivals[place : place + 99])
            for place, arrived in enumerate(arrivals)
        ),
        "milliseconds between two: median": round(1000 * median(gaps), 1),
        "1 %, 99 %": [round(1000 * gaps[int(len(gaps) * share)], 1) for share in (0.01, 0.99)],
        "most connections": connections,
    }


def _window(arguments: argparse.Namespace) -> dict[str, Any]:
    window = training_window(_DAY)
    console = Console(stderr=True)
    memory: list[tuple[int, float]] = []

    def show(progress: Progress) -> None:
        memory.append((progress.films, _megabytes()))
        console.print(f"{progress.films:,} of {progress.announced:,} films, {memory[-1][1]:.0f} MB")

    async def run(url: str) -> Any:
        async with TmdbClient(base_url=url, token=SecretStr(_TOKEN), pacer=Pacer(sys.maxsize)) as client:
            return await collect(
                client,
                first=window.first,
                last=window.last,
                min_vote_count=0,
                include_adult=True,
                on_progress=show,
            )

    with _server(arguments.files, Behaviour()) as (url, films, pipe):
        before = _megabytes()
        begun = time.monotonic()
        collection = asyncio.run(run(url))
        seconds = time.monotonic() - begun
        pipe.send("stop")
        pipe.recv()
    fewest = -(-len(collection.items) // 20)
    return {
        "window": f"{window.first} to {window.last}",
        "films in the catalogue": films,
        "films collected": len(collection.items),
        "announced": collection.announced,
        "missing": collection.missing,
        "requests": collection.requests,
        "fewest possible": fewest,
        "more than that": f"{collection.requests / fewest - 1:.2%}",
        "seconds": round(seconds, 1),
        "megabytes before": round(before),
        "megabytes at the peak": round(_megabytes()),
        "kilobytes a film": round(1024 * (_megabytes() - before) / len(collection.items), 2),
    }


def _megabytes() -> float:
    """The most memory that this process has had (Linux counts in kilobytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Run the measurement that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    measurements = parser.add_subparsers(required=True)
    rate = measurements.add_parser("rate", help="requests a second under a limit")
    rate.set_defaults(measure=_rate)
    rate.add_argument("--rate", type=float, default=38, help="TMDB_REQUESTS_PER_SECOND")
    rate.add_argument("--limit", type=int, default=40, help="requests that the server takes in any second")
    rate.add_argument("--latency", type=float, default=0.05, help="seconds that each answer takes")
    rate.add_argument("--seconds", type=float, default=60, help="how long")
    window = measurements.add_parser("window", help="one large window")
    window.set_defaults(measure=_window)
    window.add_argument("files", type=Path, nargs="+", help="catalogue files, as of TMDB_CATALOGUE")
    arguments = parser.parse_args()
    for name, value in arguments.measure(arguments).items():
        Console().print(f"{name}: {value}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
