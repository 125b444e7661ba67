"""One trained model and one evaluation for all tests of the model."""

from datetime import date

import pandas as pd
import pytest

from movie_platform.rating_model.bundle import Bundle
from movie_platform.rating_model.evaluation import Evaluation, evaluate
from movie_platform.rating_model.model import RatingModel
from movie_platform.rating_model.training import train
from movie_platform_tests.rating_model.examples import SMALL, example_films, films_in_series


@pytest.fixture(scope="session")
def films() -> pd.DataFrame:
    return example_films()


@pytest.fixture(scope="session")
def model(films: pd.DataFrame) -> RatingModel:
    return train(films, SMALL)


@pytest.fixture(scope="session")
def series_films() -> pd.DataFrame:
    return films_in_series()


@pytest.fixture(scope="session")
def series_model(series_films: pd.DataFrame) -> RatingModel:
    """A model that has something to learn from the earlier films of a series."""
    return train(series_films, SMALL)


@pytest.fixture(scope="session")
def bundle(model: RatingModel) -> Bundle:
    return Bundle.make(model, partition=date(2026, 1, 5), code_version="abc", days_used=[date(2026, 1, 5)])


@pytest.fixture(scope="session")
def evaluation(films: pd.DataFrame) -> Evaluation:
    return evaluate(films, SMALL, until=date(2024, 1, 1), months=60, min_films=80)
