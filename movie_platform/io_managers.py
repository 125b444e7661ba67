"""IO managers: each day's result as one file, `<asset>/<day><extension>`, on `storage`, and back.

Here belongs how a table, a document or a bundle becomes bytes and where they lie. What is in them belongs to the
assets; whether they are good, to `checks`. All of them take the day stream of `daily.materialize_days`, so a
range is stored day by day, and give every input as a `DayInputs` mapping, on a single day too.
"""

import gzip
import hashlib
import io
import json
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Generic, TypeVar

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from movie_platform.dagster_internals import check_event, check_target, materialization_events
from movie_platform.daily import CheckedDay, DayFailed, DayStream
from movie_platform.day_records import AssetRecords, Purge
from movie_platform.partitions import parse_day
from movie_platform.rating_model.bundle import Bundle
from movie_platform.schemas import PREDICTED_RATINGS_COLUMNS
from movie_platform.storage import ObjectNotFound, Storage
from movie_platform.tmdb.films import films_from_parquet, films_to_parquet, read_table

T = TypeVar("T")


class MissingDay(DayFailed, KeyError):  # noqa: N818 as DayFailed
    """An asset has no file for a day that is needed."""

    def __init__(self, asset: str, day: date, url: str, purge: Purge | None = None) -> None:
        super().__init__(
            f"{asset} has no file for {day} ({url}): materialize {asset} for that day first"
            if purge is None
            else f"{asset} of {day} was purged on {purge.on}, since TMDB's data may not be kept any longer: it cannot "
            f"be made again as it was. To go on with what TMDB says now, materialize the assets that were collected "
            f"for {day}, and what follows from them"
        )

    def __str__(self) -> str:
        return str(self.args[0])


class DayInputs(Mapping[date, Any]):
    """An upstream asset's days, from day to value, each read and verified when it is asked for.

    Any day may be asked for: one that has no file is not contained, and raises `MissingDay`, which names the asset, the
    day and where its file was expected. Iterating yields those of the run. Nothing is kept in memory, so a look-back
    costs one day at a time.
    """

    def __init__(
        self,
        days: Sequence[date],
        *,
        load: Callable[[date], Any],
        exists: Callable[[date], bool],
        purge_of: Callable[[date], Purge | None] = lambda _: None,
    ) -> None:
        self._days = sorted(days)
        self._load = load
        self._exists = exists
        self.purge_of = purge_of
        """That a day is not there any more, because TMDB's data may not be kept any longer; None if it never was."""

    def __getitem__(self, day: date) -> Any:
        return self._load(day)

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and self._exists(day)

    def __iter__(self) -> Iterator[date]:
        return (day for day in self._days if self._exists(day))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class DailyIOManager(dg.IOManager, ABC, Generic[T]):
    """One file a day of one asset. Subclasses say how a value becomes bytes and back."""

    extension: str

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    @abstractmethod
    def encode(self, asset: str, value: T) -> bytes:
        """The bytes of a value: equal values have equal bytes."""

    @abstractmethod
    def decode(self, data: bytes) -> Any:
        """The value of the bytes."""

    def encode_refused(self, asset: str, value: T) -> bytes:
        """The bytes of a value that a check refused, which may not have the shape that `encode` wants."""
        return self.encode(asset, value)

    # Dagster takes events from a generator here, which its own signature does not say.
    def handle_output(self, context: dg.OutputContext, obj: DayStream) -> Iterator[Any]:  # type: ignore[override]
        """Store the days of the stream, one at a time, and record each one when it is safe."""
        stored = 0
        for checked in obj:
            target = None
            try:
                if checked.refused:
                    self._keep_refused(obj.asset, checked)
                    metadata = None
                else:
                    metadata = self._store(obj.asset, checked)
            except Exception as error:  # noqa: BLE001 the same failure, but one that names the day
                obj.stop(checked.day, error)
                obj.raise_failures()
            if metadata is not None:
                yield from materialization_events(
                    context, checked.day, data_version=metadata["sha256"], metadata=metadata
                )
                stored += 1
                target = check_target(context, checked.day) if checked.verdicts else None
            for examined in checked.verdicts:
                yield check_event(
                    context,
                    checked.day,
                    name=examined.check.name,
                    passed=examined.verdict.passed,
                    blocking=examined.check.blocking,
                    description=examined.verdict.summary,
                    metadata={"day": checked.day.isoformat(), **examined.verdict.evidence},
                    target=target,
                )
            del checked  # before the next day is made
        if obj.is_tried_again or not (stored or obj.stored_before):
            # Raised from here, downstream assets are not begun; from the asset's body, they would be.
            obj.raise_failures()

    def load_input(self, context: dg.InputContext) -> DayInputs:
        """The upstream days that the run may read."""
        asset = context.asset_key.path[-1]
        records = AssetRecords(context.step_context.instance, asset)

        def load(day: date) -> Any:
            key = self._key(asset, day)
            url = self._storage.url(key)
            if purge := records.deletion_of(day):  # the file may not be gone yet
                raise MissingDay(asset, day, url, purge)
            try:
                data = self._storage.get(key)
            except ObjectNotFound as error:
                raise MissingDay(asset, day, url) from error
            remedy = f"materialize {asset} for {day} again"
            if day in records.versions and not records.agrees(day, data):
                raise DayFailed(f"{url} is not the file that was recorded for {asset} {day}: {remedy}")
            try:
                return self.decode(data)
            except (ValueError, OSError, EOFError, zlib.error) as error:
                raise DayFailed(f"{url} is damaged ({type(error).__name__}: {error}): {remedy}") from error

        return DayInputs(
            [parse_day(key) for key in context.asset_partition_keys],
            load=load,
            exists=lambda day: not records.deletion_of(day) and self._storage.exists(self._key(asset, day)),
            purge_of=records.deletion_of,
        )

    def _key(self, asset: str, day: date) -> str:
        return f"{asset}/{day}{self.extension}"

    def _store(self, asset: str, checked: CheckedDay) -> dict[str, Any]:
        key, output = self._key(asset, checked.day), checked.output
        data = self.encode(asset, output.value)
        for name, content in output.attachments.items():
            self._storage.put(f"{asset}/{checked.day}/{name}", content)
        self._storage.put(key, data)
        added = (output.publish() if output.publish else None) or {}
        return {
            **output.metadata,
            **added,
            "file": dg.MetadataValue.path(self._storage.url(key)),
            "sha256": hashlib.sha256(data).hexdigest(),
            "size": dg.MetadataValue.text(f"{len(data):,} bytes"),
        }

    def _keep_refused(self, asset: str, checked: CheckedDay) -> None:
        """Put the refused result, and what stood under the final name before it, aside: nothing stands there."""
        key = self._key(asset, checked.day)
        try:
            self._storage.put(f"rejected/{key}", self.encode_refused(asset, checked.output.value))
        except (ValueError, TypeError, AttributeError, LookupError) as error:  # so wrong that it has no bytes
            text = f"{error!r}\n{checked.output.value!r}"
            self._storage.put(f"rejected/{asset}/{checked.day}.txt", text.encode(errors="backslashreplace"))
        for name, content in checked.output.attachments.items():
            self._storage.put(f"rejected/{asset}/{checked.day}/{name}", content)
        folder = f"{asset}/{checked.day}"
        before = {key: f"rejected/{folder}.before{self.extension}"}
        before |= {name: f"rejected/{folder}.before/{name.rpartition('/')[2]}" for name in self._storage.list(folder)}
        for name, aside in before.items():
            if self._storage.exists(name):
                self._storage.put(aside, self._storage.get(name))
                self._storage.delete(name)


class JsonLinesIOManager(DailyIOManager[Sequence[Mapping[str, Any]]]):
    """Items, one JSON object a line, compressed; every key and value as it was received."""

    extension = ".jsonl.gz"

    def encode(self, asset: str, value: Sequence[Mapping[str, Any]]) -> bytes:  # noqa: ARG002
        """Lines in the items' order; no file name and no time in the gzip header."""
        lines = "".join(json.dumps(item, ensure_ascii=False, separators=(",", ":")) + "\n" for item in value)
        # A lone surrogate is legal in JSON but not in UTF-8; its backslash form is JSON's own escape.
        return gzip.compress(lines.encode(errors="backslashreplace"), compresslevel=6, mtime=0)

    def decode(self, data: bytes) -> list[dict[str, Any]]:
        """The items; raises `ValueError` for no bytes at all, which gzip would take for no items."""
        if not data:
            raise ValueError("the file is empty")
        return [json.loads(line) for line in gzip.decompress(data).decode().split("\n") if line]


class FilmsIOManager(DailyIOManager[pd.DataFrame]):
    """Tables of films, as `tmdb.films` writes and reads them."""

    extension = ".parquet"

    def encode(self, asset: str, value: pd.DataFrame) -> bytes:  # noqa: ARG002
        """The Parquet file; raises `ValueError` for another table."""
        return films_to_parquet(value)

    def encode_refused(self, asset: str, value: pd.DataFrame) -> bytes:
        """Whatever columns and types the table has."""
        try:
            return self.encode(asset, value)
        except (ValueError, pa.ArrowException):
            return _parquet(pa.Table.from_pandas(value.astype(str), preserve_index=False))

    def decode(self, data: bytes) -> pd.DataFrame:
        """The table."""
        return films_from_parquet(data)


class PredictionsIOManager(FilmsIOManager):
    """Tables of predicted ratings."""

    def encode(self, asset: str, value: pd.DataFrame) -> bytes:  # noqa: ARG002
        """Columns of `PREDICTED_RATINGS_COLUMNS`, in their order; raises `ValueError` for others."""
        if set(value.columns) != set(PREDICTED_RATINGS_COLUMNS.names):
            raise ValueError(f"not a table of predicted ratings, its columns are {', '.join(map(str, value.columns))}")
        return _parquet(pa.Table.from_pandas(value, schema=PREDICTED_RATINGS_COLUMNS, preserve_index=False))

    def decode(self, data: bytes) -> pd.DataFrame:
        """The table; dates as `datetime64`, genres as lists."""
        return read_predictions(data)


def read_predictions(data: bytes) -> pd.DataFrame:
    """A table of predicted ratings from its Parquet bytes."""
    arrow = read_table(data)
    table: pd.DataFrame = arrow.to_pandas(date_as_object=False, use_threads=False)
    return table.assign(genres=table["genres"].map(list))


def reduce_predictions(data: bytes) -> bytes:
    """A table of predicted ratings in the same columns, with nothing of TMDB's but ids; equal tables give equal bytes.

    Raises `ValueError` or pyarrow's errors for what is no such table.
    """
    films = read_predictions(data)
    empty = films.assign(
        title="",
        original_title="",
        overview="",
        release_date=None,
        genres=pd.Series([[]] * len(films), index=films.index, dtype=object),
        original_language=None,
        poster_path=None,
    )
    return _parquet(pa.Table.from_pandas(empty, schema=PREDICTED_RATINGS_COLUMNS, preserve_index=False))


def are_reduced(films: pd.DataFrame) -> bool:
    """Whether a table of predicted ratings is one of `reduce_predictions`: every film has a title."""
    return bool(len(films)) and bool((films["title"] == "").all())


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    # pandas' metadata would hold the versions of the libraries that happened to write the file.
    pq.write_table(table.replace_schema_metadata(None), sink, compression="zstd")
    return sink.getvalue()


class BundleIOManager(DailyIOManager[Bundle]):
    """Model bundles."""

    extension = ".zip"

    def encode(self, asset: str, value: Bundle) -> bytes:  # noqa: ARG002
        """The zip."""
        return value.to_bytes()

    def decode(self, data: bytes) -> Bundle:
        """The bundle; raises `BundleError` for anything that is not one."""
        return Bundle.from_bytes(data)


class JsonIOManager(DailyIOManager[Mapping[str, Any]]):
    """Documents, one JSON object a file, indented for people."""

    extension = ".json"

    def encode(self, asset: str, value: Mapping[str, Any]) -> bytes:  # noqa: ARG002
        """Keys in the document's order; NaN and infinities are refused, since they are not JSON."""
        return (json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()

    def encode_refused(self, asset: str, value: Mapping[str, Any]) -> bytes:  # noqa: ARG002
        """The document with whatever is not JSON in it as text."""
        return (json.dumps(value, ensure_ascii=False, indent=1, default=str) + "\n").encode()

    def decode(self, data: bytes) -> dict[str, Any]:
        """The document."""
        document: dict[str, Any] = json.loads(data)
        return document
