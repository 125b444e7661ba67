"""Intervals of figures, by drawing films again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from movie_platform.rating_model.bootstrap import Estimate, rmse, rmse_difference

errors_of_films = st.lists(st.floats(-10, 10).map(lambda value: round(value, 3)), min_size=1, max_size=40)


def noise(films: int, *, spread: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, spread, films)


def test_the_value_is_the_root_mean_square():
    assert rmse([3.0, -4.0, 0.0, 0.0]).value == 2.5
    assert rmse_difference([3.0, -4.0, 0.0, 0.0], [1.0, 1.0, -1.0, 1.0]).value == 1.5


def test_the_interval_is_as_wide_as_theory_says():
    """Of normal errors, an RMSE deviates by spread / sqrt(2 films): by 0.01 here, so 95 % are 0.039 wide."""
    estimate = rmse(noise(2_450, spread=0.7, seed=3))
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * 0.7 / np.sqrt(2 * 2_450), rel=0.1)
    assert estimate.low < 0.7 < estimate.high


def test_the_interval_holds_the_truth_as_often_as_it_says():
    held = sum(
        estimate.low <= 1 <= estimate.high
        for seed in range(150)
        for estimate in [rmse(noise(150, spread=1, seed=seed))]
    )
    assert 0.88 * 150 <= held <= 150


def test_a_difference_is_taken_on_the_same_films():
    """What both models get wrong cancels out: the interval is far narrower than those of the two figures."""
    common = noise(1_000, spread=0.7, seed=1)
    worse = common + noise(1_000, spread=0.15, seed=2)
    difference = rmse_difference(common, worse)
    assert difference.high < 0
    assert difference.high - difference.low < (rmse(common).high - rmse(common).low) / 2
    independent = rmse_difference(common, np.roll(worse, 1))
    assert independent.low < 0 < independent.high


def test_more_films_say_more():
    few, many = (rmse(noise(films, spread=1, seed=1)) for films in (50, 5_000))
    assert many.high - many.low < (few.high - few.low) / 5


@settings(max_examples=25, deadline=None)
@given(errors=errors_of_films, data=st.data())
def test_what_holds_of_any_errors(errors: list[float], data: st.DataObject):
    others = data.draw(st.lists(st.floats(-10, 10), min_size=len(errors), max_size=len(errors)))
    estimate = rmse(errors)
    assert min(map(abs, errors)) - 1e-9 <= estimate.low <= estimate.high <= max(map(abs, errors)) + 1e-9
    assert estimate == rmse(np.array(errors)) == rmse([-error for error in errors])
    assert rmse_difference(errors, errors) == Estimate(0, 0, 0)
    forth, back = rmse_difference(errors, others), rmse_difference(others, errors)
    assert (forth.value, forth.low, forth.high) == pytest.approx((-back.value, -back.high, -back.low))
    assert forth.value == pytest.approx(estimate.value - rmse(others).value)


def test_one_film_has_no_interval_to_speak_of():
    assert rmse([-0.5]) == Estimate(0.5, 0.5, 0.5)


def test_an_estimate_is_plain_json():
    assert rmse([2.0]).to_dict() == {"value": 2.0, "low": 2.0, "high": 2.0}


@pytest.mark.parametrize("errors", [[], [[1.0, 2.0]], [1.0, np.nan], [np.inf]])
def test_what_is_no_error_of_films_is_refused(errors: list[float]):
    with pytest.raises(ValueError, match=r"^errors: "):
        rmse(errors)
    with pytest.raises(ValueError, match=r"^others: "):
        rmse_difference([1.0, 2.0], errors)


def test_errors_of_different_films_are_refused():
    with pytest.raises(ValueError, match=r"others: 1 films beside 2; give both errors of the same films"):
        rmse_difference([1.0, 2.0], [1.0])
