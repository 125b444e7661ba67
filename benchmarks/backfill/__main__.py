"""What a backfill costs beside the work: ours, and one run a day with Dagster's default executor, in one run.

    python -m benchmarks.backfill [--days 30] [--one-run-a-day-until 30] [--full] [--config FIELD=VALUE] [--json]

Both make every asset of the same days, from the built-in synthetic catalogue, with the same checks, into an empty
folder and an empty instance of Dagster (SQLite), and both are launched as from a terminal:

- in ranges: one process that does what `movie-platform backfill` does, in runs of at most 31 days;
- one run a day: `dagster job execute` for each day, one after another, with Dagster's default executor, which has a
  process for each step, as many at a time as there are cores. It is the same process that Dagster's run launcher
  starts for each run of a backfill from the UI; the daemon's own time (some 5 s a run) is not counted.

**Wall** is from the start of the first process to the end of the last. **The work** is what the functions of the
assets, their checks and their IO managers took for the days, by clocks inside of them (`timed_platform`), added up:
also where two steps were at work at a time, and where a process of a step did something for the first time, such as an
import within a function. Both make the work of one run a day look larger, and what it costs beside it smaller.
**Overhead** is wall without work. **Processors** is the time that the processes had of them, whoever else was at work.

Ours is measured before and after the other, and the slower one counts. In the end both must have recorded the same
days with the same bytes and the same results of the same checks.

The training is a quick one, so that the work is small but real; `--full` trains as the platform does, which says more
about the work than about what is beside it. One run a day is measured until the day that is asked for, and what it
took until earlier ones is read off on the way. Needs Linux and, on two cores, about 40 minutes for 30 days.
The progress is on standard error, the figures are on standard output.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import dagster as dg
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks.backfill.timed_platform import Place
from benchmarks.common import add_config_argument, describe_machine, figures_console, training_config
from movie_platform.assets import ASSETS
from movie_platform.assets.policy import FIRST_PARTITION
from movie_platform.automation import DAILY
from movie_platform.dagster_internals import recorded_versions
from movie_platform.partitions import days, last_complete_day
from movie_platform.rating_model.config import TrainingConfig
from movie_platform.settings import describe_settings

__all__ = ["IN_RANGES", "ONE_RUN_A_DAY", "main"]

IN_RANGES: Final = "in ranges"
ONE_RUN_A_DAY: Final = "one run a day"
_QUICK: Final = ("trees=60", "averaged_models=1", "max_terms=2000", "folds=2")
_LIMITS_AT: Final = 30
_WALL, _OVERHEAD = 4.0, 10.0
"""How many times less the design asks of a backfill of so many days."""

_POLL = 0.5
_PROJECT: Final = Path(__file__).parents[2]
_PROGRESS = Console(stderr=True, highlight=False, soft_wrap=True)


class _NotMadeError(Exception):
    """A contestant did not make its days."""


@dataclass(frozen=True)
class Measured:
    """What some days took, in seconds."""

    contestant: str
    days: int
    runs: int
    wall: float
    work: float
    processors: float

    @property
    def overhead(self) -> float:
        """What it took beside the work."""
        return self.wall - self.work


@dataclass(frozen=True)
class Recorded:
    """What Dagster's records say afterwards: the digests by asset and day, and what each check found."""

    versions: Mapping[str, Mapping[date, str]]
    checks: frozenset[tuple[str, str, str | None, bool]]

    @classmethod
    def of(cls, place: Place) -> "Recorded":
        """Read the records of a place."""
        checks = set()
        with dg.DagsterInstance.from_config(str(place.home)) as instance:
            for run in instance.get_runs():
                for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
                    found = entry.get_dagster_event().asset_check_evaluation_data
                    checks.add((found.asset_key.path[-1], found.check_name, found.partition, found.passed))
            versions = {asset.key.path[-1]: recorded_versions(instance, asset.key) for asset in ASSETS}
        return cls(versions=versions, checks=frozenset(checks))


class _Contest:
    """Contestants at work, one at a time, in folders beside one another."""

    def __init__(self, folder: Path, config: TrainingConfig, bar: Progress) -> None:
        self._folder = folder
        self._config = config
        self._bar = bar

    def in_ranges(self, count: int, name: str) -> tuple[Measured, Place]:
        """Make so many days in as few runs as the platform does."""
        place = self._place(name)
        task = self._bar.add_task(f"{name}, {count} days", total=count * len(ASSETS))
        last = FIRST_PARTITION + timedelta(days=count - 1)
        command = ["-m", "benchmarks.backfill.in_ranges", str(FIRST_PARTITION), str(last)]
        wall, processors = self._run(place, command, task)
        with dg.DagsterInstance.from_config(str(place.home)) as instance:
            runs = instance.get_runs_count()
        self._bar.remove_task(task)
        measured = Measured(IN_RANGES, count, runs, wall, _work(place), processors)
        _tell(measured)
        return measured, place

    def one_run_a_day(self, counts: Sequence[int]) -> tuple[list[Measured], Place]:
        """Make as many days as the most of these; what it took until each of them."""
        place = self._place(ONE_RUN_A_DAY)
        task = self._bar.add_task(f"{ONE_RUN_A_DAY}, {max(counts)} days", total=max(counts) * len(ASSETS))
        measured: list[Measured] = []
        wall = processors = 0.0
        for number, day in enumerate(days(FIRST_PARTITION, FIRST_PARTITION + timedelta(days=max(counts) - 1)), start=1):
            command = ["-m", "dagster", "job", "execute", "--module-name", "benchmarks.backfill.one_run_a_day"]
            command += ["--job", DAILY, "--tags", json.dumps({"dagster/partition": day.isoformat()})]
            took, of_processors = self._run(place, command, task)
            wall, processors = wall + took, processors + of_processors
            if number in counts:
                measured.append(Measured(ONE_RUN_A_DAY, number, number, wall, _work(place), processors))
                _tell(measured[-1])
        self._bar.remove_task(task)
        return measured, place

    def _place(self, name: str) -> Place:
        place = Place(self._folder / name.replace(" ", "_").replace(",", ""))
        place.prepare(self._config)
        return place

    def _run(self, place: Place, command: Sequence[str], task: TaskID) -> tuple[float, float]:
        """Run it to its end; how long it took, and how much of the processors."""
        log = place.folder / "log.txt"
        before = _of_children()
        begun = time.monotonic()
        with (
            log.open("ab") as output,
            subprocess.Popen(  # noqa: S603 this interpreter
                [sys.executable, *command],
                cwd=place.folder,  # away from any .env
                env=_environment(place),
                stdout=output,
                stderr=subprocess.STDOUT,
            ) as process,
        ):
            try:
                while process.poll() is None:
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(_POLL)
                    self._bar.update(task, completed=_stored(place))
            except BaseException:  # whoever ends the measurement ends what it has started
                process.terminate()
                raise
        wall = time.monotonic() - begun
        if process.returncode:
            end = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
            raise _NotMadeError(f"{' '.join(command)} ended with {process.returncode}; the end of its log:\n{end}")
        return wall, _of_children() - before


def _environment(place: Place) -> dict[str, str]:
    """Ours, without the settings of whoever measures: the synthetic catalogue and the defaults."""
    settings = {setting.name for setting in describe_settings()}
    inherited = {name: value for name, value in os.environ.items() if name not in settings}  # noqa: TID251 passed on
    return {
        **inherited,
        "MOVIE_PLATFORM_STORAGE": str(place.store),
        "DAGSTER_HOME": str(place.home),
        "PYTHONPATH": str(_PROJECT),
    }


def _work(place: Place) -> float:
    return sum(piece.ended - piece.begun for piece in place.work)


def _stored(place: Place) -> int:
    return sum(piece.what.endswith(": store") for piece in place.work)


def _of_children() -> float:
    """What the processes that have ended had of the processors, with theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _measure(
    contest: _Contest, counts: Sequence[int], until: int
) -> tuple[list[Measured], list[Measured], dict[str, bool]]:
    """Ours, the other's, and whether both did the same, in words."""
    other_counts = [count for count in counts if count <= until]
    ours: dict[int, Measured] = {}
    places: list[tuple[int, Place]] = []
    theirs: list[Measured] = []

    def measure_ours(count: int, when: str) -> None:
        measured, place = contest.in_ranges(count, f"{IN_RANGES}, {count} {when}")
        ours[count] = max(ours.get(count, measured), measured, key=lambda one: one.wall)
        places.append((count, place))

    for count in counts:
        measure_ours(count, "before")
    if other_counts:
        theirs, place = contest.one_run_a_day(other_counts)
        for count in other_counts:
            measure_ours(count, "after")
        places.append((max(other_counts), place))
    most = max(other_counts, default=max(counts))
    records = [Recorded.of(place) for count, place in places if count == most]
    made = days(FIRST_PARTITION, FIRST_PARTITION + timedelta(days=most - 1))
    same = {
        f"all {len(ASSETS)} assets of all {most} days were recorded": all(
            sorted(recorded) == made for record in records for recorded in record.versions.values()
        ),
        f"the same bytes from {len(records)} backfills of {most} days": all(
            record.versions == records[0].versions for record in records
        ),
        f"the same results of the same {len(records[0].checks):,} checks": all(
            record.checks == records[0].checks for record in records
        ),
    }
    return list(ours.values()), theirs, same


def _tell(measured: Measured) -> None:
    _PROGRESS.print(
        f"{measured.contestant}, {measured.days} days: {measured.wall:.0f} s, "
        f"of which {measured.work:.0f} s of work and {measured.overhead:.0f} s beside it"
    )


def _times(ours: Sequence[Measured], theirs: Sequence[Measured]) -> dict[int, dict[str, float]]:
    """How many times less ours takes, by days."""
    by_days = {measured.days: measured for measured in ours}
    return {
        other.days: {
            "wall": other.wall / by_days[other.days].wall,
            "overhead": other.overhead / by_days[other.days].overhead,
            "processors": other.processors / by_days[other.days].processors,
        }
        for other in theirs
    }


def _holds(times: Mapping[int, Mapping[str, float]]) -> dict[str, bool]:
    """What the design asks of the number of days that it names, in words."""
    if _LIMITS_AT not in times:
        return {}
    less = times[_LIMITS_AT]
    return {
        f"{_LIMITS_AT} days with at least {_OVERHEAD:g} times less overhead": less["overhead"] >= _OVERHEAD,
        f"{_LIMITS_AT} days in at least {_WALL:g} times less wall time": less["wall"] >= _WALL,
    }


def _print(
    machine: str, rows: Sequence[Measured], times: Mapping[int, Mapping[str, float]], sentences: Mapping[str, bool]
) -> None:
    console = figures_console()
    console.print(machine, soft_wrap=True)
    table = Table(box=box.SIMPLE, pad_edge=False, collapse_padding=True)
    table.add_column("backfill")
    for name in ("days", "runs", "wall s", "work s", "overhead s", "overhead s a day", "processors s"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row.contestant,
            str(row.days),
            str(row.runs),
            f"{row.wall:,.1f}",
            f"{row.work:,.1f}",
            f"{row.overhead:,.1f}",
            f"{row.overhead / row.days:.2f}",
            f"{row.processors:,.1f}",
        )
    console.print(table)
    for count, less in times.items():
        figures = ", ".join(f"{name} {figure:.1f}" for name, figure in less.items())
        console.print(f"{count} days {IN_RANGES} take so many times less than {ONE_RUN_A_DAY}: {figures}")
    for sentence, holds in sentences.items():
        console.print(f"{'yes' if holds else 'NO '}  {sentence}", style=None if holds else "red")


def _count(text: str) -> int:
    most = (last_complete_day(date.today()) - FIRST_PARTITION).days + 1  # noqa: DTZ011 a day more or less is no matter
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 1 to {most}")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print. The result is 2 when it could not be measured; figures that are not reached are only told."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.backfill",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--days", type=_count, nargs="+", default=[30], metavar="DAYS", help="numbers of days")
    parser.add_argument(
        "--one-run-a-day-until",
        type=_count,
        default=30,
        metavar="DAYS",
        help="measure one run a day only for numbers of days up to this one (a minute a day on two cores)",
    )
    parser.add_argument("--full", action="store_true", help="train as the platform does instead of quickly")
    add_config_argument(parser)
    parser.add_argument("--json", action="store_true", help="print the figures for programs, not rounded")
    parsed = parser.parse_args(arguments)
    try:
        return _run(parsed, training_config([*(() if parsed.full else _QUICK), *parsed.config]))
    except (ValueError, _NotMadeError) as error:
        _PROGRESS.print(f"Error: {error}", markup=False)
    except KeyboardInterrupt:
        _PROGRESS.print("interrupted")
    return 2


def _run(arguments: argparse.Namespace, config: TrainingConfig) -> int:
    changed = {name: value for name, value in config if value != getattr(TrainingConfig(), name)}
    training = ", ".join(f"{name}={value}" for name, value in changed.items()) or "the platform's"
    machine = f"{describe_machine()}; training: {training}"
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %"))
    with (
        tempfile.TemporaryDirectory(prefix="bench-backfill-") as folder,
        Progress(*columns, TimeRemainingColumn(), console=_PROGRESS, transient=True) as bar,
    ):
        contest = _Contest(Path(folder), config, bar)
        ours, theirs, same = _measure(contest, sorted(set(arguments.days)), arguments.one_run_a_day_until)
    times = _times(ours, theirs)
    sentences = {**same, **_holds(times)}
    if arguments.json:
        document: dict[str, Any] = {
            "machine": machine,
            "config": config.model_dump(mode="json"),
            "measured": [{**asdict(one), "overhead": one.overhead} for one in (*ours, *theirs)],
            "times_less": {str(count): less for count, less in times.items()},
            "holds": sentences,
        }
        print(json.dumps(document, indent=1, allow_nan=False))  # noqa: T201
    else:
        _print(machine, [*ours, *theirs], times, sentences)
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended as by Ctrl-C, with what was started
    sys.exit(main())
