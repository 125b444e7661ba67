"""The platform as it is, but that it writes down how long its work takes.

Both contestants are made here from the same assets, checks and IO managers. The work is what an asset's function, its
checks and its IO manager do for a day: collect, compute, read, examine, encode, store, publish. Not the work is what
surrounds it: processes, imports, definitions, Dagster's records, looking for what is missing.

The processes that run this are told where it takes place by MOVIE_PLATFORM_STORAGE: beside that folder lie `place.json`
and `work.jsonl`.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import dagster as dg

from movie_platform.daily import CheckedDay, DayStream
from movie_platform.definitions import build_definitions
from movie_platform.io_managers import (
    BundleIOManager,
    DailyIOManager,
    FilmsIOManager,
    JsonIOManager,
    JsonLinesIOManager,
    PredictionsIOManager,
)
from movie_platform.launchpad import overridable
from movie_platform.rating_model.config import TrainingConfig
from movie_platform.settings import load_settings
from movie_platform.storage import open_storage

__all__ = ["Piece", "Place", "timed_definitions"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass(frozen=True)
class Piece:
    """A piece of work, by the machine's clock, which all its processes share."""

    what: str
    begun: float
    ended: float


@dataclass(frozen=True)
class Place:
    """Where a contestant works, and with which training."""

    folder: Path

    @property
    def store(self) -> Path:
        """The storage."""
        return self.folder / "data"

    @property
    def home(self) -> Path:
        """Dagster's records."""
        return self.folder / "dagster"

    @property
    def config(self) -> TrainingConfig:
        """The hyperparameters."""
        return TrainingConfig.model_validate_json((self.folder / "place.json").read_text())

    @property
    def work(self) -> list[Piece]:
        """What has been written down so far."""
        file = self.folder / "work.jsonl"
        return [Piece(*json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []

    def prepare(self, config: TrainingConfig) -> None:
        """Make the folders; nothing that Dagster does is told to anybody."""
        self.home.mkdir(parents=True)
        (self.home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
        (self.folder / "place.json").write_text(config.model_dump_json())

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Write down how long this takes."""
        begun = time.monotonic()
        try:
            yield
        finally:
            line = json.dumps([what, begun, time.monotonic()])
            with (self.folder / "work.jsonl").open("a") as file:  # one short write: those of processes do not mix
                file.write(line + "\n")

    def timed(self, what: str, function: Callable[_P, _R]) -> Callable[_P, _R]:
        """The function, written down."""

        def timed(*args: _P.args, **more: _P.kwargs) -> _R:
            with self.working(what):
                return function(*args, **more)

        return timed


class _Timed(DailyIOManager[Any]):
    """An IO manager that writes down the work of the days that go through it."""

    place: Place

    # Dagster takes events from a generator here, which its own signature does not say.
    def handle_output(self, context: dg.OutputContext, obj: DayStream) -> Iterator[Any]:  # type: ignore[override]
        # Inside of the stream, so that what it says to Dagster's log does not count as work.
        obj._make = self.place.timed(f"{obj.asset}: make", obj._make)
        checks = obj._checks  # noqa: SLF001
        obj._checks = [  # noqa: SLF001
            replace(check, examine=self.place.timed(f"{obj.asset}: check", check.examine)) for check in checks
        ]
        yield from super().handle_output(context, obj)

    def _store(self, asset: str, checked: CheckedDay) -> dict[str, Any]:
        with self.place.working(f"{asset}: store"):
            return super()._store(asset, checked)

    def _keep_refused(self, asset: str, checked: CheckedDay) -> None:
        with self.place.working(f"{asset}: store"):
            super()._keep_refused(asset, checked)


class _TimedJsonLines(_Timed, JsonLinesIOManager): ...


class _TimedFilms(_Timed, FilmsIOManager): ...


class _TimedPredictions(_Timed, PredictionsIOManager): ...


class _TimedBundle(_Timed, BundleIOManager): ...


class _TimedJson(_Timed, JsonIOManager): ...


_IO_MANAGERS: Mapping[str, type[_Timed]] = {
    "json_lines": _TimedJsonLines,
    "films": _TimedFilms,
    "predictions": _TimedPredictions,
    "bundle": _TimedBundle,
    "json": _TimedJson,
}


def timed_definitions() -> dg.Definitions:
    """The platform's definitions over the place that the environment names."""
    settings = load_settings()
    place = Place(Path(settings.storage).parent)
    storage = open_storage(settings.storage)
    resources: dict[str, Any] = {"training_config": overridable(place.config)}
    for key, kind in _IO_MANAGERS.items():
        resources[key] = kind(storage)
        resources[key].place = place
    return build_definitions(settings=settings, resources=resources)
