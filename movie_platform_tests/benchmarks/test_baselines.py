"""What the model is compared with learns only from the films trained on."""

import numpy as np
import pytest

from benchmarks.baselines import ALL_BASELINES, baseline_predictions
from movie_platform_tests.rating_model.examples import example_films


@pytest.mark.parametrize("name", ALL_BASELINES)
def test_what_became_of_the_films_asked_about_moves_nothing(name: str):
    """Their ratings in neither situation, their votes and popularity not as unreleased."""
    films = example_films(500)
    before, holdout = films[:400], films[400:]
    backwards = holdout.iloc[::-1]
    rated_otherwise = holdout.assign(vote_average=backwards["vote_average"].to_numpy())
    voted_otherwise = rated_otherwise.assign(
        vote_count=backwards["vote_count"].to_numpy(), popularity=backwards["popularity"].to_numpy()
    )
    predicted, rated, voted = (
        baseline_predictions(before, asked)[name] for asked in (holdout, rated_otherwise, voted_otherwise)
    )
    assert np.array_equal(rated["unreleased"], predicted["unreleased"])
    assert np.array_equal(rated["released"], predicted["released"])
    assert np.array_equal(voted["unreleased"], predicted["unreleased"])
    assert len(predicted["released"]) == 100
