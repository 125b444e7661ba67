"""The Pandera schemas of every table, and how a violation is put into words.

What a table must look like, whatever day it is of. What depends on the day (its window, what was announced) belongs
to `checks`; how a table is stored, to `io_managers`.
"""

import math
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pyarrow
from pandera.errors import SchemaErrors

from movie_platform.rating_model.evaluation import BASELINES
from movie_platform.rating_model.films import SITUATIONS
from movie_platform.rating_model.outcomes import AGES, MIN_OUTCOME_VOTES
from movie_platform.rating_model.slices import DIMENSIONS
from movie_platform.tmdb.reference import GENRES, LANGUAGES

GENRE_NAMES = frozenset(GENRES.values())
RATING = pa.Check.in_range(0, 10)

PREDICTED_RATINGS_COLUMNS = pyarrow.schema(
    [
        ("id", pyarrow.int64()),
        ("title", pyarrow.string()),
        ("original_title", pyarrow.string()),
        ("overview", pyarrow.string()),
        ("release_date", pyarrow.date32()),
        ("genres", pyarrow.list_(pyarrow.string())),
        ("original_language", pyarrow.string()),
        ("poster_path", pyarrow.string()),
        ("situation", pyarrow.string()),
        ("prediction", pyarrow.float64()),
        ("low", pyarrow.float64()),
        ("high", pyarrow.float64()),
        ("bundle_sha256", pyarrow.string()),
        ("bundle_partition", pyarrow.date32()),
        ("synthetic", pyarrow.bool_()),
    ]
)
"""The file of `predicted_ratings`."""


def _unique(ids: "pd.Series[Any]") -> "pd.Series[bool]":
    # Items without an integer id cannot be told apart; preprocessing refuses them.
    integers = ids.map(lambda value: isinstance(value, int | np.integer) and not isinstance(value, bool))
    return ~(ids.duplicated() & integers.astype(bool))


# TMDB's items as they came: the fields that everything later reads must be there, unknown ones may. Single bad
# values are not judged here; preprocessing refuses such rows, with a reason, and limits their share.
RAW_ITEMS = pa.DataFrameSchema(
    {
        "id": pa.Column(None, pa.Check(_unique, error="each id appears once"), nullable=True),
        **{
            name: pa.Column(None, nullable=True)
            for name in (
                "title",
                "original_title",
                "overview",
                "release_date",
                "genre_ids",
                "original_language",
                "popularity",
                "vote_average",
                "vote_count",
            )
        },
    },
    strict=False,
)


def _known_genres(genres: pd.Series) -> "pd.Series[bool]":
    return genres.map(GENRE_NAMES.issuperset)


_FILM_COLUMNS = {
    "id": pa.Column("int64", pa.Check.gt(0), unique=True),
    "title": pa.Column("str", pa.Check.str_length(min_value=1)),
    "original_title": pa.Column("str"),
    "overview": pa.Column("str"),
    "release_date": pa.Column("datetime64", coerce=True),
    "genres": pa.Column(object, pa.Check(_known_genres, error="every genre is one of TMDB's")),
    "original_language": pa.Column("str", pa.Check.isin(sorted(LANGUAGES), error="one of TMDB's language codes")),
    "poster_path": pa.Column("str", pa.Check.str_startswith("/"), nullable=True),
    "synthetic": pa.Column("bool"),
}

FILMS = pa.DataFrameSchema(
    {
        **_FILM_COLUMNS,
        "popularity": pa.Column("float64", [pa.Check.ge(0), pa.Check.lt(math.inf)], nullable=True),
        "vote_average": pa.Column("float64", RATING),
        "vote_count": pa.Column("int64", pa.Check.ge(0)),
        "adult": pa.Column("bool"),
        "video": pa.Column("bool"),
    },
    strict=True,
)


def _interval_holds_prediction(frame: pd.DataFrame) -> "pd.Series[bool]":
    return (frame["low"] <= frame["prediction"]) & (frame["prediction"] <= frame["high"])


PREDICTED_RATINGS = pa.DataFrameSchema(
    {
        **_FILM_COLUMNS,
        "situation": pa.Column("str", pa.Check.isin(SITUATIONS)),
        "prediction": pa.Column("float64", RATING),
        "low": pa.Column("float64", RATING),
        "high": pa.Column("float64", RATING),
        "bundle_sha256": pa.Column("str", pa.Check.str_matches(r"^[0-9a-f]{64}$")),
        "bundle_partition": pa.Column("datetime64", coerce=True),
    },
    checks=pa.Check(_interval_holds_prediction, error="low <= prediction <= high"),
    strict=True,
)

OUTCOMES = pa.DataFrameSchema(
    {
        "id": pa.Column("int64", pa.Check.gt(0)),
        "release_date": pa.Column("datetime64", coerce=True),
        "days_before": pa.Column("int64", pa.Check.isin(AGES)),
        "forecast_day": pa.Column("datetime64", coerce=True),
        "bundle_partition": pa.Column("datetime64", coerce=True),
        **{name: pa.Column("float64", RATING) for name in ("prediction", "low", "high", "actual")},
        "vote_count": pa.Column("int64", pa.Check.ge(MIN_OUTCOME_VOTES)),
    },
    checks=[
        pa.Check(_interval_holds_prediction, error="low <= prediction <= high"),
        pa.Check(
            lambda frame: frame["release_date"] - frame["forecast_day"] == pd.to_timedelta(frame["days_before"], "D"),
            error="the forecast is of so many days before the release",
        ),
        pa.Check(
            lambda frame: frame["bundle_partition"] <= frame["forecast_day"],
            error="the bundle is not of a later day than the forecast",
        ),
        pa.Check(
            lambda frame: ~frame.duplicated(["id", "days_before"]), error="each film has one forecast of each age"
        ),
    ],
    strict=True,
)

HOLD_OUT = pa.DataFrameSchema(
    {
        "id": pa.Column("int64", pa.Check.gt(0), unique=True),
        "release_date": pa.Column("datetime64", coerce=True),
        "actual": pa.Column("float64", RATING),
        "vote_count": pa.Column("int64", pa.Check.ge(0)),
        **{
            f"{situation}_{name}": pa.Column("float64", RATING)
            for situation in SITUATIONS
            for name in ("prediction", "low", "high")
        },
        **{baseline: pa.Column("float64", RATING) for baseline in BASELINES},
    },
    strict=True,
)

_REQUIRED_FIGURES = {
    *((situation, model, "rmse") for situation in SITUATIONS for model in ("model", *BASELINES)),
    *((situation, "model", "interval_coverage") for situation in SITUATIONS),
}

METRICS = pa.DataFrameSchema(
    {
        "situation": pa.Column("str", pa.Check.isin(SITUATIONS)),
        "model": pa.Column("str"),
        "metric": pa.Column("str"),
        "value": pa.Column("float64", pa.Check(np.isfinite, error="finite")),
        "films": pa.Column("int64", pa.Check.gt(0)),
    },
    checks=[
        pa.Check(
            lambda frame: ~frame["metric"].isin(["rmse", "mae", "interval_width"]) | (frame["value"] >= 0),
            error="errors and widths are not negative",
        ),
        pa.Check(
            lambda frame: (frame["metric"] != "interval_coverage") | frame["value"].between(0, 1),
            error="a coverage is a share",
        ),
        pa.Check(
            lambda frame: (
                set(frame[["situation", "model", "metric"]].itertuples(index=False, name=None)) >= _REQUIRED_FIGURES
            ),
            error="RMSE of the model and both baselines, and the model's coverage, in both situations",
        ),
    ],
    unique=["situation", "model", "metric"],
    strict=True,
)


def _rmse_of_everything(frame: pd.DataFrame) -> bool:
    found = set(frame[["situation", "model", "figure"]].itertuples(index=False, name=None))
    return found == {
        (situation, model, figure)
        for situation in SITUATIONS
        for figure, models in (("rmse", ("model", *BASELINES)), ("difference", BASELINES))
        for model in models
    }


_ESTIMATE_COLUMNS = {name: pa.Column("float64", pa.Check(np.isfinite, error="finite")) for name in ("low", "high")}
_IN_ORDER = pa.Check(lambda frame: frame["low"] <= frame["high"], error="low <= high")

UNCERTAINTY = pa.DataFrameSchema(
    {
        "situation": pa.Column("str", pa.Check.isin(SITUATIONS)),
        "model": pa.Column("str"),
        "figure": pa.Column("str"),
        "value": pa.Column("float64", pa.Check(np.isfinite, error="finite")),
        **_ESTIMATE_COLUMNS,
    },
    checks=[
        _IN_ORDER,
        pa.Check(
            lambda frame: (frame["figure"] != "rmse") | (frame["low"] >= 0),
            error="the interval of an RMSE is not negative",
        ),
        pa.Check(
            _rmse_of_everything,
            error="an interval of each RMSE, and of the model's minus each baseline's, in both situations",
        ),
    ],
    strict=True,
)

SLICES = pa.DataFrameSchema(
    {
        "dimension": pa.Column("str", pa.Check.isin(DIMENSIONS)),
        "name": pa.Column("str", pa.Check.str_length(min_value=1)),
        "situation": pa.Column("str", pa.Check.isin(SITUATIONS)),
        "films": pa.Column("int64", pa.Check.gt(0)),
        "rmse": pa.Column("float64", [pa.Check.ge(0), pa.Check.lt(math.inf)]),
        **_ESTIMATE_COLUMNS,
        "bias": pa.Column("float64", pa.Check(np.isfinite, error="finite")),
        "interval_coverage": pa.Column("float64", pa.Check.in_range(0, 1)),
    },
    checks=[
        _IN_ORDER,
        pa.Check(
            lambda frame: (
                set(zip(frame["dimension"], frame["situation"], strict=True)) == set(product(DIMENSIONS, SITUATIONS))
            ),
            error="parts by votes, year, language and genre, in both situations",
        ),
    ],
    unique=["dimension", "name", "situation"],
    strict=True,
)

DECISIONS = pa.DataFrameSchema(
    {
        "partition": pa.Column("datetime64", coerce=True),
        "released": pa.Column("bool"),
        "reason": pa.Column("str", pa.Check.str_length(min_value=1)),
        "candidate_sha256": pa.Column("str", pa.Check.str_matches(r"^[0-9a-f]{64}$")),
        "in_force_partition": pa.Column("datetime64", coerce=True, nullable=True),
    },
    checks=[
        pa.Check(
            lambda frame: frame["in_force_partition"].isna() | (frame["in_force_partition"] <= frame["partition"]),
            error="the champion in force is not of a later day",
        ),
        pa.Check(
            lambda frame: ~frame["released"] | (frame["in_force_partition"] == frame["partition"]),
            error="a released bundle is in force on its own day",
        ),
        pa.Check(
            lambda frame: frame["released"] | (frame["in_force_partition"] != frame["partition"]),
            error="a bundle that was not released is not in force",
        ),
    ],
    strict=True,
)


def violations(schema: pa.DataFrameSchema, frame: pd.DataFrame) -> list[str]:
    """What is wrong with the table, a sentence each with up to three examples; empty if nothing is.

    A table without rows is wrong: every later figure would be about nothing.
    """
    if frame.empty:
        return ["the table has no rows"]
    try:
        schema.validate(frame, lazy=True)
    except SchemaErrors as errors:
        return _in_words(errors.failure_cases)
    return []


def _in_words(cases: pd.DataFrame) -> list[str]:
    sentences = []
    for (context, check), rows in cases.groupby(["schema_context", "check"], sort=True, dropna=False):
        if check == "column_in_dataframe":
            sentences += [f"{column}: the column is missing" for column in rows["failure_case"]]
        elif check == "column_in_schema":
            sentences += [f"{column}: the column is not expected" for column in rows["failure_case"]]
        elif context == "Column":
            sentences += [_of_column(column, check, found) for column, found in rows.groupby("column", sort=True)]
        else:  # of the whole table: pandera repeats such a check for every column of the row
            where = rows["index"].dropna().unique()
            shown = f" in {len(where)} of its rows, the first is row {where[0]}" if len(where) else ""
            sentences.append(f"the table: {check} does not hold{shown}")
    return sorted(sentences)


def _of_column(column: Any, check: Any, found: pd.DataFrame) -> str:
    examples: list[Any] = found["failure_case"].head(3).tolist()
    shown = ", ".join(str(example)[:80] for example in examples)
    more = f" and {len(found) - len(examples)} more" if len(found) > len(examples) else ""
    return f"{column}: {check} does not hold for {shown}{more}"
