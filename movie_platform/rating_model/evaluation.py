"""How good the model is on films released after everything it was trained on.

What belongs here: the hold-out, the figures beside the baselines, how far they may be chance, and comparing two days.
What does not: deciding what is released, and drawing (``plots``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from movie_platform.rating_model import bootstrap
from movie_platform.rating_model.bootstrap import Estimate
from movie_platform.rating_model.config import TrainingConfig
from movie_platform.rating_model.films import MIN_FILMS, SITUATIONS, Situation, TooFewFilmsError, training_films
from movie_platform.rating_model.model import RatingModel
from movie_platform.rating_model.training import newest_films_start, train

__all__ = [
    "BASELINES",
    "Comparison",
    "Evaluation",
    "Uncertainty",
    "compare",
    "evaluate",
    "figures",
    "figures_of",
    "hold_out_from_json",
    "hold_out_to_json",
    "mean_baselines",
    "predict_hold_out",
    "uncertainty",
]

Floats = npt.NDArray[np.float64]

BASELINES: Final = ("global_mean", "genre_mean")


@dataclass(frozen=True)
class Evaluation:
    """The figures of one evaluation.

    ``figures`` is situation -> ``model`` or a baseline -> metric -> value; a metric that is not defined (a
    baseline's interval, the rank correlation of a constant) is left out. ``predictions`` has a row for each film of
    the hold-out, sorted by id: id, release_date, actual, vote_count, ``<situation>_prediction``,
    ``<situation>_low``, ``<situation>_high`` and the baselines. ``model`` is the measured one: it has seen nothing
    released on or after ``holdout_start``.
    """

    holdout_start: date
    until: date
    widened: bool
    figures: Mapping[str, Mapping[str, Mapping[str, float]]]
    predictions: pd.DataFrame
    model: RatingModel

    @property
    def table(self) -> pd.DataFrame:
        """The figures as a long table: situation, model, metric, value, films."""
        rows = [
            (situation, model, metric, value, len(self.predictions))
            for situation, models in self.figures.items()
            for model, metrics in models.items()
            for metric, value in metrics.items()
        ]
        return pd.DataFrame(rows, columns=["situation", "model", "metric", "value", "films"])

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the predictions and the model as plain JSON values, floats not rounded."""
        return {
            "holdout": {
                "start": self.holdout_start.isoformat(),
                "until": self.until.isoformat(),
                "films": len(self.predictions),
                "widened": self.widened,
            },
            "trained_on": self.model.trained_on.model_dump(mode="json"),
            "config": self.model.config.model_dump(mode="json"),
            "figures": {
                situation: {model: dict(metrics) for model, metrics in models.items()}
                for situation, models in self.figures.items()
            },
        }


@dataclass(frozen=True)
class Uncertainty:
    """How far the figures of an evaluation may be chance.

    ``rmse`` is situation -> ``model`` or a baseline -> the RMSE with its interval; ``difference`` is situation -> a
    baseline -> the model's RMSE minus the baseline's, on the same draws.
    """

    rmse: Mapping[str, Mapping[str, Estimate]]
    difference: Mapping[str, Mapping[str, Estimate]]

    @property
    def table(self) -> pd.DataFrame:
        """All of it as a long table: situation, model, figure (rmse or difference), value, low, high."""
        rows = [
            (situation, model, figure, estimate.value, estimate.low, estimate.high)
            for figure, found in (("rmse", self.rmse), ("difference", self.difference))
            for situation, models in found.items()
            for model, estimate in models.items()
        ]
        return pd.DataFrame(rows, columns=["situation", "model", "figure", "value", "low", "high"])

    def to_dict(self) -> dict[str, Any]:
        """Return them as plain JSON values, with their level and the number of draws, floats not rounded."""
        return {
            "level": bootstrap.LEVEL,
            "resamples": bootstrap.RESAMPLES,
            **{
                name: {
                    situation: {model: estimate.to_dict() for model, estimate in models.items()}
                    for situation, models in found.items()
                }
                for name, found in (("rmse", self.rmse), ("difference", self.difference))
            },
        }


@dataclass(frozen=True)
class Comparison:
    """RMSE of two days' hold-out predictions on the films that both contain, by situation; empty without any."""

    films: int
    new_rmse: Mapping[str, float]
    old_rmse: Mapping[str, float]


def evaluate(
    films: pd.DataFrame,
    config: TrainingConfig,
    *,
    until: date,
    months: int = 24,
    min_films: int = 300,
    threads: int = 1,
) -> Evaluation:
    """Train on the films released before the hold-out and measure on the hold-out.

    The hold-out is the films released in the ``months`` before ``until`` (exclusive); when they are fewer than
    ``min_films`` it reaches further back until it has that many, and ``widened`` says so. Raises TooFewFilmsError
    when too few films are left to train on, and ValueError for a table that cannot be trained on.
    """
    table = training_films(films)
    start, widened = newest_films_start(table["release_date"], until=until, months=months, min_films=min_films)
    before = table[table["release_date"] < pd.Timestamp(start)]
    holdout = table[(table["release_date"] >= pd.Timestamp(start)) & (table["release_date"] < pd.Timestamp(until))]
    if len(before) < MIN_FILMS or len(holdout) < min_films:
        raise TooFewFilmsError(
            f"{len(holdout)} films from {start} until {until} to measure on and {len(before)} before to train on; "
            f"at least {min_films} and {MIN_FILMS} are needed: collect more days"
        )
    model = train(before, config, threads=threads)
    predictions = predict_hold_out(model, holdout, threads=threads)
    baselines = mean_baselines(before, holdout)
    actual = predictions["actual"].to_numpy()
    return Evaluation(
        holdout_start=start,
        until=until,
        widened=widened,
        figures={
            situation: {
                "model": figures_of(predictions, situation),
                **{name: figures(actual, values) for name, values in baselines.items()},
            }
            for situation in SITUATIONS
        },
        predictions=predictions.assign(**baselines),
        model=model,
    )


def predict_hold_out(model: RatingModel, holdout: pd.DataFrame, *, threads: int = 1) -> pd.DataFrame:
    """Return ``Evaluation.predictions`` without the baselines: what a model says of films whose rating is known.

    The rows are in the order of ``holdout``, a table as ``latest_films`` gives it.
    """
    predictions = pd.DataFrame(
        {
            "id": holdout["id"],
            "release_date": holdout["release_date"],
            "actual": holdout["vote_average"].astype(np.float64),
            "vote_count": holdout["vote_count"].astype(np.int64),
        }
    )
    for situation in SITUATIONS:
        predicted = model.predict(holdout, situation=situation, threads=threads)
        for column in ("prediction", "low", "high"):
            predictions[f"{situation}_{column}"] = predicted[column]
    return predictions.reset_index(drop=True)


def uncertainty(predictions: pd.DataFrame) -> Uncertainty:
    """Return how far the RMSE of the model and the baselines, and their differences, may be chance.

    ``predictions`` is that of an ``Evaluation``. Takes half a second for a thousand films.
    """
    baselines = {name: predictions[name] - predictions["actual"] for name in BASELINES}
    found: dict[str, dict[str, Estimate]] = {}
    differences: dict[str, dict[str, Estimate]] = {}
    for situation in SITUATIONS:
        errors = predictions[f"{situation}_prediction"] - predictions["actual"]
        found[situation] = {name: bootstrap.rmse(values) for name, values in {"model": errors, **baselines}.items()}
        differences[situation] = {name: bootstrap.rmse_difference(errors, values) for name, values in baselines.items()}
    return Uncertainty(rmse=found, difference=differences)


def figures_of(predictions: pd.DataFrame, situation: Situation) -> dict[str, float]:
    """Return the ``figures`` of one situation of ``Evaluation.predictions``, or of some of its films."""
    columns = ("actual", f"{situation}_prediction", f"{situation}_low", f"{situation}_high")
    actual, predicted, low, high = (predictions[column].to_numpy(dtype=np.float64) for column in columns)
    return figures(actual, predicted, low=low, high=high)


def figures(
    actual: Floats, predicted: Floats, *, low: Floats | None = None, high: Floats | None = None
) -> dict[str, float]:
    """Return rmse, mae, r2, spearman and bias (predicted minus actual), and the interval's coverage and mean width.

    Errors are in rating points. What is not defined is left out: r2 of equal ratings, spearman of equal ratings or
    predictions, and the interval's figures without an interval.
    """
    errors = predicted - actual
    result = {"rmse": _rmse(errors), "mae": float(np.mean(np.abs(errors))), "bias": float(np.mean(errors))}
    spread = float(np.mean((actual - actual.mean()) ** 2))
    if np.ptp(actual) > 0:
        result["r2"] = 1 - float(np.mean(errors**2)) / spread
        if np.ptp(predicted) > 0:
            result["spearman"] = float(stats.spearmanr(actual, predicted).statistic)
    if low is not None and high is not None:
        result["interval_coverage"] = float(np.mean((low <= actual) & (actual <= high)))
        result["interval_width"] = float(np.mean(high - low))
    return result


def mean_baselines(before: pd.DataFrame, holdout: pd.DataFrame) -> dict[str, Floats]:
    """Return what BASELINES, the two means of the films trained on, would predict of the others, in their order.

    The genre mean is the mean over the film's genres of each genre's mean; the global one for a film without a
    genre that the training films have.
    """
    overall = float(before["vote_average"].mean())
    by_genre = before.explode("genres").groupby("genres")["vote_average"].mean().to_dict()
    known = [[by_genre[genre] for genre in sorted(set(genres)) if genre in by_genre] for genres in holdout["genres"]]
    return {
        "global_mean": np.full(len(holdout), overall),
        "genre_mean": np.array([float(np.mean(means)) if means else overall for means in known], dtype=np.float64),
    }


def compare(new: pd.DataFrame, old: pd.DataFrame) -> Comparison:
    """Compare two hold-outs' predictions on the films in both; what the films are rated is taken from the newer."""
    both = new.merge(old, on="id", suffixes=("_new", "_old"))
    if both.empty:
        return Comparison(films=0, new_rmse={}, old_rmse={})

    def rmse(age: str) -> dict[str, float]:
        errors = {situation: both[f"{situation}_prediction_{age}"] - both["actual_new"] for situation in SITUATIONS}
        return {situation: _rmse(values.to_numpy(dtype=np.float64)) for situation, values in errors.items()}

    return Comparison(films=len(both), new_rmse=rmse("new"), old_rmse=rmse("old"))


def hold_out_to_json(predictions: pd.DataFrame) -> dict[str, list[Any]]:
    """Return an evaluation's predictions as plain JSON values, a list for each column, floats not rounded."""
    columns = predictions.assign(release_date=predictions["release_date"].dt.strftime("%Y-%m-%d"))
    return {str(name): values.tolist() for name, values in columns.items()}


def hold_out_from_json(columns: Mapping[str, list[Any]]) -> pd.DataFrame:
    """Return the table that ``hold_out_to_json`` was given."""
    table = pd.DataFrame(dict(columns))
    return table.assign(release_date=pd.to_datetime(table["release_date"], format="%Y-%m-%d"))


def _rmse(errors: Floats) -> float:
    return float(np.sqrt(np.mean(errors**2)))
