"""Which bundle is served: found, verified, tried, swapped, and kept for when the storage does not answer.

What belongs here: following the pointer and deciding whether a bundle may serve. What does not: HTTP, predicting
(`rating_model.rows`), and what the documents look like (`releases`).
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

from movie_platform.rating_model.bundle import MAX_BYTES, Bundle, BundleMetadata
from movie_platform.rating_model.c_api import LightGbmError
from movie_platform.rating_model.rows import RowPredictor
from movie_platform.releases import (
    POINTER,
    Champion,
    DamagedError,
    PointerReader,
    find_released,
    mirror,
    read_pointer,
    read_released,
    released_days,
)
from movie_platform.storage import ObjectNotFound, ObjectTooLargeError, Storage, StorageError
from serving.telemetry import Telemetry

__all__ = ["BundleKeeper", "LoadedBundle"]

_LOGGER: Final = logging.getLogger(__name__)
_LONGEST_PAUSE: Final = 60.0
"""Seconds. A refused bundle may have been mended in its place, so it is tried again, ever less often."""

_WRONG: Final = (DamagedError, ObjectTooLargeError)
"""The storage answered, with something that it should not hold."""

_UNUSABLE: Final = (ValueError, LightGbmError, ObjectNotFound, *_WRONG)
"""What a bundle that must not serve leads to; a BundleError is a ValueError."""


@dataclass(frozen=True, slots=True)
class LoadedBundle:
    """A released bundle that has predicted its probes."""

    champion: Champion
    metadata: BundleMetadata
    predictor: RowPredictor
    source: str
    """Where its bytes were read: a path or an s3:// URL."""

    kept: bool
    """Read from the copy on the service's own disk, because the storage could not give it."""

    loaded_at: datetime


class BundleKeeper:
    """Keeps the bundle to serve. `poll` is for one thread; the attributes may be read from any.

    Nothing is served but what was verified: the bytes have the SHA-256 that the pointer (or the history, for a
    pinned day) names, they are a bundle of a known format and of that day, and it repeats its probes' predictions.
    """

    def __init__(self, storage: Storage, *, own: Storage, pinned: date | None, telemetry: Telemetry) -> None:
        self.current: LoadedBundle | None = None
        self.newest: Champion | None = None
        """What the pointer named when it was last read."""

        self.problem: str | None = "the service has just started and is still looking for the released bundle"
        """Why the bundle to be served is not, in a sentence; None when it is."""

        self._storage = storage
        self._own = own
        self._pinned = pinned
        self._telemetry = telemetry
        self._swapping = threading.Lock()
        self._pointer = PointerReader(storage)
        self._found: Champion | None = None
        """What the pinned day was found to be; a day that is released again meanwhile does not change it."""

        self._refused: Champion | None = None
        self._refusal = ""
        self._pause = 0.0
        self._not_before = 0.0

    def poll(self) -> None:
        """Look at the storage once, and swap if another bundle is to be served. Trouble is told by `problem`."""
        with self._trouble_told():
            self._look()
        self.start_from_own_copy()

    def start_from_own_copy(self) -> None:
        """Serve the copy of the last good bundle if nothing is served yet.

        Unlike `poll`, for any thread: a storage may take long to answer.
        """
        if self.current is None:
            with self._trouble_told():
                self._take_own_copy()

    @contextmanager
    def _trouble_told(self) -> Iterator[None]:
        try:
            yield
        except _WRONG as error:
            self._tell(str(error))
        except StorageError as error:
            self._telemetry.storage_failures.inc()
            self._tell(str(error))
        except Exception:
            # Whatever it is: the thread that polls must go on, or the service would stay with this bundle for ever.
            _LOGGER.exception("looking for a released bundle failed")
            self._tell("looking for a released bundle failed unexpectedly; the service's log has the details")

    def _look(self) -> None:
        try:
            self.newest = self._pointer.read()
        except _WRONG:
            if self._pinned is None:
                raise
            self.newest = None  # a pin is what one sets when the pointer is in trouble
        wanted = self._wanted()
        if wanted is None:
            return
        # What was read from the own copy is read again, and so verified, as soon as the storage answers.
        if self.current is not None and self.current.champion == wanted and not self.current.kept:
            self._settle()
        elif wanted != self._refused or time.monotonic() >= self._not_before:
            self._take(wanted)
        else:
            self._tell(self._refusal)

    def _wanted(self) -> Champion | None:
        if self._pinned is None:
            if self.newest is None:
                self._tell(
                    f"no bundle has been released yet, or it is not in this storage: there is no "
                    f"{self._storage.url(POINTER)}. Run make demo, or make backfill for a range of days, with the same "
                    "MOVIE_PLATFORM_STORAGE"
                )
            return self.newest
        self._found = self._found or find_released(self._storage, self._pinned)
        if self._found is None:
            days = ", ".join(map(str, released_days(self._storage)[-5:])) or "none"
            self._tell(
                f"SERVING_BUNDLE_PARTITION: no bundle of {self._pinned} has been released (newest released days: "
                f"{days}); name one of these, or unset it for the newest"
            )
        return self._found

    def _take(self, wanted: Champion) -> None:
        try:
            data = read_released(self._storage, wanted, at_most=MAX_BYTES)
            loaded = _load(wanted, data, source=self._storage.url(wanted.path), kept=False)
        except _UNUSABLE as error:
            self._refuse(wanted, error)
            return
        self._serve(loaded)
        self._settle()
        try:
            mirror(self._own, data, wanted)
        except StorageError as error:
            _LOGGER.warning(f"no copy of the bundle is kept, so a start without the storage will have none: {error}")

    def _serve(self, loaded: LoadedBundle) -> None:
        with self._swapping:
            before = self.current
            if before is not None and loaded.kept:
                return
            # The swap. Requests under way hold the bundle that they began with.
            self.current = loaded
            self._telemetry.serves(loaded.champion, swapped=before is not None)
        _LOGGER.info(
            "serving another bundle" if before else "serving the first bundle",
            extra={
                "partition": str(loaded.champion.partition),
                "sha256": loaded.champion.sha256,
                "source": loaded.source,
                "before": str(before.champion.partition) if before else None,
            },
        )

    def _settle(self) -> None:
        self.problem = self._refused = None

    def _refuse(self, champion: Champion, error: Exception) -> None:
        if champion != self._refused:
            self._telemetry.refused_bundles.inc()
            self._pause = 0.5
        self._refused = champion
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        self._not_before = time.monotonic() + self._pause
        self._refusal = f"the released bundle of {champion.partition} is refused: {error}"
        self._tell(self._refusal)

    def _tell(self, problem: str) -> None:
        if problem != self.problem:
            _LOGGER.warning(problem)
        self.problem = problem

    def _take_own_copy(self) -> None:
        try:
            champion = read_pointer(self._own)
            if champion is None or self._pinned not in (None, champion.partition):
                return
            data = read_released(self._own, champion, at_most=MAX_BYTES)
            self._serve(_load(champion, data, source=self._own.url(champion.path), kept=True))
        except (StorageError, *_UNUSABLE) as error:
            _LOGGER.warning(f"the kept copy of the last good bundle cannot be used: {error}")


def _load(champion: Champion, data: bytes, *, source: str, kept: bool) -> LoadedBundle:
    """Read, try and so warm up a bundle. Raises ValueError or LightGbmError for one that must not serve."""
    bundle = Bundle.from_bytes(data)
    if bundle.metadata.partition != champion.partition:
        raise ValueError(
            f"metadata.json: its partition is {bundle.metadata.partition}, and it was released as that of "
            f"{champion.partition}; release that day again"
        )
    predictor = RowPredictor(bundle.model)
    predictor.check_probes(bundle.metadata.probes)
    predictor.explain(bundle.metadata.probes[0].film.as_film())
    return LoadedBundle(
        champion=champion,
        metadata=bundle.metadata,
        predictor=predictor,
        source=source,
        kept=kept,
        loaded_at=datetime.now(UTC),
    )
