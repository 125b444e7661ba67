"""What the model card tells: how good each day's bundle was, what was released when and why, and the plots.

What belongs here: reading the platform's documents beside the bundles (`metrics`, `champion_bundle`,
`champion_history`) and keeping what the pages need of them. What does not: the bundle that is served (`bundles`), and
anything a person sees (`charts`, `routes.pages`).

Nothing here is needed to predict: a document that is damaged or a storage that does not answer becomes a sentence
among `problems`, and what could be read is shown.
"""

import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeFloat, ValidationError

from movie_platform.rating_model.fields import Situation
from movie_platform.releases import DECISIONS, HISTORY, Champion, Decision, HistoryEntry
from movie_platform.storage import Storage, StorageError, Versioned

__all__ = ["PLOTS", "Figures", "MeasuredDay", "ModelCard", "ModelCardKeeper", "SituationFigures"]

METRICS: Final = "metrics"
PLOTS: Final = ("predicted_against_actual", "residuals_by_year", "feature_importance", "interval_calibration")
"""The pictures that are kept beside a day's figures, as `metrics/<day>/<name>.png`."""

_DAYS: Final = 90
_RELEASES: Final = 200
_SECONDS: Final = 60.0
_PLOTS_AT_ONCE: Final = 8
_LARGEST: Final = 16 * 2**20
"""Bytes of metrics or a picture: ten times what the largest hold-out makes."""

_LARGEST_OTHER: Final = 2**18
"""Bytes of any other document: a hundred times what the platform writes."""

_DAY_DOCUMENT: Final = re.compile(r"[a-z_]+/(\d{4}-\d\d-\d\d)\.json")
_PLOT: Final = re.compile(rf"{METRICS}/(\d{{4}}-\d\d-\d\d)/({'|'.join(PLOTS)})\.png")
_HISTORY_ENTRY: Final = re.compile(rf"{HISTORY}/[^/]+\.json")
_PNG: Final = b"\x89PNG\r\n\x1a\n"


class _Document(BaseModel):
    """A part of `metrics/<day>.json`. What is not named is left out, above all the hold-out's predictions."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Figures(_Document):
    """How far off something was, in rating points. None is not defined: a mean has no interval."""

    rmse: NonNegativeFloat = Field(allow_inf_nan=False)
    mae: NonNegativeFloat = Field(allow_inf_nan=False)
    bias: FiniteFloat | None = None
    r2: FiniteFloat | None = None
    spearman: FiniteFloat | None = None
    interval_coverage: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    interval_width: NonNegativeFloat | None = Field(default=None, allow_inf_nan=False)


class SituationFigures(_Document):
    """The model beside the two means that it must beat."""

    model: Figures
    genre_mean: Figures
    global_mean: Figures


class BothSituations(_Document):
    """The figures of either situation."""

    unreleased: SituationFigures
    released: SituationFigures

    def of(self, situation: Situation) -> SituationFigures:
        """Return the figures of a situation."""
        return self.released if situation == "released" else self.unreleased


class HoldOut(_Document):
    """The films that a day was measured on: released on or after `start` and before `until`."""

    start: date
    until: date
    films: int = Field(ge=1)


class MeasuredDay(_Document):
    """How good the bundle of one day was on films that it had not seen."""

    partition: date
    bundle_sha256: str
    synthetic: bool
    holdout: HoldOut
    figures: BothSituations


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What was read of the newest days."""

    days: tuple[MeasuredDay, ...] = ()
    """Oldest first."""
    decisions: Mapping[date, Decision] = field(default_factory=dict)
    """What the gate said of a day, oldest first."""
    releases: tuple[HistoryEntry, ...] = ()
    """Releases and withdrawals, newest first."""
    plots: Mapping[date, tuple[str, ...]] = field(default_factory=dict)
    """Which of `PLOTS` a day has."""
    problems: tuple[str, ...] = ()
    """A sentence for a person for each document that is left out."""

    def day(self, partition: date) -> MeasuredDay | None:
        """Return the figures of a day, if they are among those that were read."""
        return next((day for day in self.days if day.partition == partition), None)

    def figures_of(self, champion: Champion) -> MeasuredDay | None:
        """Return the figures of a released bundle: those of its day, unless the day has been made again since."""
        measured = self.day(champion.partition)
        return measured if measured is not None and measured.bundle_sha256 == champion.sha256 else None

    def release_of(self, champion: Champion) -> HistoryEntry | None:
        """Return when and why a bundle was last released, if that is among what was read."""
        entries = (entry for entry in self.releases if entry.event == "release" and entry.champion == champion)
        return next(entries, None)


class _Kept(NamedTuple):
    """A document as it was read last. With neither document nor problem, it has not been read yet."""

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
        self._read_at = 0.0
        self._reading = threading.Lock()
        self._plotting = threading.BoundedSemaphore(_PLOTS_AT_ONCE)

    def read(self) -> ModelCard:
        """Return the card. What has not changed in the storage is not read again."""
        card = self._card
        if card is not None and self._clock() - self._read_at < self._seconds:
            return card
        # Whoever comes while it is being read takes what there is: a storage that hangs must hold one thread, not all.
        if not self._reading.acquire(blocking=False):
            return card or ModelCard(problems=("The figures are being read: ask again in some seconds.",))
        try:
            if self._card is None or self._clock() - self._read_at >= self._seconds:
                self._card = self._read_again()
                self._read_at = self._clock()
            return self._card
        finally:
            self._reading.release()

    def plot(self, day: date, name: str, *, known: str | None = None) -> Versioned | None:
        """Return a picture as PNG; None if the day has none, empty data if its version is still `known`.

        Raises `StorageError` when the storage does not answer, and for an object that is no PNG.
        """
        if name not in PLOTS:
            return None
        key = f"{METRICS}/{day}/{name}.png"
        if not self._plotting.acquire(blocking=False):
            raise StorageError(f"{self._storage.url(key)} cannot be read now: others are being read; try again")
        try:
            found = self._storage.get_versioned(key, known=Versioned(b"", known) if known else None, at_most=_LARGEST)
        finally:
            self._plotting.release()
        if found is None or found.version == known:
            return found and Versioned(b"", found.version)
        if not found.data.startswith(_PNG):
            raise StorageError(f"{self._storage.url(key)} is no PNG picture: materialize {METRICS} of {day} again")
        return found

    def _read_again(self) -> ModelCard:
        try:
            measured = self._storage.list(METRICS)
            decided = self._storage.list(DECISIONS)
            recorded = self._storage.list(HISTORY)
        except StorageError as error:
            earlier = self._card or ModelCard()
            return ModelCard(earlier.days, earlier.decisions, earlier.releases, earlier.plots, (f"{error}.",))
        wanted: dict[str, type[BaseModel]] = {
            **dict.fromkeys(_newest(measured, _DAY_DOCUMENT, _DAYS), MeasuredDay),
            **dict.fromkeys(_newest(decided, _DAY_DOCUMENT, _DAYS), Decision),
            **dict.fromkeys(_newest(recorded, _HISTORY_ENTRY, _RELEASES), HistoryEntry),
        }
        with ThreadPoolExecutor(max_workers=8, thread_name_prefix="model-card") as threads:
            read = list(threads.map(self._document, wanted, wanted.values()))
        self._kept = {key: kept for key, kept in zip(wanted, read, strict=True) if kept is not None}
        found = [kept.document for kept in self._kept.values()]
        plots: dict[date, list[str]] = {}
        for match in filter(None, map(_PLOT.fullmatch, measured)):
            if (day := _day(match[1])) is not None:
                plots.setdefault(day, []).append(match[2])
        return ModelCard(
            days=tuple(document for document in found if isinstance(document, MeasuredDay)),
            decisions={document.partition: document for document in found if isinstance(document, Decision)},
            releases=tuple(document for document in reversed(found) if isinstance(document, HistoryEntry)),
            plots={day: tuple(name for name in PLOTS if name in names) for day, names in plots.items()},
            problems=tuple(kept.problem for kept in self._kept.values() if kept.problem is not None),
        )

    def _document(self, key: str, kind: type[BaseModel]) -> _Kept | None:
        kept = self._kept.get(key, _Kept())
        # The version alone: hundreds of documents need not be held to learn that they have not changed.
        known = Versioned(b"", kept.version) if kept.version else None
        try:
            found = self._storage.get_versioned(
                key, known=known, at_most=_LARGEST if kind is MeasuredDay else _LARGEST_OTHER
            )
        except StorageError as error:
            # Without its version it is read again, and whatever is wrong with it is then said instead.
            return kept._replace(version=None, problem=f"{error}.")
        if found is None:
            return None
        return kept if found.version == kept.version else _Kept(found.version, *_parse(kind, key, found.data))


def _newest(keys: Iterable[str], pattern: re.Pattern[str], count: int) -> list[str]:
    return [key for key in keys if pattern.fullmatch(key)][-count:]


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
