"""What the platform is for: upcoming films with their predicted ratings."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import dagster as dg
import pandas as pd

from movie_platform.assets.policy import daily_asset
from movie_platform.checks import PREDICTED, PredictedFacts
from movie_platform.daily import DayFailed, DayOutput, materialize_days
from movie_platform.io_managers import DayInputs
from movie_platform.presentation import table
from movie_platform.rating_model.bundle import Bundle
from movie_platform.rating_model.films import situation_of
from movie_platform.releases import Champion, Decision, read_released
from movie_platform.schemas import PREDICTED_RATINGS_COLUMNS
from movie_platform.storage import ObjectNotFound, Storage


@daily_asset(
    group="predicted",
    kinds={"lightgbm", "parquet"},
    io_manager="predictions",
    code=("rating_model", "assets/predicted.py"),
    checks=PREDICTED,
)
def predicted_ratings(
    context: dg.AssetExecutionContext,
    preprocessed_upcoming_movies: DayInputs,
    champion_bundle: DayInputs,
    store: dg.ResourceParam[Storage],
) -> Iterator[dg.Output[Any]]:
    """Every film of the inference window with its predicted rating and 80 % interval, the best first.

    By the bundle in force on the day: the newest released one up to it. A film released after the day is always
    asked as unreleased, whatever votes it has.
    """

    def make(day: date) -> DayOutput:
        decision = Decision.model_validate(champion_bundle[day])
        champion = decision.champion_in_force
        if champion is None:
            raise DayFailed(
                f"no bundle had been released up to {day}: {' '.join(decision.reasons)} "
                "Materialize earlier days, or wait for a day that passes the gate."
            )
        try:
            bundle = Bundle.from_bytes(read_released(store, champion))
        except ObjectNotFound as error:
            raise DayFailed(
                f"{error}, the bundle in force: materialize champion_bundle for {champion.partition}"
            ) from error
        films: pd.DataFrame = preprocessed_upcoming_movies[day]
        if (films["synthetic"] != champion.synthetic).any():
            raise DayFailed(_mixed(champion, day))
        predicted = bundle.model.predict(films, situation=situation_of(films, reference_day=day))
        result = (
            films.assign(
                **{name: predicted[name] for name in ("situation", "prediction", "low", "high")},
                bundle_sha256=champion.sha256,
                bundle_partition=pd.Timestamp(champion.partition),
            )
            .sort_values(["prediction", "id"], ascending=[False, True], ignore_index=True)
            .loc[:, PREDICTED_RATINGS_COLUMNS.names]
        )
        upcoming = result[result["release_date"] > pd.Timestamp(day)]
        return DayOutput(
            value=result,
            facts=PredictedFacts(films=films, bundle=bundle),
            metadata={
                "dagster/row_count": len(result),
                "synthetic": champion.synthetic,
                "bundle": f"{champion.partition} ({champion.sha256[:12]})",
                "still to be released": len(upcoming),
                "mean prediction": float(result["prediction"].mean()),
                "ten best still to be released": table(
                    upcoming.head(10)[["title", "release_date", "genres", "prediction", "low", "high"]]
                ),
            },
        )

    yield from materialize_days(context, make, PREDICTED)


def _mixed(champion: Champion, day: date) -> str:
    kinds = ("films of the built-in catalogue", "real films")
    trained_on, asked = kinds if champion.synthetic else reversed(kinds)
    return (
        f"the bundle in force, of {champion.partition}, was trained on {trained_on}, and {day} has {asked}: it can say "
        "nothing about them. Use another MOVIE_PLATFORM_STORAGE for one of the two, or make the days up to this one "
        f"again with {asked}."
    )
