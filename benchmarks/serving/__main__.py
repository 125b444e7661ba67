"""How fast the service answers, how soon it is ready and how much memory it takes, beside mlflow's, in one run.

    python -m benchmarks.serving [--bundle FILE] [--rounds 3] [--seconds 5] [--without-mlflow] [--json]

Four servers are asked about the same films over loopback, one server at a time: the service; the service with a
constant in place of the prediction; the service with the platform's table of one row in place of the row; and ``mlflow
models serve`` with a pipeline of scikit-learn's parts on trees of the same size, in an environment of its own
(``.bench/``, made from ``locks/mlflow.lock`` when it is first needed). Every round starts each of them anew, each round
beginning with another one. Then the service is asked for single films with and without a stream of batches beside them.
Shown are medians of the rounds; errors are added up, and of the memory it is the most.

Without a bundle, one is trained on invented films with the default configuration. Needs Linux and wrk. The progress is
on standard error, the figures are on standard output.
"""

import argparse
import json
import math
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.common import bundle_of, describe_machine, microseconds
from benchmarks.serving.contestants import CONSTANT, MLFLOW, SERVICE, film_of, films_to_ask, mlflow, services
from benchmarks.serving.load import Load, LoadError, find_wrk, load
from benchmarks.serving.servers import Server, ServerError, running
from movie_platform.rating_model.rows import RowPrediction, RowPredictor

_CONNECTIONS = _ONE, _MANY = 1, 16
_FILMS = 64
_FILMS_OF_BATCH = 1_000
_BATCHES = 4
_PROGRESS = Console(stderr=True, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Measured:
    """What was measured of a server."""

    ready_after: float
    """Seconds from the start of the process to its first prediction."""
    most_memory: float
    """MB, the peaks of its processes added up."""
    memory: float
    """MB after the load, what its processes share counted once."""
    loads: dict[int, Load]
    """By the number of connections."""


@dataclass(frozen=True)
class Streamed:
    """What was measured of single films with and without a stream of batches, by the number of connections."""

    alone: dict[int, Load]
    beside: dict[int, Load]
    batches: dict[int, Load]
    """The batches beside the single films; 0 connections is without any."""
    most_memory: float


@dataclass(frozen=True)
class Figure:
    """A figure that the service must reach, or that is only told."""

    name: str
    found: float
    limit: float
    unit: str
    at_most: bool

    @property
    def reached(self) -> bool:
        """Whether it is."""
        return self.found <= self.limit if self.at_most else self.found >= self.limit


def _measure(server: Server, expected: Sequence[RowPrediction], seconds: int) -> Measured:
    """Start a server, see that its answers are right, and load it."""
    with tempfile.TemporaryDirectory() as folder, running(server, Path(folder)) as started:
        for body, prediction in zip(server.bodies, expected, strict=True):
            answer = started.ask(server.path, body)
            if not _is_right(server.name, answer, prediction):
                raise ServerError(f"{server.name} answers wrongly: {answer} where {prediction} belongs")
        post = partial(load, started.url(server.path), server.bodies)
        post(connections=_MANY, seconds=1)  # to warm up
        loads = {connections: post(connections=connections, seconds=seconds) for connections in _CONNECTIONS}
        most, now = started.memory()
    _PROGRESS.print(
        f"  {server.name}: {', '.join(f'{one.per_second:,.0f}' for one in loads.values())} requests a second"
    )
    return Measured(ready_after=started.ready_after, most_memory=most, memory=now, loads=loads)


def _is_right(name: str, answer: Any, prediction: RowPrediction) -> bool:
    if name == MLFLOW:
        # Another model: what it gives is a number, and another one for most films.
        return len(answer["predictions"]) == 1 and math.isfinite(answer["predictions"][0])
    return name == CONSTANT or _as_row(answer) == prediction


def _as_row(answer: Any) -> RowPrediction:
    interval = answer["interval"]
    return RowPrediction(answer["prediction"], interval["low"], interval["high"], answer["situation"])


def _stream(service: Server, rows: RowPredictor, seconds: int) -> Streamed:
    """Load the service with single films, with and without one connection that sends batches all the time."""
    batches = [films_to_ask(_FILMS_OF_BATCH, seed=seed) for seed in range(10, 10 + _BATCHES)]
    bodies = [json.dumps({"films": films}) for films in batches]
    path = f"{service.path}/batch"
    with tempfile.TemporaryDirectory() as folder, running(service, Path(folder)) as started:
        answers = started.ask(path, bodies[0])["predictions"]
        if list(map(_as_row, answers)) != [rows.predict(film_of(film)) for film in batches[0]]:
            raise ServerError(f"{service.name} answers a batch otherwise than one film at a time")
        singles = partial(load, started.url(service.path), service.bodies)
        stream = partial(load, started.url(path), bodies, connections=1)
        singles(connections=_MANY, seconds=1)
        alone, beside, sent = {}, {}, {0: stream(seconds=seconds)}
        for connections in _CONNECTIONS:
            alone[connections] = singles(connections=connections, seconds=seconds)
            with ThreadPoolExecutor(1) as pool:
                # The batches begin before the single films and end after them.
                sending = pool.submit(stream, seconds=seconds + 2)
                time.sleep(1)
                beside[connections] = singles(connections=connections, seconds=seconds)
                sent[connections] = sending.result()
        most, _ = started.memory()
    _PROGRESS.print(f"  beside batches: p99 {', '.join(f'{one.p99:.1f} ms' for one in beside.values())}")
    return Streamed(alone=alone, beside=beside, batches=sent, most_memory=most)


def _median(loads: Iterable[Load]) -> Load:
    found = list(loads)
    return Load(
        per_second=statistics.median(one.per_second for one in found),
        p50=statistics.median(one.p50 for one in found),
        p99=statistics.median(one.p99 for one in found),
        requests=sum(one.requests for one in found),
        errors=sum(one.errors for one in found),
    )


def _medians(rounds: Sequence[dict[int, Load]]) -> dict[int, Load]:
    return {connections: _median(one[connections] for one in rounds) for connections in rounds[0]}


def _of_all(rounds: Sequence[Measured]) -> Measured:
    return Measured(
        ready_after=statistics.median(one.ready_after for one in rounds),
        most_memory=max(one.most_memory for one in rounds),
        memory=max(one.memory for one in rounds),
        loads=_medians([one.loads for one in rounds]),
    )


def _stream_of_all(rounds: Sequence[Streamed]) -> Streamed:
    return Streamed(
        alone=_medians([one.alone for one in rounds]),
        beside=_medians([one.beside for one in rounds]),
        batches=_medians([one.batches for one in rounds]),
        most_memory=max(one.most_memory for one in rounds),
    )


def _figures(one_prediction: float, servers: dict[str, Measured], streamed: Streamed) -> list[Figure]:
    """Return the figures that the design asks for, as far as they were measured."""
    service, constant, other = servers[SERVICE], servers[CONSTANT], servers.get(MLFLOW)
    figures = [Figure("one prediction in process, median", one_prediction / 1000, 0.15, "ms", at_most=True)]
    for connections in _CONNECTIONS:
        mine = service.loads[connections]
        at = f"{connections} connection{'s' * (connections > 1)}"
        if other:
            times = mine.per_second / other.loads[connections].per_second
            figures.append(Figure(f"as many requests a second as mlflow, {at}", times, 25, "times", at_most=False))
        share = 100 * mine.per_second / constant.loads[connections].per_second
        figures.append(Figure(f"of the requests a second of a constant, {at}", share, 40, "%", at_most=False))
    if other:
        share = 100 * service.loads[_MANY].p99 / other.loads[_MANY].p99
        figures.append(Figure(f"p99 beside mlflow's, {_MANY} connections", share, 5, "%", at_most=True))
    memory = max(service.most_memory, streamed.most_memory)
    return [
        *figures,
        Figure("ready after", service.ready_after, 5, "s", at_most=True),
        Figure("most memory, batches included", memory, 200, "MB", at_most=True),
    ]


def _document(
    machine: str, servers: dict[str, Measured], streamed: Streamed, figures: Sequence[Figure]
) -> dict[str, Any]:
    def by_connections(loads: dict[int, Load]) -> dict[int, Any]:
        return {connections: one._asdict() for connections, one in loads.items()}

    return {
        "machine": machine,
        "servers": {name: {**asdict(one), "loads": by_connections(one.loads)} for name, one in servers.items()},
        "stream": {
            "alone": by_connections(streamed.alone),
            "beside": by_connections(streamed.beside),
            "batches": by_connections(streamed.batches),
            "most_memory": streamed.most_memory,
        },
        "figures": [{**asdict(figure), "reached": figure.reached} for figure in figures],
    }


def _print(machine: str, servers: dict[str, Measured], streamed: Streamed, figures: Sequence[Figure]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(machine)
    table = Table("server", "ready after", "most memory", "memory after", title="One server at a time")
    for name, one in servers.items():
        table.add_row(name, f"{one.ready_after:.2f} s", f"{one.most_memory:.0f} MB", f"{one.memory:.0f} MB")
    console.print(table)
    loads = {(name, number): one.loads[number] for name, one in servers.items() for number in _CONNECTIONS}
    _print_loads(console, "Single films", loads)
    loads = {("batches alone", _ONE): streamed.batches[0]}
    for number in _CONNECTIONS:
        loads["films alone", number] = streamed.alone[number]
        loads["films beside batches", number] = streamed.beside[number]
        loads[f"batches beside films over {number}", _ONE] = streamed.batches[number]
    _print_loads(console, f"The service, with and without batches of {_FILMS_OF_BATCH:,}", loads)
    console.print(f"most memory with batches: {streamed.most_memory:.0f} MB")
    for figure in figures:
        verdict = "reached" if figure.reached else "[bold red]not reached[/]"
        limit = f"{'at most' if figure.at_most else 'at least'} {figure.limit:g} {figure.unit}"
        console.print(f"{figure.name}: {figure.found:.3g} {figure.unit} ({limit}): {verdict}")


def _print_loads(console: Console, title: str, loads: dict[tuple[str, int], Load]) -> None:
    table = Table("", "connections", "requests/s", "p50 ms", "p99 ms", "errors", title=title)
    for (name, connections), one in loads.items():
        numbers = (f"{one.per_second:,.1f}", f"{one.p50:,.2f}", f"{one.p99:,.2f}", f"{one.errors}")
        table.add_row(name, f"{connections}", *numbers)
    console.print(table)


def main() -> int:
    """Measure and print. The result is 1 when a request failed or nothing could be measured."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, help="a bundle's file; otherwise one is trained")
    parser.add_argument("--rounds", type=int, default=3, help="how often each server is measured")
    parser.add_argument("--seconds", type=int, default=5, help="of each load")
    parser.add_argument("--without-mlflow", action="store_true", help="measure our own servers only")
    parser.add_argument("--json", action="store_true", help="print the figures for programs")
    arguments = parser.parse_args()
    # Whoever ends this ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    try:
        return _run(arguments)
    except (LoadError, ServerError) as error:
        _PROGRESS.print(f"{error}", markup=False)
    except KeyboardInterrupt:
        _PROGRESS.print("interrupted; the servers are stopped")
    return 1


def _run(arguments: argparse.Namespace) -> int:
    find_wrk()
    machine = describe_machine()
    bundle = bundle_of(arguments.bundle, _PROGRESS)
    rows, films = RowPredictor(bundle.model), films_to_ask(_FILMS, seed=3)
    expected = [rows.predict(film_of(film)) for film in films]
    more = [film_of(film) for film in films_to_ask(2_000, seed=4)]
    times, _ = microseconds([partial(rows.predict, film) for film in more])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        servers = services(bundle, folder, films)
        if not arguments.without_mlflow:
            _PROGRESS.print("mlflow's environment and model")
            servers.append(mlflow(bundle.metadata.config, folder, films))
        rounds: dict[str, list[Measured]] = {server.name: [] for server in servers}
        streams = []
        for number in range(arguments.rounds):
            _PROGRESS.print(f"round {number + 1} of {arguments.rounds}")
            first = number % len(servers)
            for server in servers[first:] + servers[:first]:
                rounds[server.name].append(_measure(server, expected, arguments.seconds))
            streams.append(_stream(servers[0], rows, arguments.seconds))
    measured = {name: _of_all(found) for name, found in rounds.items()}
    streamed = _stream_of_all(streams)
    figures = _figures(float(np.median(times)), measured, streamed)
    if arguments.json:
        print(json.dumps(_document(machine, measured, streamed, figures), indent=1))  # noqa: T201
    else:
        _print(machine, measured, streamed, figures)
    loads = [load for one in measured.values() for load in one.loads.values()]
    loads += [load for part in (streamed.alone, streamed.beside, streamed.batches) for load in part.values()]
    return int(any(load.errors for load in loads))


if __name__ == "__main__":
    sys.exit(main())
