"""How the time, the memory and the size of a training grow with the number of films.

    python -m benchmarks.training_scale [--sizes 10000 30000 60000 120000 240000] [--catalogue FILE ...] [--json]

The films are invented (`benchmarks.invented`), all with an overview. With catalogues they are a random part of the
files' films with at least 10 votes, as many of them as have no overview there, and invented ones only when the files
have too few. What is timed is `train` with the default configuration and the bundle as bytes, in a fresh process
for each size, whose peak of memory is thus its own. Making the table of films, as `trained_bundle` does from the tables
of its days, is timed apart. Time of processors counts what the process used of them, whoever else was at work.

The progress is on standard error, the figures are on standard output. Needs Linux.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.catalogues import existing_file, read
from benchmarks.common import add_config_argument, describe_machine, figures_console, training_config
from benchmarks.invented import varied_films
from movie_platform.rating_model.bundle import Bundle
from movie_platform.rating_model.config import TrainingConfig
from movie_platform.rating_model.films import MIN_FILMS, MIN_VOTES, latest_films
from movie_platform.rating_model.training import train
from movie_platform.tmdb.films import read_table

__all__ = ["Films", "Trained", "films_of_size", "main", "train_apart"]

SIZES: Final = (10_000, 30_000, 60_000, 120_000, 240_000)

_LIMITS_AT: Final = 120_000
_MOST_SECONDS: Final = 180.0
_MOST_MEMORY: Final = 4096.0
_MOST_BUNDLE: Final = 5.0
"""What the design allows for so many films: seconds, and MiB of memory and of the bundle."""

_SEED: Final = 1
_PROGRESS = Console(stderr=True, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Films:
    """The films of one training. Where ``real`` is less than all, the others are invented."""

    table: pd.DataFrame
    real: int

    @property
    def without_overview(self) -> int:
        """How many have none."""
        return int((self.table["overview"] == "").sum())


@dataclass(frozen=True)
class Trained:
    """What one training took: seconds, and MiB.

    ``table_seconds`` and ``table_memory`` (the process's memory when the table exists) are before what is measured.
    """

    films: int
    terms: int
    features: int
    table_seconds: float
    table_memory: float
    train_seconds: float
    bundle_seconds: float
    processor_seconds: float
    most_memory: float
    bundle_size: float

    @property
    def seconds(self) -> float:
        """Of training and bundle."""
        return self.train_seconds + self.bundle_seconds


def films_of_size(count: int, real: pd.DataFrame | None) -> Films:
    """Return so many films: a random part of ``real``, a table of ``latest_films``, and invented ones when it is short.

    All are marked as synthetic as soon as one is invented, since training refuses to mix.
    """
    if real is None:
        return Films(varied_films(count, seed=_SEED), real=0)
    drawn = real.sample(min(count, len(real)), random_state=_SEED)
    missing = count - len(drawn)
    if not missing:
        return Films(drawn.reset_index(drop=True), real=count)
    invented = varied_films(missing, seed=_SEED, first_id=int(real["id"].max()) + 1)
    return Films(pd.concat([drawn.assign(synthetic=True), invented], ignore_index=True), real=len(drawn))


def train_apart(films: pd.DataFrame, config: TrainingConfig, *, threads: int) -> Trained:
    """Train in a process of its own. Raises what ``train`` raises, and BrokenProcessPool when the process is killed."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "films.parquet")
        films.to_parquet(file)
        # Spawned, not forked: it has no memory of ours.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            return process.submit(_train, file, config, threads).result()


def _train(file: Path, config: TrainingConfig, threads: int) -> Trained:
    begun = time.monotonic()
    films = latest_films([read_table(file.read_bytes()).to_pandas()])
    table_seconds, table_memory = time.monotonic() - begun, _memory("VmRSS")
    begun, processors = time.monotonic(), time.process_time()
    model = train(films, config, threads=threads)
    trained = time.monotonic()
    day = date(2026, 1, 5)
    data = Bundle.make(model, partition=day, code_version="benchmark", days_used=[day]).to_bytes()
    done, processor_seconds, most_memory = time.monotonic(), time.process_time() - processors, _memory("VmHWM")
    Bundle.from_bytes(data).check_probes()  # what nobody can read is no bundle
    return Trained(
        films=len(films),
        terms=len(model.encoder.text.terms),
        features=len(model.encoder.feature_names),
        table_seconds=table_seconds,
        table_memory=table_memory,
        train_seconds=trained - begun,
        bundle_seconds=done - trained,
        processor_seconds=processor_seconds,
        most_memory=most_memory,
        bundle_size=len(data) / 2**20,
    )


def _memory(name: str) -> float:
    """MiB of this process: VmRSS now, VmHWM at its peak. The peak of resource.getrusage may be its parent's."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[name].split()[0]) / 1024


def _within_limits(trained: Trained) -> dict[str, bool]:
    """What the design asks of the size that it names, in words."""
    return {
        f"{_LIMITS_AT:,} films in under {_MOST_SECONDS:g} s": trained.seconds < _MOST_SECONDS,
        f"{_LIMITS_AT:,} films in under {_MOST_MEMORY / 1024:g} GiB": trained.most_memory < _MOST_MEMORY,
        f"a bundle of {_LIMITS_AT:,} films under {_MOST_BUNDLE:g} MiB": trained.bundle_size < _MOST_BUNDLE,
    }


def _print(machine: str, runs: Sequence[tuple[Films, Trained]]) -> None:
    console = figures_console()
    console.print(machine, soft_wrap=True)
    table = Table(box=box.SIMPLE, pad_edge=False, collapse_padding=True)
    columns = ("films", "real", "no overview", "terms", "features", "table s", "train s", "bundle s", "processors s")
    for name in (*columns, "memory before MiB", "at the peak", "bundle MiB"):
        table.add_column(name, justify="right")
    for films, trained in runs:
        table.add_row(
            f"{trained.films:,}",
            f"{films.real:,}",
            f"{films.without_overview:,}",
            f"{trained.terms:,}",
            f"{trained.features:,}",
            f"{trained.table_seconds:.1f}",
            f"{trained.train_seconds:.1f}",
            f"{trained.bundle_seconds:.1f}",
            f"{trained.processor_seconds:.1f}",
            f"{trained.table_memory:,.0f}",
            f"{trained.most_memory:,.0f}",
            f"{trained.bundle_size:.2f}",
        )
    console.print(table)
    for _, trained in runs:
        if trained.films == _LIMITS_AT:
            for sentence, holds in _within_limits(trained).items():
                console.print(f"{'yes' if holds else 'NO '}  {sentence}", style=None if holds else "red")


def _document(machine: str, config: TrainingConfig, runs: Sequence[tuple[Films, Trained]]) -> dict[str, Any]:
    return {
        "machine": machine,
        "config": config.model_dump(mode="json"),
        "sizes": [
            {
                **asdict(trained),
                "seconds": trained.seconds,
                "real": films.real,
                "invented": trained.films - films.real,
                "without_overview": films.without_overview,
            }
            for films, trained in runs
        ],
        "within_limits": {
            sentence: holds
            for _, trained in runs
            if trained.films == _LIMITS_AT
            for sentence, holds in _within_limits(trained).items()
        },
    }


def _size(text: str) -> int:
    if not text.isdecimal() or int(text) < MIN_FILMS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of films that can be trained on, {MIN_FILMS} or more"
        )
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print. The result is 2 when it could not be measured; limits that are not kept are only told."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training_scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sizes", type=_size, nargs="+", default=SIZES, metavar="FILMS", help="numbers of films")
    parser.add_argument(
        "--catalogue",
        type=existing_file,
        action="append",
        default=[],
        metavar="FILE",
        help="take films from here first: one TMDB item a line, gzip or not; may be given several times",
    )
    add_config_argument(parser)
    parser.add_argument("--threads", type=int, default=1, help="of LightGBM; one, as the platform has")
    parser.add_argument("--json", action="store_true", help="print the figures for programs, not rounded")
    parsed = parser.parse_args(arguments)
    try:
        return _run(parsed, training_config(parsed.config))
    except (ValueError, BrokenProcessPool) as error:
        _PROGRESS.print(f"Error: {error}", markup=False)
    except KeyboardInterrupt:
        _PROGRESS.print("interrupted")
    return 2


def _run(arguments: argparse.Namespace, config: TrainingConfig) -> int:
    machine = f"{describe_machine()}; {arguments.threads} thread{'s' * (arguments.threads > 1)}"
    real = None
    if arguments.catalogue:
        with _PROGRESS.status("reading the catalogues"):
            real = latest_films(read(path).films for path in arguments.catalogue)
        _PROGRESS.print(f"{len(real):,} films of the catalogues have at least {MIN_VOTES} votes")
    runs = []
    for size in arguments.sizes:
        films = films_of_size(size, real)
        what = f"{size:,} films, {films.real:,} of them real"
        with _PROGRESS.status(what):
            trained = train_apart(films.table, config, threads=arguments.threads)
        _PROGRESS.print(f"{what}: {trained.seconds:.1f} s, {trained.most_memory:,.0f} MiB")
        runs.append((films, trained))
    if arguments.json:
        print(json.dumps(_document(machine, config, runs), indent=1, allow_nan=False))  # noqa: T201
    else:
        _print(machine, runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
