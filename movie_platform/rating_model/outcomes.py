"""What became of forecasts: films that were predicted before their release, beside how they are rated since.

What belongs here: which films and forecasts are judged, joining them, and the figures by age of forecast and month of
release. What does not: where forecasts are kept and when their days were collected (the asset ``prediction_outcomes``),
and drawing (``plots``).

A hold-out measures a model on films of the past. This measures what was said of films when
nobody could know, as far as the days' predictions have not been made again since.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

import numpy as np
import pandas as pd

from movie_platform.rating_model.config import TrainingConfig
from movie_platform.rating_model.evaluation import figures

__all__ = [
    "AGES",
    "COLLECTED_WITHIN",
    "FORECAST_COLUMNS",
    "LEVEL",
    "MIN_OUTCOME_VOTES",
    "Outcomes",
    "asked_forecasts",
    "figures_by_age",
    "figures_by_month",
    "is_forecast",
    "join_forecasts",
    "outcomes_from_json",
    "outcomes_to_json",
]

AGES: Final = (90, 30, 1)
"""How many days before the release the forecasts were made that are judged."""

MIN_OUTCOME_VOTES: Final = 50
"""The mean of so many votes deviates by less than 0.3 points, far below the error of any model."""

COLLECTED_WITHIN: Final = timedelta(hours=48)
"""Of the end of its day. What is collected later may know what a forecast of that day could not."""

LEVEL: Final = TrainingConfig().interval_level
"""The share of the ratings that the intervals are made to hold, unless the configuration was changed."""

FORECAST_COLUMNS: Final = ("id", "situation", "prediction", "low", "high", "bundle_partition", "synthetic")
"""What is read of the forecasts of a day."""

NOT_AMONG_THEM: Final = "the film was not among that day's forecasts"
ASKED_AS_RELEASED: Final = "the film was asked about as released, by an earlier release date"

_COLUMNS: Final = {
    "id": "int64",
    "release_date": "datetime64[us]",
    "days_before": "int64",
    "forecast_day": "datetime64[us]",
    "bundle_partition": "datetime64[us]",
    "prediction": "float64",
    "low": "float64",
    "high": "float64",
    "actual": "float64",
    "vote_count": "int64",
}
_FIGURES: Final = ("rmse", "mae", "bias", "interval_coverage")
_FIGURES_OF_MONTH: Final = ("films", "rmse", "bias", "interval_coverage")
_DATES: Final = [name for name, kind in _COLUMNS.items() if kind.startswith("datetime64")]


@dataclass(frozen=True)
class Outcomes:
    """Forecasts that can be judged, and why others cannot.

    ``table`` has a row for each film and age of forecast, sorted by release date, id and age, the oldest first: id,
    release_date, days_before, forecast_day, bundle_partition, prediction, low, high, actual and vote_count; ratings
    are points of 0..10. ``left_out`` counts the forecasts without a row by reason, the most frequent first.
    """

    table: pd.DataFrame
    left_out: Mapping[str, int]


def is_forecast(as_of: datetime, *, day_end: datetime) -> bool:
    """Return whether a day that shows the catalogue ``as_of`` a moment was collected in time to be a forecast."""
    return as_of - day_end <= COLLECTED_WITHIN


def asked_forecasts(films: pd.DataFrame, *, until: date) -> pd.DataFrame:
    """Return the forecasts to be judged: for each film that is rated by now, one of each of ``AGES``.

    Rated are the films released up to ``until``, that day included, with at least ``MIN_OUTCOME_VOTES`` votes.
    ``films`` is a table as ``films`` describes it, each film once. Columns: id, release_date, actual, vote_count,
    synthetic, days_before, forecast_day.
    """
    rated = films[(films["release_date"] <= pd.Timestamp(until)) & (films["vote_count"] >= MIN_OUTCOME_VOTES)]
    asked = rated[["id", "release_date", "vote_average", "vote_count", "synthetic"]].merge(
        pd.DataFrame({"days_before": AGES}), how="cross"
    )
    return asked.rename(columns={"vote_average": "actual"}).assign(
        forecast_day=asked["release_date"] - pd.to_timedelta(asked["days_before"], unit="D")
    )


def join_forecasts(asked: pd.DataFrame, forecasts: Callable[[date], pd.DataFrame | str]) -> Outcomes:
    """Put forecasts beside what the films are rated.

    ``asked`` is what ``asked_forecasts`` gives. ``forecasts`` gives the ``FORECAST_COLUMNS`` of what was predicted on
    a day, each film once, or the reason why there is nothing; it is called once for each day, the earliest first.
    """
    found: list[pd.DataFrame] = []
    missing: dict[pd.Timestamp, str] = {}
    for day in sorted(asked["forecast_day"].unique()):
        of_day = forecasts(day.date())
        if isinstance(of_day, str):
            missing[day] = of_day
        else:
            found.append(of_day[list(FORECAST_COLUMNS)].assign(forecast_day=day))
    nothing = asked.head(0).reindex(columns=[*FORECAST_COLUMNS, "forecast_day"])
    # By catalogue too: an invented film is never judged by a model of real ones, nor the reverse.
    joined = asked.merge(pd.concat(found) if found else nothing, on=["forecast_day", "id", "synthetic"], how="left")
    reasons = np.select(
        [joined["forecast_day"].isin(list(missing)), joined["situation"].isna(), joined["situation"] == "released"],
        [joined["forecast_day"].map(missing), NOT_AMONG_THEM, ASKED_AS_RELEASED],
        default="",
    )
    table = joined[reasons == ""].sort_values(
        ["release_date", "id", "days_before"], ascending=[True, True, False], ignore_index=True
    )
    counts = Counter(reasons[reasons != ""].tolist())
    return Outcomes(
        table=table[list(_COLUMNS)].astype(_COLUMNS),
        left_out=dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
    )


def figures_by_age(table: pd.DataFrame) -> dict[int, dict[str, float]]:
    """Return films, rmse, mae, bias (predicted minus actual) and interval_coverage for each of ``AGES``.

    Errors are in rating points. An age without films has nothing but 0 films.
    """
    by_age = dict(iter(table.groupby("days_before")))
    return {age: _figures(by_age[age]) if age in by_age else {"films": 0} for age in AGES}


def figures_by_month(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a row for each month of release and age of forecast that has films, in this order, the oldest first.

    Each has month (as 2026-01), days_before, films, rmse, bias and interval_coverage, as in ``figures_by_age``.
    """
    months = table.groupby(table["release_date"].dt.strftime("%Y-%m"))
    return [
        {"month": month, "days_before": age, **{name: found[name] for name in _FIGURES_OF_MONTH}}
        for month, films in months
        for age, found in figures_by_age(films).items()
        if found["films"]
    ]


def _figures(outcomes: pd.DataFrame) -> dict[str, float]:
    actual, predicted, low, high = (
        outcomes[name].to_numpy(dtype=np.float64) for name in ("actual", "prediction", "low", "high")
    )
    found = figures(actual, predicted, low=low, high=high)
    return {"films": len(outcomes), **{name: found[name] for name in _FIGURES}}


def outcomes_to_json(table: pd.DataFrame) -> dict[str, list[Any]]:
    """Return the table of ``Outcomes`` as plain JSON values, a list for each column, floats not rounded."""
    dates = {name: table[name].dt.strftime("%Y-%m-%d") for name in _DATES}
    return {str(name): values.tolist() for name, values in table.assign(**dates).items()}


def outcomes_from_json(columns: Mapping[str, list[Any]]) -> pd.DataFrame:
    """Return the table that ``outcomes_to_json`` was given."""
    return pd.DataFrame(dict(columns)).astype(_COLUMNS)
