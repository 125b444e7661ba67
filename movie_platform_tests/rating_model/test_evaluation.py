"""The hold-out and its figures."""

import json
from datetime import date

import numpy as np
import pandas as pd
import pytest

from movie_platform.rating_model.bootstrap import rmse, rmse_difference
from movie_platform.rating_model.evaluation import (
    Evaluation,
    compare,
    evaluate,
    figures,
    hold_out_from_json,
    hold_out_to_json,
    uncertainty,
)
from movie_platform.rating_model.films import SITUATIONS, TooFewFilmsError
from movie_platform.rating_model.training import train
from movie_platform_tests.rating_model.examples import SMALL


def test_the_holdout_is_what_was_asked_for(films: pd.DataFrame, evaluation: Evaluation):
    inside = films[(films["release_date"] >= "2019-01-01") & (films["release_date"] < "2024-01-01")]
    assert evaluation.holdout_start == date(2019, 1, 1)
    assert not evaluation.widened
    assert evaluation.predictions["id"].tolist() == inside["id"].tolist()


def test_the_measured_model_has_not_seen_the_holdout(films: pd.DataFrame, evaluation: Evaluation):
    """It is the model that training on the earlier films alone gives, to the byte."""
    before = films[films["release_date"] < "2019-01-01"]
    alone = train(before, SMALL)
    assert alone.model_text == evaluation.model.model_text
    assert alone.encoder.to_json() == evaluation.model.encoder.to_json()
    assert alone.intervals == evaluation.model.intervals
    assert evaluation.model.trained_on.films == len(before)


def test_a_holdout_with_too_few_films_reaches_further_back(films: pd.DataFrame):
    evaluation = evaluate(films, SMALL, until=date(2024, 1, 1), months=24, min_films=150)
    assert evaluation.widened
    assert len(evaluation.predictions) == 150
    assert evaluation.predictions["release_date"].min().date() == evaluation.holdout_start < date(2022, 1, 1)


def test_too_few_films_to_train_on_are_an_error(films: pd.DataFrame):
    with pytest.raises(TooFewFilmsError, match="collect more days"):
        evaluate(films, SMALL, until=date(2024, 1, 1), min_films=850)
    with pytest.raises(TooFewFilmsError, match="0 films from"):
        evaluate(films, SMALL, until=date(1980, 1, 1))


def test_the_model_beats_both_baselines(evaluation: Evaluation):
    """The examples have something true to find; votes tell some more."""
    for situation in SITUATIONS:
        result = evaluation.figures[situation]
        assert result["model"]["rmse"] < result["genre_mean"]["rmse"] < result["global_mean"]["rmse"]
        assert 0.7 <= result["model"]["interval_coverage"] <= 0.95


def test_the_baselines_by_hand(films: pd.DataFrame, evaluation: Evaluation):
    """The genre mean is the mean of the film's genres' means, the global mean without a genre that is known."""
    before = films[films["release_date"] < "2019-01-01"]
    table = evaluation.predictions.set_index("id")
    assert table["global_mean"].to_numpy() == pytest.approx(before["vote_average"].mean())
    film = films[films["id"].isin(table.index)].iloc[0]
    means = [
        before.loc[[genre in genres for genres in before["genres"]], "vote_average"].mean() for genre in film["genres"]
    ]
    assert table.loc[film["id"], "genre_mean"] == pytest.approx(np.mean(means))

    early = films["release_date"] < "2019-01-01"
    unknown = films.assign(
        genres=films["genres"].where(early, films["id"].map(lambda id_: ["Opera"] if id_ % 2 else []))
    )
    other = evaluate(unknown, SMALL, until=date(2024, 1, 1), months=60, min_films=80).predictions
    assert other["genre_mean"].tolist() == other["global_mean"].tolist()


def test_figures_by_hand():
    actual, predicted = np.array([5.0, 6.0, 7.0, 8.0]), np.array([5.0, 7.0, 7.0, 6.0])
    result = figures(actual, predicted, low=predicted - 1, high=predicted + 1)
    assert result == pytest.approx(
        {
            "rmse": np.sqrt(5 / 4),
            "mae": 3 / 4,
            "bias": -1 / 4,
            "r2": 0.0,
            "spearman": 0.3162277660168379,
            "interval_coverage": 3 / 4,
            "interval_width": 2.0,
        }
    )


def test_what_is_not_defined_is_left_out():
    """A constant has no rank correlation, and equal ratings have no share that could be explained."""
    ratings, constant = np.array([5.0, 6.0]), np.array([5.5, 5.5])
    assert set(figures(ratings, constant)) == {"rmse", "mae", "bias", "r2"}
    assert set(figures(constant, ratings)) == {"rmse", "mae", "bias"}


def test_the_table_has_every_figure(evaluation: Evaluation):
    table = evaluation.table
    assert list(table.columns) == ["situation", "model", "metric", "value", "films"]
    assert table.set_index(["situation", "model", "metric"])["value"].to_dict() == {
        (situation, model, metric): value
        for situation, models in evaluation.figures.items()
        for model, metrics in models.items()
        for metric, value in metrics.items()
    }
    assert (table["films"] == len(evaluation.predictions)).all()


def test_how_far_the_figures_may_be_chance(evaluation: Evaluation):
    """Each interval is around the figure that it is of, and the differences are paired."""
    found = uncertainty(evaluation.predictions)
    table = evaluation.predictions
    for situation in SITUATIONS:
        errors = table[f"{situation}_prediction"] - table["actual"]
        for name, figures_of_it in evaluation.figures[situation].items():
            estimate = found.rmse[situation][name]
            assert estimate.value == pytest.approx(figures_of_it["rmse"])
            assert estimate.low < estimate.value < estimate.high
        assert found.rmse[situation]["model"] == rmse(errors)
        assert set(found.difference[situation]) == {"global_mean", "genre_mean"}
        for name, difference in found.difference[situation].items():
            assert difference == rmse_difference(errors, table[name] - table["actual"])
            assert difference.high < 0, "the model beats it"
    rows = found.table.set_index(["figure", "situation", "model"])
    assert len(rows) == 10
    assert rows.loc[("difference", "released", "genre_mean"), "low"] == found.difference["released"]["genre_mean"].low
    document = found.to_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert (document["level"], document["rmse"]["released"]["model"]["low"]) == (
        0.95,
        found.rmse["released"]["model"].low,
    )


def test_the_document_is_plain_json_and_not_rounded(evaluation: Evaluation):
    document = evaluation.to_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["figures"]["released"]["model"]["rmse"] == evaluation.figures["released"]["model"]["rmse"]
    assert document["config"] == SMALL.model_dump(mode="json")


def test_the_predictions_survive_json_to_the_last_bit(evaluation: Evaluation):
    again = hold_out_from_json(json.loads(json.dumps(hold_out_to_json(evaluation.predictions), allow_nan=False)))
    assert again.columns.tolist() == evaluation.predictions.columns.tolist()
    for column in again:
        assert again[column].tolist() == evaluation.predictions[column].tolist()


def holdout(ids: list[int], actual: list[float], error: float) -> pd.DataFrame:
    ratings = np.array(actual)
    return pd.DataFrame(
        {
            "id": ids,
            "actual": ratings,
            "unreleased_prediction": ratings + error,
            "released_prediction": ratings - error / 2,
        }
    )


def test_two_days_are_compared_on_the_films_of_both():
    """What a film is rated is taken from the newer day; films of one day alone do not count."""
    new = holdout([1, 2, 3], [6.0, 7.0, 1.0], 0.5)
    old = holdout([2, 1, 9], [6.5, 6.0, 1.0], 0.25)
    result = compare(new, old)
    assert result.films == 2
    assert result.new_rmse == pytest.approx({"unreleased": 0.5, "released": 0.25})
    assert result.old_rmse["unreleased"] == pytest.approx(0.25)
    assert result.old_rmse["released"] == pytest.approx(np.sqrt((0.125**2 + 0.625**2) / 2))


def test_days_without_common_films_have_nothing_to_compare():
    result = compare(holdout([1], [6.0], 0.5), holdout([2], [6.0], 0.5))
    assert (result.films, result.new_rmse, result.old_rmse) == (0, {}, {})
