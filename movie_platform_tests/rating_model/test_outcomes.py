"""Forecasts beside what became of them: which are judged, what is left out, and the figures."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from movie_platform.rating_model.outcomes import (
    AGES,
    ASKED_AS_RELEASED,
    NOT_AMONG_THEM,
    Outcomes,
    asked_forecasts,
    figures_by_age,
    figures_by_month,
    is_forecast,
    join_forecasts,
    outcomes_from_json,
    outcomes_to_json,
)

DAY = date(2026, 6, 30)


def films(**columns: list[Any]) -> pd.DataFrame:
    """Rated films released in April, with what is asked for changed."""
    table: dict[str, list[Any]] = {
        "id": [1, 2, 3],
        "release_date": ["2026-04-10", "2026-04-20", "2026-04-30"],
        "vote_average": [6.0, 7.0, 8.0],
        "vote_count": [50, 60, 70],
        "synthetic": [False] * 3,
        **columns,
    }
    return pd.DataFrame(table).assign(release_date=pd.to_datetime(table["release_date"]))


def forecasts(day: date, **columns: list[Any]) -> pd.DataFrame:
    """What was said of the films on a day."""
    return pd.DataFrame(
        {
            "id": [3, 2, 1],
            "situation": ["unreleased"] * 3,
            "prediction": [6.5, 6.5, 6.5],
            "low": [5.5, 5.5, 5.5],
            "high": [7.5, 7.5, 7.5],
            "bundle_partition": pd.to_datetime([day] * 3),
            "synthetic": [False] * 3,
            **columns,
        }
    )


def join(
    found: Callable[[date], pd.DataFrame | str] = forecasts, *, until: date = DAY, **columns: list[Any]
) -> Outcomes:
    return join_forecasts(asked_forecasts(films(**columns), until=until), found)


# --- which are asked for --------------------------------------------------------------------------


def test_each_film_is_judged_by_its_forecasts_of_90_30_and_1_days_before():
    asked = asked_forecasts(films(), until=DAY)
    assert {(row.id, row.days_before, str(row.forecast_day.date())) for row in asked.itertuples()} == {
        (1, 90, "2026-01-10"),
        (1, 30, "2026-03-11"),
        (1, 1, "2026-04-09"),
        (2, 90, "2026-01-20"),
        (2, 30, "2026-03-21"),
        (2, 1, "2026-04-19"),
        (3, 90, "2026-01-30"),
        (3, 30, "2026-03-31"),
        (3, 1, "2026-04-29"),
    }


def test_from_the_day_of_release_and_from_50_votes_on():
    assert set(asked_forecasts(films(vote_count=[49, 50, 5000]), until=DAY)["id"]) == {2, 3}
    assert set(asked_forecasts(films(), until=date(2026, 4, 20))["id"]) == {1, 2}
    assert set(asked_forecasts(films(), until=date(2026, 4, 19))["id"]) == {1}


@given(st.dates(date(1900, 1, 1), date(2199, 1, 1)), st.timedeltas(timedelta(-500), timedelta(500)))
def test_a_forecast_is_always_of_a_day_before_the_release(released: date, later: timedelta):
    until = released + timedelta(days=later.days)
    asked = asked_forecasts(films(release_date=[str(released)] * 3), until=until)
    assert len(asked) == (9 if later.days >= 0 else 0)
    row: Any
    for row in asked.itertuples():
        assert row.forecast_day.date() + timedelta(days=row.days_before) == released
        assert row.forecast_day < row.release_date


@given(st.integers(-(10**6), 10**6))
def test_a_day_counts_when_it_was_collected_within_48_hours_of_its_end(seconds: int):
    end = datetime(2026, 1, 6, tzinfo=UTC)
    assert is_forecast(end + timedelta(seconds=seconds), day_end=end) == (seconds <= 48 * 3600)


# --- joining --------------------------------------------------------------------------------------


def test_what_was_said_stands_beside_what_became_of_it():
    outcomes = join()
    assert outcomes.left_out == {}
    assert len(outcomes.table) == 9
    first = outcomes.table.iloc[0]
    assert first.to_dict() == {
        "id": 1,
        "release_date": pd.Timestamp("2026-04-10"),
        "days_before": 90,
        "forecast_day": pd.Timestamp("2026-01-10"),
        "bundle_partition": pd.Timestamp("2026-01-10"),
        "prediction": 6.5,
        "low": 5.5,
        "high": 7.5,
        "actual": 6.0,
        "vote_count": 50,
    }


def test_each_day_is_asked_for_once_in_date_order():
    days: list[date] = []

    def found(day: date) -> pd.DataFrame:
        days.append(day)
        return forecasts(day)

    join(found, release_date=["2026-04-10"] * 3)
    assert days == [date(2026, 1, 10), date(2026, 3, 11), date(2026, 4, 9)]


def test_what_is_left_out_is_counted_by_reason_the_most_frequent_first():
    def found(day: date) -> pd.DataFrame | str:
        if day < date(2026, 2, 1):
            return "no file"
        if day == date(2026, 3, 11):
            return forecasts(day, id=[3, 2, 9])
        if day == date(2026, 4, 29):
            return forecasts(day, situation=["released"] * 3)
        return forecasts(day)

    outcomes = join(found)
    assert list(outcomes.left_out.items()) == [("no file", 3), (ASKED_AS_RELEASED, 1), (NOT_AMONG_THEM, 1)]
    assert [(row.id, row.days_before) for row in outcomes.table.itertuples()] == [(1, 1), (2, 30), (2, 1), (3, 30)]


def test_an_invented_film_is_not_judged_by_a_model_of_real_ones():
    assert join(synthetic=[True, False, False]).left_out == {NOT_AMONG_THEM: 3}


@pytest.mark.parametrize("votes", [[1, 2, 3], [50, 60, 70]], ids=["no film is rated", "no day has a file"])
def test_no_outcome_is_a_table_without_rows(votes: list[int]):
    outcomes = join(lambda _: "no file", vote_count=votes)
    assert outcomes.table.empty
    assert outcomes.table.dtypes.to_dict() == join().table.dtypes.to_dict()
    assert figures_by_age(outcomes.table) == {age: {"films": 0} for age in AGES}
    assert figures_by_month(outcomes.table) == []
    pd.testing.assert_frame_equal(outcomes_from_json(outcomes_to_json(outcomes.table)), outcomes.table)


@given(st.permutations(range(3)), st.permutations(range(3)))
def test_the_order_of_the_films_does_not_matter(of_films: list[int], of_forecasts: list[int]):
    asked = asked_forecasts(films().iloc[of_films], until=DAY)
    outcomes = join_forecasts(asked, lambda day: forecasts(day).iloc[of_forecasts])
    pd.testing.assert_frame_equal(outcomes.table, join().table)
    assert figures_by_age(outcomes.table) == figures_by_age(join().table)


# --- figures --------------------------------------------------------------------------------------


def test_the_figures_of_each_age():
    """Errors of 0.5, -0.5 and -1.5 points; the interval reaches 1 point up and down."""
    found = figures_by_age(join(lambda day: forecasts(day) if day.month == 3 else "no file").table)
    assert found == {
        90: {"films": 0},
        30: {
            "films": 3,
            "rmse": pytest.approx(np.sqrt(2.75 / 3)),
            "mae": pytest.approx(2.5 / 3),
            "bias": pytest.approx(-0.5),
            "interval_coverage": pytest.approx(2 / 3),
        },
        1: {"films": 0},
    }


def test_the_figures_of_each_month_of_release():
    found = figures_by_month(join(release_date=["2026-04-30", "2026-05-01", "2026-04-01"]).table)
    assert [(row["month"], row["days_before"], row["films"]) for row in found] == [
        ("2026-04", 90, 2),
        ("2026-04", 30, 2),
        ("2026-04", 1, 2),
        ("2026-05", 90, 1),
        ("2026-05", 30, 1),
        ("2026-05", 1, 1),
    ]
    assert found[3] == {
        "month": "2026-05",
        "days_before": 90,
        "films": 1,
        "rmse": 0.5,
        "bias": -0.5,
        "interval_coverage": 1.0,
    }


def test_the_table_is_the_same_after_json():
    table = join().table
    columns = json.loads(json.dumps(outcomes_to_json(table)))
    assert columns["forecast_day"][0] == "2026-01-10"
    pd.testing.assert_frame_equal(outcomes_from_json(columns), table)
