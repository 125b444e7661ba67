"""Intervals: coverage and how votes narrow them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from movie_platform.rating_model.intervals import Interval


@pytest.mark.parametrize("votes_are_known", [False, True])
def test_new_films_fall_inside_as_often_as_promised(votes_are_known):
    """Calibrated on one half of films whose error is skewed and falls with the votes, it holds for the other."""
    rng = np.random.default_rng(3)
    votes = np.round(10 + rng.lognormal(3, 1.5, 8000))
    residuals = -rng.gamma(2, 0.4, 8000) + 0.8 + rng.normal(0, 2 / np.sqrt(votes))
    interval = Interval.calibrate(
        residuals[:4000], votes[:4000], level=0.8, vote_noise=2.0, votes_are_known=votes_are_known
    )
    low, high = interval.bounds(np.zeros(4000), votes[4000:])
    inside = (low <= residuals[4000:]) & (residuals[4000:] <= high)
    assert 0.77 < inside.mean() < 0.83


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=50), st.booleans())
def test_an_interval_always_holds_its_prediction(residuals, votes_are_known):
    """Whatever the residuals were, all on one side or all zero."""
    interval = Interval.calibrate(
        np.array(residuals), np.full(len(residuals), 20.0), level=0.8, vote_noise=2.0, votes_are_known=votes_are_known
    )
    low, high = interval.bounds(np.array([6.0]), np.array([100.0]))
    assert low[0] <= 6.0 <= high[0]


def test_more_votes_narrow_the_interval_of_a_released_film():
    interval = Interval(lower=-1, upper=1, model_variance=0.4, vote_variance=4, films=300)
    low, high = interval.bounds(np.full(4, 6.0), np.array([10.0, 100.0, 1000.0, 10000.0]))
    assert (np.diff(high - low) < 0).all()


def test_votes_do_not_matter_to_an_unreleased_film():
    rng = np.random.default_rng(1)
    interval = Interval.calibrate(
        rng.normal(size=100),
        rng.integers(10, 99, 100).astype(np.float64),
        level=0.8,
        vote_noise=2.0,
        votes_are_known=False,
    )
    low, high = interval.bounds(np.array([6.0, 6.0]), np.array([1.0, 1e6]))
    assert low[0] == low[1]
    assert high[0] == high[1]
