"""Films as a typed table: what of TMDB's items can be used, in which types, and why the rest cannot.

Single fields, the normalization of text and the table's form in Parquet belong here. What a model makes of
the fields belongs in the model; which share of refused items is too much is for the caller to say.
"""

import io
import math
import re
import reprlib
import unicodedata
from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeGuard

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from movie_platform.tmdb.reference import GENRES, LANGUAGES, parse_date

__all__ = [
    "FILMS_SCHEMA",
    "Films",
    "Refusal",
    "films_from_parquet",
    "films_to_parquet",
    "normalize_text",
    "read_table",
    "to_films",
]

FILMS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("original_title", pa.string(), nullable=False),
        pa.field("overview", pa.string(), nullable=False),
        pa.field("release_date", pa.date32(), nullable=False),
        pa.field("genres", pa.list_(pa.string()), nullable=False),
        pa.field("original_language", pa.string(), nullable=False),
        pa.field("popularity", pa.float64()),
        pa.field("vote_average", pa.float64(), nullable=False),
        pa.field("vote_count", pa.int64(), nullable=False),
        pa.field("poster_path", pa.string()),
        pa.field("adult", pa.bool_(), nullable=False),
        pa.field("video", pa.bool_(), nullable=False),
        pa.field("synthetic", pa.bool_(), nullable=False),
    ]
)
"""The films as a Parquet file. `to_films` says what the columns hold."""

_DTYPES = {
    "id": "int64",
    "title": "str",
    "original_title": "str",
    "overview": "str",
    "release_date": "datetime64[s]",  # the coarsest unit that pandas has; always midnight
    "genres": "object",
    "original_language": "str",
    "popularity": "float64",
    "vote_average": "float64",
    "vote_count": "int64",
    "poster_path": "str",
    "adult": "bool",
    "video": "bool",
    "synthetic": "bool",
}
_LARGEST_INTEGER = np.iinfo(np.int64).max
_HIGHEST_VOTE = 10
_LONGEST_DETAIL = 80  # characters

# Control characters that are not white space, and halves of surrogate pairs, which have no UTF-8.
_CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff]")
_POSTER = re.compile(r"/[A-Za-z0-9_-]+\.[A-Za-z]+")


@dataclass(frozen=True)
class Refusal:
    """An item that cannot be used: a reason fit for counting, its id if it has one, the refused value."""

    reason: str
    item_id: int | None
    detail: str


@dataclass(frozen=True)
class Films:
    """The usable films, the refused items, and what was left out of usable films (how often, by reason)."""

    table: pd.DataFrame
    refused: list[Refusal]
    notes: dict[str, int]


class _RefusedError(Exception):
    def __init__(self, reason: str, value: Any) -> None:
        super().__init__(reason)
        self.reason = reason
        self.value = value


def normalize_text(text: str) -> str:
    """Return `text` as the table holds it; normalizing twice changes nothing.

    1. Control characters and halves of surrogate pairs are removed.
    2. Each run of white space (Unicode's, line ends included) becomes one space, none at either end.
    3. What remains is put into Unicode's normal form C.

    Case, punctuation and scripts stay: the table shows titles to people.
    """
    return unicodedata.normalize("NFC", " ".join(_CONTROL.sub("", text).split()))


def to_films(items: Iterable[Any]) -> Films:
    """Return the table of the usable films among TMDB items, whatever JSON these are.

    One row a film, ascending unique ids; of several items with an id the first usable one counts. Columns:

    - `id` int64; `title`, `original_title` (the title where it is missing) and `overview` ("" where it is
      missing) str, normalized by `normalize_text`
    - `release_date` datetime64[s], midnight
    - `genres` list of str: names of `GENRES`, in its order; unknown ids are left out and noted
    - `original_language` str, one of `LANGUAGES`
    - `popularity` float64, NaN where it is missing; `vote_average` float64 in 0..10; `vote_count` int64
    - `poster_path` str, missing where it is missing or malformed (noted)
    - `adult`, `video`, `synthetic` bool, true only where the item says `true`

    Integers count as floats, `true` and `false` do not count as numbers. An item is refused when its id is
    not a positive integer, its title or release date is missing, its language is unknown, or a figure is
    impossible.
    """
    rows: dict[int, dict[str, Any]] = {}
    refused: list[Refusal] = []
    notes: Counter[str] = Counter()
    for item in items:
        try:
            row = _read_row(item, rows, notes)
        except _RefusedError as refusal:
            detail = reprlib.repr(refusal.value)[:_LONGEST_DETAIL]  # repr() fails on deep nesting
            refused.append(Refusal(refusal.reason, _id_or_none(item), detail))
        else:
            rows[row["id"]] = row
    ordered = [rows[identity] for identity in sorted(rows)]
    table = pd.DataFrame({name: _column([row[name] for row in ordered], name) for name in _DTYPES})
    return Films(table=table, refused=refused, notes=dict(sorted(notes.items())))


def films_to_parquet(table: pd.DataFrame) -> bytes:
    """Return the table of `to_films` as a Parquet file.

    With one version of pyarrow, equal tables give equal bytes.
    Raises `ValueError` naming the columns when the table is not one of `to_films`.
    """
    dtypes = {str(name): str(dtype) for name, dtype in table.dtypes.items()}
    if differing := dict(dtypes.items() ^ _DTYPES.items()):
        raise ValueError(f"not a table of films, see its columns {', '.join(sorted(differing))}")
    buffer = io.BytesIO()
    # pandas' metadata would hold the versions of the libraries that happened to write the file.
    arrow = pa.Table.from_pandas(table, schema=FILMS_SCHEMA, preserve_index=False).replace_schema_metadata()
    pq.write_table(arrow, buffer, compression="zstd", store_schema=False)
    return buffer.getvalue()


def read_table(data: bytes) -> pa.Table:
    """Return a Parquet file's table; raises what pyarrow raises.

    Neither through a Python file nor with threads: with both, now and then a process aborts or hangs when it ends
    (https://github.com/apache/arrow/issues/34314, https://github.com/apache/arrow/issues/50482).
    """
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)


def films_from_parquet(data: bytes) -> pd.DataFrame:
    """Return the table that `films_to_parquet` wrote, with the dtypes of `to_films`.

    Raises `ValueError` when the bytes are not such a file.
    """
    try:
        arrow = read_table(data)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"not a Parquet file: {error}") from error
    if not arrow.schema.equals(FILMS_SCHEMA):
        raise ValueError(f"not a table of films, its columns are {', '.join(arrow.schema.names)}")
    columns = {name: arrow.column(name) for name in FILMS_SCHEMA.names}
    table = pd.DataFrame(
        {
            name: _column(column.to_pylist(), name) if name == "genres" else column.to_pandas(date_as_object=False)
            for name, column in columns.items()
        }
    )
    return table.astype({name: dtype for name, dtype in _DTYPES.items() if name != "genres"})


def _column(values: list[Any], name: str) -> "pd.Series[Any]":
    if name == "release_date":
        return pd.Series(np.array(values, dtype="datetime64[D]").astype("datetime64[s]"))
    return pd.Series(values, dtype=_DTYPES[name])


def _read_row(item: Any, taken: Container[int], notes: Counter[str]) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise _RefusedError("item is not an object", item)
    identity = _id_or_none(item)
    if identity is None:
        raise _RefusedError("id is not a positive integer", item.get("id"))
    title = _text(item, "title")
    if not title:
        raise _RefusedError("title is missing", item.get("title"))
    row = {
        "id": identity,
        "title": title,
        "original_title": _text(item, "original_title") or title,
        "overview": _text(item, "overview"),
        "release_date": _release_date(item.get("release_date")),
        "original_language": _language(item.get("original_language")),
        "popularity": _popularity(item.get("popularity")),
        "vote_average": _vote_average(item.get("vote_average")),
        "vote_count": _vote_count(item.get("vote_count")),
        "adult": item.get("adult") is True,
        "video": item.get("video") is True,
        "synthetic": item.get("synthetic") is True,
    }
    if identity in taken:
        raise _RefusedError("id occurs more than once", identity)
    # Last, when it is certain that the film is used: only what is left out of used films is noted.
    row["genres"] = _genres(item.get("genre_ids"), notes)
    row["poster_path"] = _poster_path(item.get("poster_path"), notes)
    return row


def _id_or_none(item: Any) -> int | None:
    identity = item.get("id") if isinstance(item, dict) else None
    return identity if _is_integer(identity) and 0 < identity <= _LARGEST_INTEGER else None


def _is_integer(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> float:
    """Return a JSON number as a float, NaN for everything else."""
    if not (isinstance(value, float) or _is_integer(value)):
        return math.nan
    try:
        return float(value)
    except OverflowError:  # an integer beyond the largest float
        return math.inf if value > 0 else -math.inf


def _text(item: dict[str, Any], name: str) -> str:
    value = item.get(name)
    return normalize_text(value) if isinstance(value, str) else ""


def _release_date(value: Any) -> date:
    if value is None or value == "":
        raise _RefusedError("release_date is empty", value)
    released = parse_date(value)
    if released is None:
        raise _RefusedError("release_date is not a date", value)
    return released


def _language(value: Any) -> str:
    if isinstance(value, str) and value in LANGUAGES:
        return value
    raise _RefusedError("original_language is not a TMDB language code", value)


def _popularity(value: Any) -> float:
    if value is None:
        return math.nan
    if not 0 <= (popularity := _number(value)) < math.inf:
        raise _RefusedError("popularity is not a number of at least 0", value)
    return popularity


def _vote_average(value: Any) -> float:
    if math.isnan(average := _number(value)):
        raise _RefusedError("vote_average is not a number", value)
    if not 0 <= average <= _HIGHEST_VOTE:
        raise _RefusedError("vote_average is outside 0..10", value)
    return average


def _vote_count(value: Any) -> int:
    if not (_is_integer(value) and 0 <= value <= _LARGEST_INTEGER):
        raise _RefusedError("vote_count is not a non-negative integer", value)
    return value


def _genres(value: Any, notes: Counter[str]) -> list[str]:
    if not isinstance(value, list):
        notes["genre_ids is not a list"] += 1
        return []
    known = {identity for identity in value if _is_integer(identity) and identity in GENRES}
    if unknown := sum(not (_is_integer(identity) and identity in GENRES) for identity in value):
        notes["genre id is not in TMDB's table"] += unknown
    return [name for identity, name in GENRES.items() if identity in known]


def _poster_path(value: Any, notes: Counter[str]) -> str | None:
    if value is None or (isinstance(value, str) and _POSTER.fullmatch(value)):
        return value
    notes["poster_path is malformed"] += 1
    return None
