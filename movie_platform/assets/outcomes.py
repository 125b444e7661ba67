"""What became of the predictions once the films are out. What is judged, and how: `rating_model.outcomes`."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import date, timedelta
from functools import cached_property
from typing import Any

import dagster as dg
import pandas as pd

from movie_platform.assets.collected import AS_OF, raw_upcoming_movies
from movie_platform.assets.policy import daily_asset
from movie_platform.checks import OUTCOME_CHECKS
from movie_platform.dagster_internals import recorded_times
from movie_platform.daily import DayFailed, DayOutput, days_of_run, materialize_days
from movie_platform.io_managers import DayInputs, MissingDay
from movie_platform.partitions import days, end_of, inference_window
from movie_platform.presentation import image, table
from movie_platform.rating_model import plots
from movie_platform.rating_model.outcomes import (
    AGES,
    COLLECTED_WITHIN,
    FORECAST_COLUMNS,
    LEVEL,
    MIN_OUTCOME_VOTES,
    asked_forecasts,
    figures_by_age,
    figures_by_month,
    is_forecast,
    join_forecasts,
    outcomes_to_json,
)

NOT_RECORDED = "that day was never collected, or by a version of the platform that did not record when"
TOO_LATE = f"that day was collected more than {COLLECTED_WITHIN // timedelta(hours=1)} hours late"
NO_FORECAST = "that day has no predicted ratings"


@daily_asset(
    group="predicted",
    kinds={"pandas", "json"},
    io_manager="json",
    code=("rating_model/outcomes.py", "rating_model/evaluation.py", "rating_model/plots.py", "assets/outcomes.py"),
    checks=OUTCOME_CHECKS,
)
def prediction_outcomes(
    context: dg.AssetExecutionContext,
    preprocessed_upcoming_movies: DayInputs,
    predicted_ratings: DayInputs,
) -> Iterator[dg.Output[Any]]:
    """How well the films that are out by now were predicted 90, 30 and 1 days before their release.

    Of the films released in the twelve months up to the day, those with at least 50 votes, each beside the prediction
    of that day back then. Only days that were collected within 48 hours of their end count: what is collected later
    is hindsight. Error and coverage by age of forecast and month of release. At first there are no outcomes, which is
    normal.
    """
    forecasts = _Forecasts(context, preprocessed_upcoming_movies, predicted_ratings)

    def make(day: date) -> DayOutput:
        films: pd.DataFrame = preprocessed_upcoming_movies[day]
        outcomes = join_forecasts(asked_forecasts(films, until=day), forecasts.of)
        found, by_month = figures_by_age(outcomes.table), figures_by_month(outcomes.table)
        synthetic = bool(films["synthetic"].any())
        expected = None if by_month else forecasts.expected()
        drawn = (
            {
                "errors_over_time": plots.errors_over_time(outcomes.table),
                "coverage_over_time": plots.coverage_over_time(outcomes.table),
            }
            if by_month
            else {}
        )
        return DayOutput(
            value={
                "partition": day.isoformat(),
                "synthetic": synthetic,
                "min_votes": MIN_OUTCOME_VOTES,
                "level": LEVEL,
                "figures": {str(age): of_age for age, of_age in found.items()},
                "by_month": by_month,
                "left_out": dict(outcomes.left_out),
                "expected": expected,
                "outcomes": outcomes_to_json(outcomes.table),
            },
            facts=outcomes,
            attachments={f"{name}.png": png for name, png in drawn.items()},
            metadata={
                "synthetic": synthetic,
                "films with an outcome": int(outcomes.table["id"].nunique()),
                **({"why there are none": expected} if expected else {}),
                **{
                    f"{metric}, {age} days before": value
                    for age, of_age in found.items()
                    for metric, value in of_age.items()
                },
                "forecasts left out": table(
                    {"reason": reason, "forecasts": count} for reason, count in outcomes.left_out.items()
                ),
                "by month of release": table(by_month),
                **{name.replace("_", " "): image(png, name) for name, png in drawn.items()},
            },
        )

    yield from materialize_days(context, make, OUTCOME_CHECKS)


class _Forecasts:
    """The forecasts that the days of a run ask for: each day's file is read once, and little of it is kept."""

    def __init__(self, context: dg.AssetExecutionContext, films: DayInputs, predictions: DayInputs) -> None:
        self._days, self._films, self._predictions = days_of_run(context), films, predictions
        earliest = inference_window(self._days[0]).first - timedelta(days=max(AGES))
        self._collected = recorded_times(
            context.instance, raw_upcoming_movies.key, AS_OF, days(earliest, self._days[-1])
        )
        self._read: dict[date, pd.DataFrame | str] = {}

    def of(self, day: date) -> pd.DataFrame | str:
        """The forecasts of a day, or why there are none that count."""
        if day not in self._read:
            self._read[day] = self._load(day)
        return self._read[day]

    def _load(self, day: date) -> pd.DataFrame | str:
        if day not in self._collected:
            return NOT_RECORDED
        if not is_forecast(self._collected[day], day_end=end_of(day)):
            return TOO_LATE
        try:
            predicted: pd.DataFrame = self._predictions[day]
        except MissingDay:
            return NO_FORECAST
        return predicted.loc[predicted["id"].isin(self._rated), list(FORECAST_COLUMNS)]

    @cached_property
    def _rated(self) -> set[int]:
        """The films that any day of the run asks for: all that is kept, however large the catalogue is."""
        rated: set[int] = set()
        for day in self._days:
            with suppress(DayFailed):  # whose own turn comes
                rated.update(asked_forecasts(self._films[day], until=day)["id"])
        return rated

    def expected(self) -> str:
        """From when on there can be outcomes."""
        first = min(
            (day for day, as_of in self._collected.items() if is_forecast(as_of, day_end=end_of(day))), default=None
        )
        if first is None:
            return (
                f"No day of raw_upcoming_movies was collected within {COLLECTED_WITHIN // timedelta(hours=1)} hours of "
                "its end, so there is no forecast to judge. Outcomes begin with films released after such a day."
            )
        ages = ", ".join(f"{first + timedelta(days=age)} (forecasts of {age} days before)" for age in sorted(AGES))
        return (
            f"Forecasts begin on {first}, the first day that was collected in time. Films have an outcome as soon as "
            f"they have {MIN_OUTCOME_VOTES} votes, if they are released from {ages} on."
        )
