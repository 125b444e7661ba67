"""Training: the same bytes, the masks, the calibration period."""

import hashlib
import os
import subprocess
import sys
from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from movie_platform.rating_model.bundle import Bundle
from movie_platform.rating_model.config import TrainingConfig
from movie_platform.rating_model.films import TooFewFilmsError
from movie_platform.rating_model.model import RatingModel
from movie_platform.rating_model.training import newest_films_start, train
from movie_platform_tests.rating_model.examples import SMALL, example_films, films_in_series
from movie_platform_tests.rating_model.golden import make_golden


def as_bytes(model: RatingModel) -> bytes:
    return Bundle.make(model, partition=date(2026, 1, 5), code_version="x", days_used=[date(2026, 1, 5)]).to_bytes()


def test_two_trainings_give_the_same_bytes(series_films: pd.DataFrame, series_model: RatingModel):
    """Also with the films in another order; what they are of is in them."""
    series = series_model.encoder.series
    assert series is not None
    assert len(set(series.keys)) == len(series.keys) // 3 == 300
    assert as_bytes(train(series_films, SMALL)) == as_bytes(series_model)
    assert as_bytes(train(series_films.sample(frac=1, random_state=4), SMALL)) == as_bytes(series_model)


@pytest.mark.parametrize("change", [{"max_series_films": 100}, {"recency_half_life": None}, {"recency_half_life": 0.3}])
def test_the_order_does_not_show_with_another_config_either(series_films: pd.DataFrame, change):
    """Where ties decide which films of series are kept, and where old films weigh next to nothing."""
    config = SMALL.model_copy(update=change)
    few_votes = series_films.assign(vote_count=series_films["vote_count"].clip(upper=12))
    expected = as_bytes(train(few_votes, config))
    assert as_bytes(train(few_votes.sample(frac=1, random_state=4), config)) == expected
    assert expected != as_bytes(train(few_votes, SMALL))


def digests(*, threads: int) -> list[str]:
    """Of the golden bundle, and of one whose weights are so far apart that their sums show how they were added up."""
    films = films_in_series(300)
    few_votes = films.assign(vote_count=films["vote_count"].clip(upper=12))
    config = SMALL.model_copy(update={"recency_half_life": 1.0})
    bundles = make_golden(threads=threads), as_bytes(train(few_votes, config, threads=threads))
    return [hashlib.sha256(data).hexdigest() for data in bundles]


def test_neither_threads_nor_the_order_of_hashes_show():
    """Another process with two threads and another PYTHONHASHSEED gives the same bytes, of films in series."""
    code = f"from {digests.__module__} import digests; print(*digests(threads=2))"
    # On a busy machine threads that spin while they wait would take a hundred times as long.
    changes = {"PYTHONHASHSEED": "4321", "OMP_WAIT_POLICY": "passive"}
    environment = {**os.environ, **changes}  # noqa: TID251  the child needs the parent's environment
    output = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True, text=True)
    assert output.stdout.split() == digests(threads=1)


def test_another_seed_gives_another_model(films: pd.DataFrame, model: RatingModel):
    other = train(films, SMALL.model_copy(update={"seed": 2}))
    assert other.model_text != model.model_text


def test_the_model_says_what_it_was_trained_on(films: pd.DataFrame, model: RatingModel):
    assert model.config is SMALL
    assert model.trained_on.films == len(films)
    assert model.trained_on.first_release_date == films["release_date"].min().date()
    assert model.trained_on.last_release_date == films["release_date"].max().date()
    assert model.trained_on.synthetic


def test_the_model_text_does_not_say_how_many_threads_made_it(model: RatingModel):
    assert "num_threads" not in model.model_text


def test_no_text_of_a_single_film_is_kept(model: RatingModel):
    """Each title of the examples ends in a number of its own."""
    assert not {str(number) for number in range(900)} & set(model.encoder.text.terms)


def test_every_field_has_been_seen_missing(model: RatingModel):
    """LightGBM takes NaN for zero in a feature that never was NaN; only those of title and votes are never missing."""
    always_known = {
        *("title length", "words in the title", "words of title and overview"),
        *("number in the title", "subtitle", "earlier films of the series", "votes"),
    }
    splits: list[int] = []
    kinds: list[int] = []
    for line in model.model_text.splitlines():
        name, _, values = line.partition("=")
        if name == "split_feature":
            splits += map(int, values.split())
        elif name == "decision_type":
            kinds += map(int, values.split())
    never_missing = {feature for feature, kind in zip(splits, kinds, strict=True) if kind in {0, 2}}
    assert {model.encoder.feature_names[feature] for feature in never_missing} <= always_known


def test_intervals_are_calibrated_on_the_newest_films():
    """Making only them harder to predict widens the intervals; making the oldest harder does not as much."""
    films = example_films(600)
    newest = films["release_date"].rank(ascending=False) <= 100
    noise = pd.Series(np.random.default_rng(1).choice([-2.0, 2.0], len(films)))
    widths = {}
    for name, where in (("newest", newest), ("oldest", films["release_date"].rank() <= 100)):
        noisy = films.assign(vote_average=(films["vote_average"] + noise * where).clip(0.5, 10))
        interval = train(noisy, SMALL).intervals.unreleased
        widths[name] = interval.upper - interval.lower
        assert interval.films == 100
    assert widths["newest"] > 1.5 * widths["oldest"]


def test_newer_films_count_more_unless_the_config_says_otherwise():
    """Films that differ in nothing but their date and their rating: one of no known date is rated like the newest."""
    films = example_films(400).assign(title="The War", overview="", genres=None, original_language="")
    films["genres"] = [[] for _ in range(len(films))]
    films["vote_average"] = np.where(films["release_date"] < "2002-01-01", 5.0, 7.0)
    asked = pd.DataFrame({"title": ["Quetzal"]})
    expected = {None: 6.0, 12.0: 6.5, 2.0: 7.0}
    ratings = [
        train(films, SMALL.model_copy(update={"recency_half_life": years, "max_series_films": 0})).predict(asked)
        for years in expected
    ]
    assert [table["prediction"].iloc[0] for table in ratings] == pytest.approx(list(expected.values()), abs=0.3)


@pytest.mark.parametrize("votes", [2**53, 2**63 - 1])
def test_a_film_with_an_absurd_number_of_votes_does_not_keep_a_bundle_from_being_written(votes):
    """TMDB may send any whole number; floating point holds them exactly up to 2**53."""
    films = example_films(200)
    films.loc[7, "vote_count"] = votes
    assert Bundle.from_bytes(as_bytes(train(films, SMALL))).model.encoder.series is not None


def test_a_hundred_films_are_enough():
    """Half of them calibrate the intervals, and the trees may find nothing to split."""
    model = train(example_films(100), SMALL.model_copy(update={"min_rows_in_leaf": 500}))
    assert model.intervals.released.films == 50
    assert model.predict(example_films(5))["prediction"].nunique() == 1


def test_films_without_common_words_or_categories_can_be_trained_on():
    films = example_films(100)
    films["title"] = [f"t{number}" for number in range(100)]
    model = train(films.assign(overview="", genres=films["genres"].map(lambda _: []), original_language=""), SMALL)
    assert model.encoder.text.terms == ()
    assert np.isfinite(model.predict(example_films(5))["prediction"]).all()


def test_films_of_one_day_cannot_be_calibrated():
    with pytest.raises(TooFewFilmsError, match=r"^release_date: "):
        train(example_films(100).assign(release_date=pd.Timestamp("2020-01-01")), SMALL)


@given(
    st.lists(st.dates(date(2000, 1, 1), date(2020, 12, 31)), min_size=1, max_size=40),
    st.dates(date(2005, 1, 1), date(2021, 12, 31)),
    st.integers(1, 48),
    st.integers(1, 20),
)
def test_a_period_is_as_long_as_asked_unless_it_has_too_few_films(dates, until, months, min_films):
    released = pd.Series(pd.to_datetime(dates))
    start, widened = newest_films_start(released, until=until, months=months, min_films=min_films)
    asked = (pd.Timestamp(until) - pd.DateOffset(months=months)).date()
    before = [day for day in dates if day < until]
    inside = [day for day in before if day >= start]
    if widened:
        assert start < asked
        assert len([day for day in before if day >= asked]) < min_films
        assert len(inside) >= min(min_films, len(before))
        assert len([day for day in inside if day > start]) < min_films
    else:
        assert start == asked
        assert len(inside) >= min(min_films, len(before))


@pytest.mark.parametrize(
    "change",
    [{"tree": 5}, {"trees": 0}, {"mask_all": 1.5}, {"learning_rate": float("inf")}, {"recency_half_life": 0.1}],
)
def test_a_config_that_makes_no_sense_is_refused(change):
    with pytest.raises(ValidationError):
        TrainingConfig(**change)
