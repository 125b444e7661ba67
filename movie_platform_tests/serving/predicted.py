"""Made films with predicted ratings, and files of them as the platform writes them."""

import io
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from movie_platform.schemas import PREDICTED_RATINGS_COLUMNS
from movie_platform.storage import Storage

DAY = date(2026, 1, 3)


def film(id_: int = 1, **fields: Any) -> dict[str, Any]:
    """Return a row; a film that comes out on the day after `DAY`."""
    prediction = fields.get("prediction", 6.0)
    return {
        "id": id_,
        "title": f"Film {id_}",
        "original_title": f"Film {id_}",
        "overview": "Somebody comes to town.",
        "release_date": DAY + timedelta(days=1),
        "genres": ["Drama"],
        "original_language": "en",
        "poster_path": None,
        "situation": "unreleased",
        "low": max(prediction - 1, 0.0),
        "high": min(prediction + 1, 10.0),
        "bundle_sha256": "ab" * 32,
        "bundle_partition": DAY,
        "synthetic": True,
        **fields,
        "prediction": prediction,
    }


def parquet(
    rows: Sequence[Mapping[str, Any]], *, change: Callable[[pa.Table], pa.Table] | None = None, **options: Any
) -> bytes:
    """Return the file of these rows, after a change of the table if one is given."""
    table = pa.Table.from_pylist(list(rows), schema=PREDICTED_RATINGS_COLUMNS)
    sink = io.BytesIO()
    pq.write_table(change(table) if change else table, sink, **{"compression": "zstd", **options})
    return sink.getvalue()


def key(day: date = DAY) -> str:
    """Return where a day's file is."""
    return f"predicted_ratings/{day}.parquet"


def put(storage: Storage, *rows: Mapping[str, Any], day: date = DAY) -> None:
    """Let the storage hold these films, of which there is at least one, as the predictions of the day."""
    storage.put(key(day), parquet(rows or [film()]))
