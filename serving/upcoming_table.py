"""One day's films in memory: read from a file of `predicted_ratings`, which is checked, and searched.

A day of TMDB may hold 50,000 films, so they stay in an Arrow table, and only those of an answer become objects. This
module imports pyarrow, which would double the time until the service is ready: it is imported with the first file.
"""

import io
import struct
from collections.abc import Iterator
from datetime import date
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from movie_platform.rating_model.card import ATTRIBUTION
from movie_platform.rating_model.fields import SITUATIONS, YEARS
from movie_platform.rating_model.model import HIGHEST_RATING
from movie_platform.tmdb.reference import GENRES, LANGUAGES
from serving.upcoming import ReducedError, Selection, Sort, UpcomingFilm, UpcomingQuery

__all__ = ["UpcomingFilms"]

# Arrow's own allocator keeps several times what it is asked for, the more the more threads there are.
pa.set_memory_pool(pa.system_memory_pool())

_MOST_FILMS: Final = 500_000
_LARGEST_TABLE: Final = 256 * 2**20
"""Bytes in memory. The largest day that TMDB could give needs a tenth."""

_CSV_ROWS: Final = 500
"""In one chunk of a CSV file."""

_SYNTHETIC: Final = (
    "Synthetic: these films, or those that the model learned from, are invented by the platform's built-in catalogue."
)

_COLUMNS: Final = pa.schema(
    [
        ("id", pa.int64()),
        ("title", pa.string()),
        ("original_title", pa.string()),
        ("overview", pa.string()),
        ("release_date", pa.date32()),
        ("genres", pa.list_(pa.string())),
        ("original_language", pa.string()),
        ("poster_path", pa.string()),
        ("situation", pa.string()),
        ("prediction", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("bundle_sha256", pa.string()),
        ("bundle_partition", pa.date32()),
        ("synthetic", pa.bool_()),
    ]
)
_MAY_BE_MISSING: Final = {"overview", "release_date", "original_language", "poster_path"}


class UpcomingFilms:
    """The films of one day's `predicted_ratings`. Immutable, for any number of threads."""

    def __init__(self, day: date, table: pa.Table) -> None:
        """Take a table that `from_parquet` has checked."""
        self.day = day
        """Of the predictions: the films are upcoming as seen from it."""

        self.synthetic = bool(pc.any(table["synthetic"]).as_py())
        """At least some of it is invented."""

        self.attribution = _SYNTHETIC if pc.all(table["synthetic"]).as_py() else ATTRIBUTION
        """What must be said where the films show."""

        self._table = table
        self._searched = _folded(pc.binary_join_element_wise(table["title"], table["original_title"], _text("\n")))
        self._orders = _orders(table)
        self._with_genre = _with_genre(table)
        self.genres = tuple(self._with_genre)
        """Those that occur."""

        self.languages: tuple[str, ...] = tuple(pc.unique(table["original_language"].drop_null()).sort().to_pylist())
        """Those that occur, as codes."""

    @classmethod
    def from_parquet(cls, day: date, data: bytes) -> "UpcomingFilms":
        """Read a file.

        Raises ValueError, which names the problem, for what is not one of `predicted_ratings`, and ReducedError for one
        that was reduced to ids and numbers.
        """
        try:
            table = _read(data)
            _check(table)
            return cls(day, table)
        except (pa.ArrowException, OSError, OverflowError, MemoryError) as error:
            # The first line: the others are places in Arrow's sources.
            reason = f"{error}".partition("\n")[0][:200]
            raise ValueError(f"it is not a Parquet file, or a broken one: {reason}") from error
        finally:
            pa.default_memory_pool().release_unused()

    def __len__(self) -> int:
        return len(self._table)

    def select(self, query: UpcomingQuery) -> Selection:
        """Return the films on the query's page."""
        rows = self._rows(query)
        page = rows.slice((query.page - 1) * query.per_page, query.per_page)
        return Selection(total=len(rows), films=_films(self._table.take(page)))

    def film(self, tmdb_id: int) -> UpcomingFilm | None:
        """Return the film with this id of TMDB's."""
        if not 0 < tmdb_id < 2**63:
            return None
        row = pc.index(self._table["id"], _number(tmdb_id, pa.int64(), "=q")).as_py()
        return _films(self._table.slice(row, 1))[0] if row >= 0 else None

    def csv(self, query: UpcomingQuery) -> Iterator[bytes]:
        """Yield all films that the query selects, whatever its page, as a CSV file in chunks.

        A text that a spreadsheet would take for a formula is preceded by an apostrophe.
        """
        rows = self._rows(query)
        for start in range(0, max(len(rows), 1), _CSV_ROWS):
            chunk = io.BytesIO()
            table = _without_formulas(self._table.take(rows.slice(start, _CSV_ROWS)))
            pyarrow.csv.write_csv(table, chunk, pyarrow.csv.WriteOptions(include_header=start == 0))
            yield chunk.getvalue()

    def _rows(self, query: UpcomingQuery) -> pa.ChunkedArray:
        """Return which rows of the table the query selects, in its order."""
        table, conditions = self._table, []
        if query.released_from is not None:
            conditions.append(pc.greater_equal(table["release_date"], _day(query.released_from)))
        if query.released_to is not None:
            conditions.append(pc.less_equal(table["release_date"], _day(query.released_to)))
        if query.language is not None:
            conditions.append(pc.equal(table["original_language"], _text(query.language)))
        nobody = pa.nulls(len(table), pa.bool_())
        conditions += [self._with_genre.get(genre, nobody) for genre in query.genres]
        if query.title is not None:
            conditions.append(pc.match_substring(self._searched, _folded(_text(query.title.strip())).as_py()))
        rows = self._orders[query.sort]
        for condition in conditions:
            rows = rows.filter(condition.take(rows))  # leaves those out of which nothing is known, too
        return rows


def _films(table: pa.Table) -> list[UpcomingFilm]:
    return [UpcomingFilm(**{**row, "genres": tuple(row["genres"])}) for row in table.to_pylist()]


def _folded(texts: Any) -> Any:
    """Return a text, or a column of them, as it is searched: without accents, and in upper case.

    Upper, because Greek's sigma has two lower ones.
    """
    apart = pc.utf8_normalize(texts, "NFKD")
    return pc.utf8_upper(pc.replace_substring_regex(apart, pattern=r"[\x{300}-\x{36F}]", replacement=""))


def _orders(table: pa.Table) -> dict[Sort, pa.ChunkedArray]:
    """Return the numbers of all rows in each order, so that no answer needs sorting."""
    orders: dict[Sort, pa.ChunkedArray] = {}
    by: tuple[tuple[Sort, pa.ChunkedArray, str], ...] = (
        ("-prediction", table["prediction"], "descending"),
        ("prediction", table["prediction"], "ascending"),
        ("release_date", table["release_date"], "ascending"),
        ("-release_date", table["release_date"], "descending"),
        ("title", _folded(table["title"]), "ascending"),
    )
    for sort, column, direction in by:
        keys = pa.table({"by": column, "id": table["id"]})
        rows = pc.sort_indices(keys, sort_keys=[("by", direction), ("id", "ascending")])
        orders[sort] = rows.cast(pa.uint32())
    return orders


def _with_genre(table: pa.Table) -> dict[str, pa.Array]:
    """Return for each genre that occurs, in their order, which films have it."""
    rows = pc.indices_nonzero(pc.is_valid(table["id"]))  # 0, 1, 2, ...
    row_of_genre, genre = pc.list_parent_indices(table["genres"]).cast(rows.type), pc.list_flatten(table["genres"])
    return {
        name.as_py(): pc.is_in(rows, value_set=row_of_genre.filter(pc.equal(genre, name)).combine_chunks())
        for name in pc.unique(genre).sort()
    }


def _without_formulas(table: pa.Table) -> pa.Table:
    """Return the table as a CSV file may hold it: genres as one text, and no text that begins like a formula."""
    columns = {}
    for name in table.column_names:
        column = table[name]
        if pa.types.is_list(column.type):
            column = pc.binary_join(column, _text("|"))
        if pa.types.is_string(column.type):
            # The characters that OWASP names, in both widths; a number cannot be negative here.
            column = pc.replace_substring_regex(
                column, pattern=r"\A([=+\-@\t\r\n\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}])", replacement=r"'\1"
            )
        columns[name] = column
    return pa.table(columns)


# Arrow imports pandas, which is large, to make an array or a scalar of a Python value, though not of bytes.


def _text(value: str) -> pa.Scalar:
    data = value.encode()
    offsets = struct.pack("=ii", 0, len(data))
    return pa.StringArray.from_buffers(1, pa.py_buffer(offsets), pa.py_buffer(data))[0]


def _number(value: int, kind: pa.DataType, layout: str) -> pa.Scalar:
    return pa.Array.from_buffers(kind, 1, [None, pa.py_buffer(struct.pack(layout, value))])[0]


def _day(value: date) -> pa.Scalar:
    return _number((value - date(1970, 1, 1)).days, pa.date32(), "=i")


# --- reading and checking --------------------------------------------------------------------------


def _read(data: bytes) -> pa.Table:
    """Return the columns that are needed, each in one piece. Raises ValueError and what pyarrow raises."""
    file = pq.ParquetFile(pa.BufferReader(data))
    films = file.metadata.num_rows
    if not 0 < films <= _MOST_FILMS:
        raise ValueError(f"it says it has {films:,} films, where 1 to {_MOST_FILMS:,} belong")
    for column in _COLUMNS:
        if file.schema_arrow.get_field_index(column.name) < 0:
            raise ValueError(f"{column.name}: there is no such column, or several")
        found = file.schema_arrow.field(column.name).type
        if found != column.type:
            raise ValueError(f"{column.name}: its type is {found} instead of {column.type}")
    batches, size = [], 0
    for batch in file.iter_batches(batch_size=1024, columns=_COLUMNS.names, use_threads=False):
        batches.append(batch.select(_COLUMNS.names))
        size += batch.nbytes
        if size > _LARGEST_TABLE:
            raise ValueError(f"it needs more than {_LARGEST_TABLE:,} bytes of memory")
    if sum(map(len, batches)) != films:
        raise ValueError(f"it says it has {films:,} films and has another number")
    return pa.Table.from_batches(batches).combine_chunks()


def _check(table: pa.Table) -> None:
    """Raise ValueError, or what pyarrow raises, unless every value can be shown and belongs where it is."""
    table.validate(full=True)  # that every text is UTF-8, too, which pyarrow sees only when it makes it
    for name in _COLUMNS.names:
        if table[name].null_count and name not in _MAY_BE_MISSING:
            raise ValueError(f"{name}: a film has none")
    if pc.count_distinct(table["id"]).as_py() != len(table):
        raise ValueError("id: two films have the same one")
    for name, column, known in (
        ("genres", pc.list_flatten(table["genres"]), {*GENRES.values()}),
        ("original_language", table["original_language"].drop_null(), LANGUAGES),
        ("situation", table["situation"], {*SITUATIONS}),
    ):
        if not known >= set(pc.unique(column).to_pylist()):
            raise ValueError(f"{name}: a film has one that is not known")
    if not pc.all(pc.match_substring_regex(pc.unique(table["bundle_sha256"]), r"\A[0-9a-f]{64}\z")).as_py():
        raise ValueError("bundle_sha256: a film has another text than a SHA-256")
    first, last = _day(date(YEARS[0], 1, 1)), _day(date(YEARS[1], 12, 31))
    for name in ("release_date", "bundle_partition"):
        # Before anything makes them Python's, which has no years before 1 and after 9999.
        inside = pc.and_(pc.greater_equal(table[name], first), pc.less_equal(table[name], last))
        if not pc.all(inside, min_count=0).as_py():
            raise ValueError(f"{name}: a film has one that is not within the years {YEARS[0]}..{YEARS[1]}")
    low, prediction, high = table["low"], table["prediction"], table["high"]
    ordered = pc.and_(pc.less_equal(low, prediction), pc.less_equal(prediction, high))
    if not pc.all(ordered).as_py():  # nor with NaN, which is in no order
        raise ValueError("prediction: that of a film is not within low..high")
    if not pc.any(pc.greater(pc.utf8_length(table["title"]), _number(0, pa.int32(), "=i"))).as_py():
        raise ReducedError("its films have no titles any more")
    if pc.min(low).as_py() < 0 or pc.max(high).as_py() > HIGHEST_RATING:
        raise ValueError(f"low, high: those of a film are not within 0..{HIGHEST_RATING:g}")
