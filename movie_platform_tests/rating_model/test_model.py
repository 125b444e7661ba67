"""Predictions."""

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from movie_platform.rating_model.films import SITUATIONS, Situation
from movie_platform.rating_model.model import RatingModel

FIELDS = {
    "overview": "A love story of the river and the war.",
    "genres": ["Drama", "Comedy"],
    "original_language": "fr",
    "popularity": 20.5,
    "vote_count": 120,
}
DATES: list[dict[str, Any]] = [{"release_date": pd.Timestamp("2021-06-11")}, {"release_year": 2021}, {}]


@pytest.fixture(scope="module")
def patterns() -> pd.DataFrame:
    """Return a film in every pattern of missing fields, the date whole, as a year, or missing."""
    rows = [
        {"title": "The War", **date, **{name: FIELDS[name] for name, there in zip(FIELDS, known, strict=True) if there}}
        for date in DATES
        for known in product([True, False], repeat=len(FIELDS))
    ]
    table = pd.DataFrame(rows, columns=["title", "release_date", "release_year", *FIELDS])
    return table.assign(release_date=pd.to_datetime(table["release_date"]))


def assert_sensible(predictions: pd.DataFrame) -> None:
    numbers = predictions[["low", "prediction", "high"]].to_numpy()
    assert np.isfinite(numbers).all()
    assert ((numbers >= 0) & (numbers <= 10)).all()
    assert (np.diff(numbers, axis=1) >= 0).all()


def test_every_pattern_of_missing_fields_has_a_prediction(model: RatingModel, patterns: pd.DataFrame):
    """And one alone gives exactly what it gives in the table."""
    predictions = model.predict(patterns)
    assert_sensible(predictions)
    assert set(predictions["situation"]) == set(SITUATIONS)
    for position in range(0, len(patterns), 7):
        alone = model.predict(patterns.iloc[[position]])
        pd.testing.assert_frame_equal(alone, predictions.iloc[[position]], check_exact=True)


@settings(max_examples=60, deadline=None)
@given(
    st.fixed_dictionaries(
        {"title": st.text(min_size=1).filter(str.strip)},
        optional={
            "overview": st.text(),
            "release_year": st.integers(1870, 2200),
            "genres": st.lists(st.text(), max_size=3),
            "original_language": st.text(max_size=3),
            "popularity": st.floats(0, 1e300),
            "vote_count": st.integers(0, 10**12),
        },
    )
)
def test_whatever_is_asked_the_answer_is_a_rating(model: RatingModel, film):
    assert_sensible(model.predict(pd.DataFrame([film])))


def test_popularity_counts_only_together_with_votes(model: RatingModel):
    few = {"title": "The War", "vote_count": 9}
    predictions = model.predict(pd.DataFrame([few, few | {"popularity": 500.0}]))
    assert predictions["situation"].tolist() == ["unreleased"] * 2
    assert predictions["prediction"].nunique() == 1


def test_the_model_has_learned_what_is_true(model: RatingModel):
    """Films that the catalogue rates high come out above those it rates low, before any vote."""
    good = {"title": "The War", "overview": "A masterpiece of love and war.", "genres": ["Documentary"]}
    bad = {"title": "The House", "overview": "Zombie zombie beach zombie house.", "genres": ["Horror"]}
    ratings = model.predict(pd.DataFrame([good, bad]))["prediction"]
    assert ratings[0] > ratings[1] + 0.5


def test_the_index_is_kept_and_an_empty_table_is_fine(model: RatingModel, films: pd.DataFrame):
    some = films.head(3).set_axis(["x", "y", "x"])
    assert model.predict(some).index.tolist() == ["x", "y", "x"]
    assert model.predict(films.head(0)).columns.tolist() == ["prediction", "low", "high", "situation"]


def test_the_situation_can_be_given_for_each_film(model: RatingModel, films: pd.DataFrame):
    wanted: list[Situation] = ["unreleased", "released", "unreleased"]
    some = films.head(3)
    assert model.predict(some, situation=wanted)["situation"].tolist() == wanted
    assert model.predict(some, situation=pd.Series(wanted))["situation"].tolist() == wanted


@pytest.mark.parametrize("situation", ["upcoming", ["released"], ["released", "released", None]])
def test_a_situation_that_does_not_exist_is_refused(model: RatingModel, films: pd.DataFrame, situation):
    with pytest.raises(ValueError, match=r"^situation: give one of"):
        model.predict(films.head(3), situation=situation)


def test_a_film_without_votes_cannot_be_asked_about_as_released(model: RatingModel):
    with pytest.raises(ValueError, match=r"^situation: a film with fewer than 10 votes"):
        model.predict(pd.DataFrame({"title": ["A"], "vote_count": [3]}), situation="released")


def test_threads_do_not_move_a_prediction(model: RatingModel, films: pd.DataFrame):
    pd.testing.assert_frame_equal(model.predict(films, threads=1), model.predict(films, threads=2), check_exact=True)


def test_importance_names_every_feature_largest_first(model: RatingModel):
    gains = model.importance()
    assert sorted(gains) == sorted(model.encoder.feature_names)
    assert list(gains.values()) == sorted(gains.values(), reverse=True)
