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
from movie_platform_tests.rating_model.examples import SMALL, example_films
from movie_platform_tests.rating_model.golden import make_golden


def as_bytes(model: RatingModel) -> bytes:
    return Bundle.make(model, partition=date(2026, 1, 5), code_version="x", days_used=[date(2026, 1, 5)]).to_bytes()


def test_two_trainings_give_the_same_bytes(films: pd.DataFrame, model: RatingModel):
    """Also with the films in another order."""
    assert as_bytes(train(films.sample(frac=1, random_state=4), SMALL)) == as_bytes(model)


def test_neither_threads_nor_the_order_of_hashes_show():
    """Another process with two threads and another PYTHONHASHSEED gives the same bytes."""
    code = (
        "import hashlib; from movie_platform_tests.rating_model.golden import make_golden; "
        "print(hashlib.sha256(make_golden(threads=2)).hexdigest())"
    )
    # On a busy machine threads that spin while they wait would take a hundred times as long.
    changes = {"PYTHONHASHSEED": "4321", "OMP_WAIT_POLICY": "passive"}
    environment = {**os.environ, **changes}  # noqa: TID251  the child needs the parent's environment
    output = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True, text=True)
    assert output.stdout.strip() == hashlib.sha256(make_golden()).hexdigest()


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


@pytest.mark.parametrize("change", [{"tree": 5}, {"trees": 0}, {"mask_all": 1.5}, {"learning_rate": float("inf")}])
def test_a_config_that_makes_no_sense_is_refused(change):
    with pytest.raises(ValidationError):
        TrainingConfig(**change)
