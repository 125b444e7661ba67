"""What each table must look like, and how a violation is put into words."""

import math
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from movie_platform.rating_model.evaluation import (
    Evaluation,
    evaluate,
    hold_out_from_json,
    hold_out_to_json,
    uncertainty,
)
from movie_platform.rating_model.films import SITUATIONS
from movie_platform.rating_model.slices import slice_table, slices
from movie_platform.schemas import (
    DECISIONS,
    FILMS,
    HOLD_OUT,
    METRICS,
    OUTCOMES,
    PREDICTED_RATINGS,
    PREDICTED_RATINGS_COLUMNS,
    RAW_ITEMS,
    SLICES,
    UNCERTAINTY,
    violations,
)
from movie_platform.tmdb.catalogue import synthetic_films
from movie_platform.tmdb.films import films_from_parquet, films_to_parquet, to_films
from movie_platform_tests.rating_model.examples import SMALL, example_films

ITEMS = synthetic_films(date(2026, 1, 5))[:40]
OUTSIDE = [-0.1, 10.1, math.inf, -math.inf]
"""Ratings that no film can have."""


def raw(items: list[dict[str, Any]] | None = None) -> pd.DataFrame:
    return pd.DataFrame(ITEMS if items is None else items, dtype=object)


def films() -> pd.DataFrame:
    return to_films(ITEMS).table


def predictions() -> pd.DataFrame:
    """Three films as `predicted_ratings` holds them, one of them without all that may be missing."""
    return pd.DataFrame(
        {
            "id": [7, 8, 9],
            "title": ["Seven", "Eight", "Nine"],
            "original_title": ["Sept", "Huit", ""],
            "overview": ["A film.", "Another film.", ""],
            "release_date": pd.to_datetime(["2026-03-01", "2025-12-24", "2026-02-01"]),
            "genres": [["Drama"], ["Comedy", "Science Fiction"], []],
            "original_language": ["fr", "en", "xx"],
            "poster_path": pd.Series(["/seven.jpg", "/eight.jpg", None], dtype="str"),
            "situation": ["unreleased", "released", "unreleased"],
            "prediction": [8.25, 7.5, 0.0],
            "low": [7.0, 7.5, 0.0],
            "high": [10.0, 8.0, 1.5],
            "bundle_sha256": ["ab" * 32] * 3,
            "bundle_partition": pd.to_datetime(["2026-01-05"] * 3),
            "synthetic": [False] * 3,
        }
    )


def outcomes() -> pd.DataFrame:
    """One film with its forecasts of all ages, and another one with a single one."""
    return pd.DataFrame(
        {
            "id": [7, 7, 7, 8],
            "release_date": pd.to_datetime(["2026-04-01"] * 3 + ["2026-04-02"]),
            "days_before": [90, 30, 1, 1],
            "forecast_day": pd.to_datetime(["2026-01-01", "2026-03-02", "2026-03-31", "2026-04-01"]),
            "bundle_partition": pd.to_datetime(["2026-01-01", "2026-03-01", "2026-03-01", "2026-03-01"]),
            "prediction": [6.5, 6.5, 6.6, 0.0],
            "low": [5.5, 5.5, 5.6, 0.0],
            "high": [7.5, 7.5, 7.6, 0.0],
            "actual": [7.0, 7.0, 7.0, 10.0],
            "vote_count": [50, 50, 50, 5000],
        }
    )


def decision(**changed: Any) -> pd.DataFrame:
    """A released day, as a table of one row."""
    row = {
        "partition": pd.Timestamp("2026-01-05"),
        "released": True,
        "reason": "It is better.",
        "candidate_sha256": "ab" * 32,
        "in_force_partition": pd.Timestamp("2026-01-05"),
        **changed,
    }
    return pd.DataFrame([row]).astype(
        {"reason": "str", "candidate_sha256": "str", "in_force_partition": "datetime64[us]"}
    )


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluate(example_films(), SMALL, until=date(2024, 1, 1), months=60, min_films=80)


def sentence(schema: pa.DataFrameSchema, frame: pd.DataFrame) -> str:
    """The one violation, which a person can read."""
    found = violations(schema, frame)
    assert len(found) == 1, found
    assert len(found[0]) < 200
    return found[0]


# --- what the platform makes ----------------------------------------------------------------------


def test_items_as_they_come_are_accepted():
    assert violations(RAW_ITEMS, raw()) == []


def test_fields_that_nobody_knows_and_values_that_preprocessing_refuses_are_accepted():
    """Raw items are kept as they came; single bad values are counted later, with a reason."""
    odd = [{**ITEMS[0], "id": 10**30, "new_field": {"deep": [1]}}, {**ITEMS[1], "vote_average": "high", "title": None}]
    assert violations(RAW_ITEMS, raw([*ITEMS[2:], *odd])) == []


def test_films_are_accepted_as_made_and_as_read_back():
    assert violations(FILMS, films()) == []
    assert violations(FILMS, films_from_parquet(films_to_parquet(films()))) == []


def test_films_may_lack_what_tmdb_may_lack():
    """Overview, genres, popularity, poster and votes; an original title is the title then."""
    bare = {"id": 5, "title": "Bare", "release_date": "2026-01-05", "original_language": "en"}
    table = to_films([{**bare, "vote_average": 0, "vote_count": 0}]).table
    assert len(table) == 1
    assert violations(FILMS, table) == []


def test_outcomes_are_accepted():
    assert violations(OUTCOMES, outcomes()) == []


def test_predictions_are_accepted():
    assert violations(PREDICTED_RATINGS, predictions()) == []
    assert list(predictions().columns) == PREDICTED_RATINGS_COLUMNS.names


def test_an_evaluation_is_accepted_as_made_and_as_read_back(evaluation: Evaluation):
    assert violations(METRICS, evaluation.table) == []
    assert violations(HOLD_OUT, evaluation.predictions) == []
    assert violations(HOLD_OUT, hold_out_from_json(hold_out_to_json(evaluation.predictions))) == []


def test_intervals_and_parts_are_accepted(evaluation: Evaluation):
    assert violations(UNCERTAINTY, uncertainty(evaluation.predictions).table) == []
    assert violations(SLICES, slice_table(slices(evaluation.predictions, example_films()))) == []


@pytest.mark.parametrize(
    "table",
    [
        decision(),
        decision(released=False, in_force_partition=pd.Timestamp("2026-01-04")),
        decision(released=False, in_force_partition=pd.NaT),
    ],
    ids=["released", "an earlier champion stays", "no champion yet"],
)
def test_decisions_are_accepted(table: pd.DataFrame):
    assert violations(DECISIONS, table) == []


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "schema",
    [RAW_ITEMS, FILMS, PREDICTED_RATINGS, OUTCOMES, HOLD_OUT, METRICS, UNCERTAINTY, SLICES, DECISIONS],
)
def test_a_table_without_rows_is_refused(schema: pa.DataFrameSchema):
    """Every later figure would be about nothing."""
    empty = pd.DataFrame({name: [] for name in schema.columns})
    assert violations(schema, empty) == ["the table has no rows"]


@pytest.mark.parametrize(
    "field",
    [
        "id",
        "title",
        "original_title",
        "overview",
        "release_date",
        "genre_ids",
        "original_language",
        "popularity",
        "vote_average",
        "vote_count",
    ],
)
def test_a_raw_field_that_has_vanished_is_refused(field: str):
    """TMDB has renamed it, say: preprocessing would refuse or misread every item."""
    without = [{name: value for name, value in item.items() if name != field} for item in ITEMS]
    found = sentence(RAW_ITEMS, raw(without))
    assert field in found
    assert "nan" not in found


def test_a_raw_field_may_be_missing_in_some_items():
    """As long as it has not vanished."""
    without = {name: value for name, value in ITEMS[0].items() if name != "overview"}
    assert violations(RAW_ITEMS, raw([without, *ITEMS[1:]])) == []


@pytest.mark.parametrize("others", [[], [{**ITEMS[5], "id": None}], [{**ITEMS[5], "id": "5"}, {**ITEMS[6], "id": 1.5}]])
def test_raw_items_with_one_id_are_refused(others: list[dict[str, Any]]):
    """Whatever the ids of other items are."""
    found = sentence(RAW_ITEMS, raw([*ITEMS[:3], ITEMS[0], *others]))
    assert found == f"id: each id appears once does not hold for {ITEMS[0]['id']}"


def test_raw_items_that_nothing_tells_apart_are_kept():
    """Without an integer id, two items need not be one film."""
    without = [{**item, "id": None} for item in ITEMS[:2]]
    assert violations(RAW_ITEMS, raw([*without, *ITEMS[2:], {**ITEMS[2], "id": True}, {**ITEMS[3], "id": True}])) == []


def with_value(frame: pd.DataFrame, column: str, value: Any) -> pd.DataFrame:
    """The table with another value in its first row."""
    changed: list[Any] = frame[column].tolist()
    changed[0] = value
    return frame.assign(**{column: pd.Series(changed, index=frame.index, dtype=frame[column].dtype)})


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", 0),
        ("id", -7),
        ("title", ""),
        ("title", None),
        ("overview", None),
        ("release_date", pd.NaT),
        ("genres", ["Drama", "Talking Cars"]),
        ("original_language", "klingon"),
        ("original_language", ""),
        ("poster_path", "poster.jpg"),
    ],
)
@pytest.mark.parametrize(("schema", "make"), [(FILMS, films), (PREDICTED_RATINGS, predictions)])
def test_an_impossible_value_of_a_film_is_refused(schema: pa.DataFrameSchema, make: Any, column: str, value: Any):
    """In both tables of films; the sentence names the column."""
    assert sentence(schema, with_value(make(), column, value)).startswith(f"{column}: ")


@pytest.mark.parametrize("value", [*OUTSIDE, math.nan])
def test_a_rating_outside_0_to_10_is_refused(value: float, evaluation: Evaluation):
    """Wherever a rating stands."""
    cases = [
        (FILMS, films(), ["vote_average"]),
        (PREDICTED_RATINGS, predictions(), ["prediction", "low", "high"]),
        (OUTCOMES, outcomes(), ["prediction", "low", "high", "actual"]),
        (
            HOLD_OUT,
            evaluation.predictions,
            ["actual", "global_mean", "genre_mean"]
            + [f"{situation}_{name}" for situation in SITUATIONS for name in ("prediction", "low", "high")],
        ),
    ]
    for schema, frame, columns in cases:
        for column in columns:
            found = violations(schema, with_value(frame, column, value))
            assert any(text.startswith(f"{column}: ") for text in found), (column, found)


@pytest.mark.parametrize(("column", "value"), [("popularity", -1.0), ("vote_count", -1)])
def test_negative_popularity_and_votes_are_refused(column: str, value: float):
    assert sentence(FILMS, with_value(films(), column, value)) == (
        f"{column}: greater_than_or_equal_to(0) does not hold for {value}"
    )


def test_one_film_twice_is_refused(evaluation: Evaluation):
    for schema, frame in [
        (FILMS, films()),
        (PREDICTED_RATINGS, predictions()),
        (HOLD_OUT, evaluation.predictions),
    ]:
        twice = pd.concat([frame, frame.head(1)], ignore_index=True)
        assert sentence(schema, twice).startswith("id: ")


@pytest.mark.parametrize(
    ("schema", "make"),
    [(FILMS, films), (PREDICTED_RATINGS, predictions), (OUTCOMES, outcomes), (DECISIONS, decision)],
)
def test_columns_are_exactly_those_of_the_schema(schema: pa.DataFrameSchema, make: Any):
    """Raw items aside, a column too many is as wrong as one that is missing."""
    for name in schema.columns:
        assert any(name in text for text in violations(schema, make().drop(columns=name)))
    assert "surplus" in sentence(schema, make().assign(surplus=1))


def test_a_wrong_type_is_refused():
    assert sentence(FILMS, films().astype({"vote_count": "float64"})).startswith("vote_count: ")
    assert sentence(PREDICTED_RATINGS, predictions().astype({"synthetic": "int64"})).startswith("synthetic: ")


@pytest.mark.parametrize(("low", "prediction", "high"), [(7.0, 6.0, 8.0), (5.0, 6.0, 5.5), (8.0, 7.0, 6.0)])
def test_an_interval_that_does_not_hold_its_prediction_is_refused(low: float, prediction: float, high: float):
    """In one sentence, not in one for each column."""
    frame = predictions()
    frame.loc[0, ["low", "prediction", "high"]] = [low, prediction, high]
    assert "low <= prediction <= high" in sentence(PREDICTED_RATINGS, frame)


@hypothesis_settings(max_examples=60, deadline=None)  # the first use of a schema takes longer
@given(st.lists(st.floats(-1, 11) | st.just(math.nan), min_size=3, max_size=3))
def test_predictions_are_accepted_exactly_if_they_are_ratings_in_order(values: list[float]):
    low, prediction, high = values
    frame = predictions()
    frame.loc[1, ["low", "prediction", "high"]] = values
    assert (violations(PREDICTED_RATINGS, frame) == []) == (0 <= low <= prediction <= high <= 10)


@pytest.mark.parametrize(
    ("column", "value"),
    [("situation", "announced"), ("bundle_sha256", "ab"), ("bundle_sha256", "AB" * 32), ("bundle_partition", pd.NaT)],
)
def test_predictions_name_their_situation_and_their_bundle(column: str, value: Any):
    assert sentence(PREDICTED_RATINGS, with_value(predictions(), column, value)).startswith(f"{column}: ")


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("id", 0, "id: "),
        ("days_before", 7, "days_before: "),
        ("vote_count", 49, "vote_count: greater_than_or_equal_to(50)"),
        ("high", 6.4, "low <= prediction <= high"),
        ("forecast_day", pd.Timestamp("2026-01-02"), "the forecast is of so many days before the release"),
        ("release_date", pd.Timestamp("2026-03-31"), "the forecast is of so many days before the release"),
        ("bundle_partition", pd.Timestamp("2026-01-03"), "the bundle is not of a later day than the forecast"),
    ],
)
def test_an_impossible_outcome_is_refused(column: str, value: Any, said: str):
    found = violations(OUTCOMES, with_value(outcomes(), column, value))
    assert any(said in text for text in found), found


def test_one_outcome_twice_is_refused():
    """The same film with forecasts of several ages is not."""
    twice = pd.concat([outcomes(), outcomes().head(1)], ignore_index=True)
    assert "each film has one forecast of each age" in sentence(OUTCOMES, twice)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_figure_that_is_not_a_finite_number_is_refused(value: float, evaluation: Evaluation):
    """An error that was never measured must not look like a small one."""
    for number in range(len(evaluation.table)):
        values = evaluation.table["value"].to_numpy(copy=True)
        values[number] = value
        found = violations(METRICS, evaluation.table.assign(value=values))
        assert any(text.startswith("value: ") for text in found), found


def test_figures_are_of_known_situations_and_some_films(evaluation: Evaluation):
    announced = violations(METRICS, with_value(evaluation.table, "situation", "announced"))
    assert any(text.startswith("situation: ") for text in announced)
    assert sentence(METRICS, evaluation.table.assign(films=np.int64(0))).startswith("films: ")


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize(
    ("model", "metric"),
    [("model", "rmse"), ("global_mean", "rmse"), ("genre_mean", "rmse"), ("model", "interval_coverage")],
)
def test_a_figure_that_everything_rests_on_must_be_there(
    situation: str, model: str, metric: str, evaluation: Evaluation
):
    """Others may be undefined, such as the rank correlation of a constant."""
    table = evaluation.table
    there = (table["situation"] == situation) & (table["model"] == model) & (table["metric"] == metric)
    assert there.sum() == 1
    assert violations(METRICS, table[~there].reset_index(drop=True))
    constant = (table["model"] == "global_mean") & (table["metric"] == "spearman")
    assert violations(METRICS, table[~constant].reset_index(drop=True)) == []


@pytest.mark.parametrize(
    ("metric", "value"), [("rmse", -0.1), ("mae", -0.1), ("interval_width", -1.0), ("interval_coverage", 1.01)]
)
def test_an_impossible_figure_is_refused(metric: str, value: float, evaluation: Evaluation):
    """Errors and widths are at least 0, a coverage is a share."""
    table = evaluation.table
    assert violations(METRICS, table.assign(value=table["value"].where(table["metric"] != metric, value)))


def test_a_figure_that_stands_there_twice_is_refused(evaluation: Evaluation):
    twice = pd.concat([evaluation.table, evaluation.table.head(1)], ignore_index=True)
    assert violations(METRICS, twice)


@pytest.mark.parametrize("column", ["value", "low", "high"])
def test_an_interval_that_is_not_finite_or_misses_a_model_is_refused(column: str, evaluation: Evaluation):
    table = uncertainty(evaluation.predictions).table
    found = violations(UNCERTAINTY, table.assign(**{column: table[column].where(table.index != 3, math.nan)}))
    assert any(text.startswith(f"{column}: ") for text in found)
    for row in table.index:
        assert "an interval of each RMSE" in sentence(UNCERTAINTY, table.drop(index=row))
    below = table.assign(low=table["low"].where(table["figure"] != "rmse", -0.1))
    assert "the interval of an RMSE is not negative" in sentence(UNCERTAINTY, below)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("dimension", "mood"),
        ("name", ""),
        ("situation", "announced"),
        ("films", 0),
        ("rmse", -0.1),
        ("rmse", math.inf),
        ("low", 99.0),
        ("bias", math.nan),
        ("interval_coverage", 1.01),
    ],
)
def test_an_impossible_part_is_refused(column: str, value: Any, evaluation: Evaluation):
    table = slice_table(slices(evaluation.predictions, example_films()))
    assert violations(SLICES, table.assign(**{column: table[column].where(table.index != 2, value)}))


def test_the_champion_in_force_is_not_of_a_later_day():
    later = decision(released=False, in_force_partition=pd.Timestamp("2026-01-06"))
    assert "the champion in force is not of a later day" in sentence(DECISIONS, later)


@pytest.mark.parametrize("in_force", [pd.Timestamp("2026-01-04"), pd.NaT], ids=["another", "none"])
def test_a_released_bundle_is_in_force_on_its_own_day(in_force: Any):
    assert "a released bundle is in force on its own day" in sentence(DECISIONS, decision(in_force_partition=in_force))


def test_a_bundle_that_was_not_released_is_not_in_force():
    assert sentence(DECISIONS, decision(released=False))


@pytest.mark.parametrize(("column", "value"), [("reason", ""), ("candidate_sha256", "ab"), ("partition", pd.NaT)])
def test_a_decision_says_of_what_it_is_and_why(column: str, value: Any):
    table = decision(released=False, in_force_partition=pd.NaT, **{column: value})
    assert any(text.startswith(f"{column}: ") for text in violations(DECISIONS, table))


# --- in words -------------------------------------------------------------------------------------


def test_examples_are_shown_and_the_others_counted():
    """Three are enough to look for the cause."""
    frame = films()
    assert sentence(FILMS, frame.assign(vote_average=[11.0] * 2 + [5.0] * (len(frame) - 2))) == (
        "vote_average: in_range(0, 10) does not hold for 11.0, 11.0"
    )
    assert sentence(FILMS, frame.assign(vote_average=11.0)) == (
        f"vote_average: in_range(0, 10) does not hold for 11.0, 11.0, 11.0 and {len(frame) - 3} more"
    )


def test_long_values_are_cut():
    assert len(sentence(FILMS, with_value(films(), "poster_path", "x" * 10_000))) < 200


def test_every_violation_is_named():
    frame = with_value(with_value(films(), "vote_count", -1), "title", "")
    assert [text.partition(":")[0] for text in violations(FILMS, frame)] == ["title", "vote_count"]
