"""The stability index and the profiles that it compares."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from movie_platform.rating_model.drift import LEFT_OUT, PREDICTION, Distribution, Profile, Shift
from movie_platform.rating_model.encoder import Encoder
from movie_platform.rating_model.text import TextScorer

VALUES = st.floats(min_value=-1e9, max_value=1e9) | st.just(math.nan) | st.sampled_from([0.0, 1.0, 2.0])
SAMPLES = st.lists(VALUES, min_size=1, max_size=80).map(np.array)


def of_one(values: np.ndarray) -> Profile:
    """A profile of one feature; the predictions do not matter."""
    return Profile.of(["x"], values.reshape(-1, 1), np.zeros(len(values)))


def shift(then: np.ndarray, now: np.ndarray) -> Shift:
    return of_one(then).compare(["x"], now.reshape(-1, 1), np.zeros(len(now)))["x"]


# --- the index ------------------------------------------------------------------------------------


@given(SAMPLES, SAMPLES)
def test_it_is_never_negative_and_shares_sum_to_one(then: np.ndarray, now: np.ndarray):
    found = shift(then, now)
    assert found.psi >= 0
    assert math.fsum(found.then) == pytest.approx(1)
    assert math.fsum(found.now) == pytest.approx(1)
    assert len(found.bins) == len(found.then) == len(found.now) <= 11


@given(SAMPLES)
def test_against_itself_nothing_has_shifted(values: np.ndarray):
    found = shift(values, values)
    assert found.psi == 0
    assert found.then == found.now


@given(SAMPLES, SAMPLES, st.randoms(use_true_random=False))
def test_the_order_of_the_films_does_not_matter(then: np.ndarray, now: np.ndarray, random):
    shuffled = [np.array(random.sample(values.tolist(), len(values))) for values in (then, now)]
    assert of_one(shuffled[0]) == of_one(then)
    assert shift(*shuffled) == shift(then, now)


@given(st.integers(10, 200), st.data())
def test_it_grows_with_the_share_that_moves(films: int, data):
    """From the lowest to the highest value; to being missing, too."""
    then = np.arange(films, dtype=np.float64)
    target = data.draw(st.sampled_from([films - 1.0, math.nan]))
    fewer = data.draw(st.integers(0, films // 10 - 1))
    more = data.draw(st.integers(fewer + 1, films // 10))

    def moved(number: int) -> float:
        now = then.copy()
        now[:number] = target
        return shift(then, now).psi

    assert moved(fewer) < moved(more)


def test_it_is_the_sum_over_the_bins():
    """By hand: 60 and 40 films against 30 and 70, each bin with half a film more, and an empty one for the missing."""
    then, now = np.repeat([0.0, 1.0], [60, 40]), np.repeat([0.0, 1.0], [30, 70])
    expected = sum(
        (n - t) * math.log(n / t) for t, n in [(60.5 / 101.5, 30.5 / 101.5), (40.5 / 101.5, 70.5 / 101.5), (1, 1)]
    )
    found = shift(then, now)
    assert found.psi == pytest.approx(expected)
    assert (found.bins, found.then, found.now) == (("no", "yes", "missing"), (0.6, 0.4, 0.0), (0.3, 0.7, 0.0))


def test_the_usual_limits_tell_a_sample_from_another_population():
    rng = np.random.default_rng(1)
    then = rng.normal(6.3, 0.6, 1000)
    assert shift(then, rng.normal(6.3, 0.6, 1000)).psi < 0.1
    assert shift(then, rng.normal(6.7, 0.6, 1000)).psi > 0.25


# --- bins -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("then", "now", "bins"),
    [
        ([0.0] * 50, [1.0] * 50, ("no", "yes", "missing")),
        ([1.0] * 50, [0.0] * 50, ("no", "yes", "missing")),
        ([0.0] * 50, [math.nan] * 50, ("no", "yes", "missing")),
        ([7.0] * 50, [6.0] * 50, ("up to 7", "7", "above 7", "missing")),
        ([7.0] * 50, [8.0] * 50, ("up to 7", "7", "above 7", "missing")),
        ([math.nan] * 50, [3.0] * 50, ("any", "missing")),
        ([1.0] * 45 + [2.0, 3.0] * 2, [1.0] * 10 + [2.0, 3.0] * 20, ("up to 1", "1 to 2", "above 2", "missing")),
    ],
    ids=["never", "always", "now missing", "a constant, now less", "now more", "was missing", "mostly the same"],
)
def test_what_hardly_differs_still_shows_a_shift(then: list[float], now: list[float], bins: tuple[str, ...]):
    found = shift(np.array(then), np.array(now))
    assert found.bins == bins
    assert found.psi > 1


@given(SAMPLES)
def test_there_are_at_most_ten_bins_and_every_film_is_in_one(values: np.ndarray):
    distribution = Distribution.of("x", values)
    assert len(distribution.edges) <= 9
    assert sum(distribution.counts) == len(values)
    assert distribution.counts[-1] == np.isnan(values).sum()


def test_bins_of_many_values_hold_a_tenth_each():
    assert Distribution.of("x", np.arange(500.0)).counts == (*[50] * 10, 0)


def test_a_value_on_an_edge_belongs_below_it():
    values = np.array([1.0, 2.0, 2.0, 3.0])
    assert Distribution.of("x", values).counts == (1, 2, 1, 0)


# --- profiles -------------------------------------------------------------------------------------


def matrix(films: int = 200) -> tuple[list[str], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    names = ["title length", "genre Drama", "release year", "votes"]
    lengths, dramas, years = (rng.integers(*limits, films) for limits in ((1, 40), (0, 2), (2020, 2024)))
    values = np.column_stack([lengths, dramas, years, np.full(films, np.nan)])
    return names, values, rng.normal(6.3, 0.5, films)


def test_features_that_follow_from_time_or_are_withheld_are_left_out():
    profile = Profile.of(*matrix())
    assert [feature.name for feature in profile.features] == ["title length", "genre Drama"]
    assert profile.films == 200
    assert set(profile.compare(*matrix())) == {"title length", "genre Drama", PREDICTION}


def test_the_left_out_features_are_names_of_the_encoder():
    """A feature that is renamed would be compared, unseen."""
    empty = TextScorer(terms=(), idf=np.empty(0), coefficients=np.empty(0), intercept=0.0)
    assert set(Encoder(genres=(), languages=(), text=empty).feature_names) >= LEFT_OUT


def test_the_largest_shift_comes_first():
    names, values, predictions = matrix()
    profile = Profile.of(names, values, predictions)
    values[:, 1] = 1
    shifts = profile.compare(names, values, predictions + 0.1)
    assert list(shifts) == ["genre Drama", PREDICTION, "title length"]
    assert shifts["title length"].psi == 0


def test_a_category_that_only_one_side_knows_is_not_compared():
    """And the columns are found by their names."""
    names, values, predictions = matrix()
    profile = Profile.of(names, values, predictions)
    other = np.column_stack([values[:, 1], values[:, 0]])
    shifts = profile.compare(["genre Western", "title length"], other, predictions)
    assert {name: found.psi for name, found in shifts.items()} == {PREDICTION: 0, "title length": 0}


def test_a_profile_is_the_same_after_json():
    profile = Profile.of(*matrix())
    again = Profile.model_validate_json(profile.model_dump_json(), strict=True)
    assert again == profile
    assert again.compare(*matrix()) == profile.compare(*matrix())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda document: document.update(films=199), "sum up to the number of films"),
        (lambda document: document["features"][0].update(counts=[200]), "counts"),
        (lambda document: document["features"][0].update(edges=[2.0, 1.0], counts=[200, 0, 0, 0]), "ascending"),
        (lambda document: document["features"][0].update(edges=list(range(10)), counts=[200, *[0] * 11]), "edges"),
        (lambda document: document["features"].append(document["features"][0]), "more than once"),
        (lambda document: document["features"][1].update(counts=[201, -1, 0]), "counts"),
        (lambda document: document.update(extra=1), "extra"),
    ],
    ids=["another number of films", "no missing bin", "edges", "too many bins", "twice", "negative", "unknown field"],
)
def test_a_document_that_contradicts_itself_is_refused(change, message: str):
    document = json.loads(Profile.of(*matrix()).model_dump_json())
    change(document)
    with pytest.raises(ValidationError, match=message):
        Profile.model_validate_json(json.dumps(document))


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_an_infinite_value_is_refused_by_name(value: float):
    names, values, predictions = matrix()
    profile = Profile.of(names, values, predictions)
    values[7, 0] = value
    for use in (Profile.of, profile.compare):
        with pytest.raises(ValueError, match=r"^title length: "):
            use(names, values, predictions)
    predictions[3] = value
    with pytest.raises(ValueError, match=r"^title length: |^prediction: "):
        Profile.of(names, values, predictions)


def test_no_films_and_arrays_of_other_shapes_are_refused():
    names, values, predictions = matrix()
    with pytest.raises(ValueError, match="no films"):
        Profile.of(names, values[:0], predictions[:0])
    for wrong in ((names[:2], values, predictions), (names, values[:9], predictions), (names, values[0], predictions)):
        with pytest.raises(ValueError, match=r"^matrix: "):
            Profile.of(*wrong)
    with pytest.raises(ValueError, match="named twice"):
        Profile.of(["a", "a", "b", "c"], values, predictions)
    with pytest.raises(ValueError, match="kept for the predictions"):
        Profile.of(["a", PREDICTION, "b", "c"], values, predictions)
