"""The figures of parts of a hold-out."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from movie_platform.rating_model.bootstrap import rmse
from movie_platform.rating_model.evaluation import Evaluation, figures
from movie_platform.rating_model.films import SITUATIONS
from movie_platform.rating_model.slices import MIN_FILMS_OF_SLICE, OTHERS, UNKNOWN, Slice, slices

ENOUGH = MIN_FILMS_OF_SLICE


def holdout(
    genres: list[list[str]], *, languages: list[str] | None = None, years: list[int] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions that are too high by 1 as unreleased and right as released; and the films, in another order."""
    count = len(genres)
    ids, rating = np.arange(count) + 1, np.linspace(4, 8, count)
    predictions = pd.DataFrame(
        {
            "id": ids,
            "release_date": pd.to_datetime([f"{year}-06-01" for year in years or [2020] * count]),
            "actual": rating,
            "vote_count": [49, 50] * (count // 2) + [10] * (count % 2),
        }
    )
    for situation, error in (("unreleased", 1.0), ("released", 0.0)):
        for column, shift in (("prediction", 0.0), ("low", -0.5), ("high", 0.5)):
            predictions[f"{situation}_{column}"] = rating + error + shift
    films = pd.DataFrame({"id": ids, "genres": genres, "original_language": languages or ["en"] * count})
    return predictions, films.iloc[::-1]


def named(found: list[Slice], dimension: str) -> dict[str, int]:
    """Return the slices of a dimension and their films, in order; both situations have the same."""
    counts = [
        [(one.name, one.films) for one in found if one.dimension == dimension and one.situation == situation]
        for situation in SITUATIONS
    ]
    assert counts[0] == counts[1]
    return dict(counts[0])


def test_a_film_counts_in_each_of_its_genres():
    found = slices(*holdout([["Drama"]] * ENOUGH + [["Comedy", "Drama"]] * ENOUGH))
    assert named(found, "genre") == {"Drama": 2 * ENOUGH, "Comedy": ENOUGH}


def test_slices_of_too_few_films_are_put_together_last():
    """A film of two such genres is one film."""
    small = [["Western"], ["War"], ["War", "Western"]]
    found = slices(*holdout([["Drama"]] * ENOUGH + [["Comedy"]] * (ENOUGH - 1) + small))
    assert list(named(found, "genre").items()) == [("Drama", ENOUGH), (OTHERS, ENOUGH - 1 + 3)]


def test_a_missing_language_or_genre_is_a_slice_of_its_own():
    found = slices(*holdout([[]] * ENOUGH + [["Drama"]], languages=["fr", *[""] * ENOUGH]))
    assert named(found, "genre") == {UNKNOWN: ENOUGH, OTHERS: 1}
    assert named(found, "language") == {UNKNOWN: ENOUGH, OTHERS: 1}


def test_years_are_in_order_and_the_rest_begins_with_the_largest():
    years = [2022] * ENOUGH + [2021] * (ENOUGH + 2) + [1999]
    languages = ["en"] * ENOUGH + ["ko"] * (ENOUGH + 2) + [""]
    found = slices(*holdout([["Drama"]] * len(years), years=years, languages=languages))
    assert list(named(found, "year").items()) == [("2021", ENOUGH + 2), ("2022", ENOUGH), (OTHERS, 1)]
    assert list(named(found, "language").items()) == [("ko", ENOUGH + 2), ("en", ENOUGH), (OTHERS, 1)]


def test_films_of_many_votes_are_told_apart_from_fifty_on():
    assert named(slices(*holdout([["Drama"]] * 60)), "votes") == {"at least 50": 30, "fewer than 50": 30}


def test_the_figures_of_a_slice_by_hand():
    """Films are joined by their id, whatever their order."""
    drama, comedy = [["Drama"]] * ENOUGH, [["Comedy"]] * ENOUGH
    predictions, films = holdout(drama + comedy)
    predictions.loc[:24, "unreleased_prediction"] += 1
    unreleased = {one.name: one for one in slices(predictions, films) if one.situation == "unreleased"}
    assert unreleased["Drama"].figures["rmse"] == unreleased["Drama"].rmse.value == pytest.approx(2)
    assert unreleased["Comedy"].figures["rmse"] == pytest.approx(1)
    assert unreleased["Comedy"].figures["interval_coverage"] == 0
    assert unreleased["en"].figures["bias"] == pytest.approx(1.5)


def test_of_an_evaluation(films: pd.DataFrame, evaluation: Evaluation):
    """The figures are those that the evaluation's own function gives of the films inside."""
    found = slices(evaluation.predictions, films)
    assert {one.dimension for one in found} == {"votes", "year", "language", "genre"}
    table = evaluation.predictions.merge(films[["id", "genres"]], on="id")
    inside = table[["Horror" in genres for genres in table["genres"]]]
    actual, predicted, low, high = (
        inside[column].to_numpy()
        for column in ("actual", *(f"released_{name}" for name in ("prediction", "low", "high")))
    )
    horror = next(one for one in found if (one.name, one.situation) == ("Horror", "released"))
    assert horror.films == len(inside) >= ENOUGH
    assert horror.figures == figures(actual, predicted, low=low, high=high)
    assert horror.rmse == rmse(predicted - actual)


@settings(max_examples=15, deadline=None)
@given(names=st.lists(st.lists(st.sampled_from("ABCD"), max_size=3, unique=True), min_size=1, max_size=70))
def test_every_film_is_in_a_slice_of_each_dimension(names: list[list[str]]):
    predictions, films = holdout(names)
    found = slices(predictions, films)
    assert sum(named(found, "year").values()) == sum(named(found, "votes").values()) == len(names)
    assert len(names) <= sum(named(found, "genre").values()) <= sum(len(genres) or 1 for genres in names)
    assert all(count >= ENOUGH for name, count in named(found, "genre").items() if name != OTHERS)


def test_a_slice_is_plain_json():
    found = [one.to_dict() for one in slices(*holdout([["Drama"]] * 30))]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_film_that_is_not_known_is_named():
    predictions, films = holdout([["Drama"]] * 3)
    with pytest.raises(ValueError, match=r"films: 1 of the predicted films are not there, 2 among them"):
        slices(predictions, films[films["id"] != 2])
