"""What the model card tells: how good each day's bundle was, what was released when and why, and the plots.

What belongs here: reading the platform's documents beside the bundles (`metrics`, `champion_bundle`,
`champion_history`, `prediction_outcomes`) and keeping what the pages need of them. What does not: the bundle that is
served (`bundles`), the card's sentences (`rating_model.card`), and anything a person sees (`charts`, `routes.pages`).

Nothing here is needed to predict: a document that is damaged or a storage that does not answer becomes a sentence
among `problems`, and what could be read is shown.
"""

import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final, NamedTuple

from pydantic import BaseModel, ValidationError

from movie_platform.rating_model.measured import JudgedForecasts, MeasuredDay, MeasuredInDetail
from movie_platform.releases import DECISIONS, HISTORY, Champion, Decision, HistoryEntry
from movie_platform.storage import Storage, StorageError, Versioned

__all__ = ["FORECAST_PLOTS", "PLOTS", "ModelCard", "ModelCardKeeper"]

METRICS: Final = "metrics"
OUTCOMES: Final = "prediction_outcomes"
PLOTS: Final = ("predicted_against_actual", "residuals_by_year", "feature_importance", "interval_calibration")
"""The pictures that are kept beside a day's figures, as `metrics/<day>/<name>.png`."""

FORECAST_PLOTS: Final = ("errors_over_time", "coverage_over_time")
"""The pictures of what became of forecasts, as `prediction_outcomes/<day>/<name>.png`."""

_DAYS: Final = 90
_RELEASES: Final = 200
_SECONDS: Final = 60.0
_PLOTS_AT_ONCE: Final = 8
_LARGEST: Final = 16 * 2**20
"""Bytes of figures or a picture: ten times what the largest hold-out makes."""

_LARGEST_OTHER: Final = 2**18
"""Bytes of any other document: a hundred times what the platform writes."""

_DAY_DOCUMENT: Final = re.compile(r"[a-z_]+/(\d{4}-\d\d-\d\d)\.json")
_PLOT: Final = re.compile(r"[a-z_]+/(\d{4}-\d\d-\d\d)/([a-z_]+)\.png")
_HISTORY_ENTRY: Final = re.compile(rf"{HISTORY}/[^/]+\.json")
_PNG: Final = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What was read of the newest days."""

    days: tuple[MeasuredDay, ...] = ()
    """Oldest first."""
    detail: MeasuredInDetail | None = None
    """That of the day which was asked for: hundreds of figures, which are not kept of the others."""
    decisions: Mapping[date, Decision] = field(default_factory=dict)
    """What the gate said of a day, oldest first."""
    releases: tuple[HistoryEntry, ...] = ()
    """Releases, withdrawals and rollbacks, newest first."""
    plots: Mapping[date, tuple[str, ...]] = field(default_factory=dict)
    """Which of `PLOTS` a day has."""
    forecasts: JudgedForecasts | None = None
    """What had become of forecasts by the newest day that looked."""
    forecast_plots: tuple[str, ...] = ()
    """Which of `FORECAST_PLOTS` that day has."""
    problems: tuple[str, ...] = ()
    """A sentence for a person for each document that is left out."""

    def day(self, partition: date) -> MeasuredDay | None:
        """Return the figures of a day, if they are among those that were read."""
        return next((day for day in self.days if day.partition == partition), None)

    def figures_of(self, champion: Champion) -> MeasuredInDetail | None:
        """Return the figures of a released bundle: those of its day, unless the day has been made again since.

        None, too, if the day is not the one that was asked for.
        """
        found = self.detail
        if found is None or (found.partition, found.bundle_sha256) != (champion.partition, champion.sha256):
            return None
        return found

    def release_of(self, champion: Champion) -> HistoryEntry | None:
        """Return when and why a bundle was last released, if that is among what was read."""
        entries = (entry for entry in self.releases if entry.event == "release" and entry.champion == champion)
        return next(entries, None)


class _Kept(NamedTuple):
    """A document as it was read last. With neither document nor problem, it has not been read yet."""

    kind: type[BaseModel] | None = None
    version: str | None = None
    document: BaseModel | None = None
    problem: str | None = None


class ModelCardKeeper:
    """The model card, read when it is asked for and at most once in `seconds`. For any number of threads; blocks."""

    def __init__(
        self, storage: Storage, *, seconds: float = _SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._storage = storage
        self._seconds = seconds
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._card: ModelCard | None = None
        self._served: date | None = None
        self._read_at = 0.0
        self._reading = threading.Lock()
        self._plotting = threading.BoundedSemaphore(_PLOTS_AT_ONCE)

    def read(self, served: date | None = None) -> ModelCard:
        """Return the card, with the details of the day that is served. What has not changed is not read again."""
        card = self._card
        if card is not None and self._is_fresh(served):
            return card
        # Whoever comes while it is being read takes what there is: a storage that hangs must hold one thread, not all.
        if not self._reading.acquire(blocking=False):
            return card or ModelCard(problems=("The figures are being read: ask again in some seconds.",))
        try:
            if self._card is None or not self._is_fresh(served):
                self._served = served or self._served
                self._card = self._read_again()
                self._read_at = self._clock()
            return self._card
        finally:
            self._reading.release()

    def _is_fresh(self, served: date | None) -> bool:
        return self._clock() - self._read_at < self._seconds and served in (None, self._served)

    def plot(self, day: date, name: str, *, known: str | None = None) -> Versioned | None:
        """Return a picture as PNG; None if the day has none, empty data if its version is still `known`.

        Those of `FORECAST_PLOTS` are of the day of `ModelCard.forecasts`. Raises `StorageError` when the storage does
        not answer, and for an object that is no PNG.
        """
        folder = METRICS if name in PLOTS else OUTCOMES if name in FORECAST_PLOTS else None
        if folder is None:
            return None
        key = f"{folder}/{day}/{name}.png"
        if not self._plotting.acquire(blocking=False):
            raise StorageError(f"{self._storage.url(key)} cannot be read now: others are being read; try again")
        try:
            found = self._storage.get_versioned(key, known=Versioned(b"", known) if known else None, at_most=_LARGEST)
        finally:
            self._plotting.release()
        if found is None or found.version == known:
            return found and Versioned(b"", found.version)
        if not found.data.startswith(_PNG):
            raise StorageError(f"{self._storage.url(key)} is no PNG picture: materialize {folder} of {day} again")
        return found

    def _read_again(self) -> ModelCard:
        try:
            measured = self._storage.list(METRICS)
            decided = self._storage.list(DECISIONS)
            recorded = self._storage.list(HISTORY)
            judged = self._storage.list(OUTCOMES)
        except StorageError as error:
            return replace(self._card or ModelCard(), problems=(f"{error}.",))
        days = _newest(measured, _DAY_DOCUMENT, _DAYS)
        served = f"{METRICS}/{self._served}.json"
        wanted: dict[str, type[BaseModel]] = {
            **dict.fromkeys(days, MeasuredDay),
            # Which may be older than those.
            **({served: MeasuredInDetail} if served in measured else {}),
            **dict.fromkeys(_newest(judged, _DAY_DOCUMENT, 1), JudgedForecasts),
            **dict.fromkeys(_newest(decided, _DAY_DOCUMENT, _DAYS), Decision),
            **dict.fromkeys(_newest(recorded, _HISTORY_ENTRY, _RELEASES), HistoryEntry),
        }
        with ThreadPoolExecutor(max_workers=8, thread_name_prefix="model-card") as threads:
            read = list(threads.map(self._document, wanted, wanted.values()))
        self._kept = {key: kept for key, kept in zip(wanted, read, strict=True) if kept is not None}
        found = [kept.document for kept in self._kept.values()]
        of_days = [self._kept[key].document for key in days if key in self._kept]
        detail = next((document for document in found if isinstance(document, MeasuredInDetail)), None)
        forecasts = next((document for document in found if isinstance(document, JudgedForecasts)), None)
        return ModelCard(
            days=tuple(document for document in of_days if isinstance(document, MeasuredDay)),
            detail=detail,
            decisions={document.partition: document for document in found if isinstance(document, Decision)},
            releases=tuple(document for document in reversed(found) if isinstance(document, HistoryEntry)),
            plots=_plots(measured, PLOTS),
            forecasts=forecasts,
            forecast_plots=_plots(judged, FORECAST_PLOTS).get(forecasts.partition, ()) if forecasts else (),
            problems=tuple(kept.problem for kept in self._kept.values() if kept.problem is not None),
        )

    def _document(self, key: str, kind: type[BaseModel]) -> _Kept | None:
        kept = self._kept.get(key, _Kept())
        if kept.kind is not kind:  # as when another day is served
            kept = _Kept(kind)
        # The version alone: hundreds of documents need not be held to learn that they have not changed.
        known = Versioned(b"", kept.version) if kept.version else None
        try:
            found = self._storage.get_versioned(
                key, known=known, at_most=_LARGEST_OTHER if kind in {Decision, HistoryEntry} else _LARGEST
            )
        except StorageError as error:
            # Without its version it is read again, and whatever is wrong with it is then said instead.
            return kept._replace(version=None, problem=f"{error}.")
        if found is None:
            return None
        return kept if found.version == kept.version else _Kept(kind, found.version, *_parse(kind, key, found.data))


def _newest(keys: Iterable[str], pattern: re.Pattern[str], count: int) -> list[str]:
    return [key for key in keys if pattern.fullmatch(key)][-count:]


def _plots(keys: Iterable[str], names: Sequence[str]) -> dict[date, tuple[str, ...]]:
    """Return which of these pictures each day has, in their order."""
    found: dict[date, set[str]] = {}
    for match in filter(None, map(_PLOT.fullmatch, keys)):
        if (day := _day(match[1])) is not None:
            found.setdefault(day, set()).add(match[2])
    return {day: tuple(name for name in names if name in there) for day, there in found.items()}


def _parse(kind: type[BaseModel], key: str, data: bytes) -> tuple[BaseModel | None, str | None]:
    """Return the document, or what is wrong with it."""
    try:
        document = kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "document"
        return None, f"{key} is damaged and left out ({where}: {first['msg']})."
    named = _DAY_DOCUMENT.fullmatch(key)
    if named and getattr(document, "partition", None) != _day(named[1]):
        return None, f"{key} is the document of another day and left out."
    return document, None


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
