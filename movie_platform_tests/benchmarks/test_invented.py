"""Invented films that make training grow as real ones do."""

from collections import Counter

import pandas as pd
import pytest

from benchmarks.invented import varied_films
from movie_platform.rating_model.films import MIN_VOTES, training_films
from movie_platform.rating_model.text import normalize, tokenize
from movie_platform.tmdb.reference import GENRES, LANGUAGES


def test_they_can_be_trained_on_and_repeat():
    films = varied_films(500, seed=3, first_id=1000)
    assert training_films(films)["id"].tolist() == list(range(1000, 1500))
    pd.testing.assert_frame_equal(films, varied_films(500, seed=3, first_id=1000))
    assert not films["title"].equals(varied_films(500, seed=4)["title"])


def test_their_fields_are_tmdbs():
    films = varied_films(3_000, seed=1)
    genres = films["genres"].tolist()
    assert {name for names in genres for name in names} == set(GENRES.values())
    assert all(len(set(names)) == len(names) for names in genres)
    assert set(films["original_language"]) <= LANGUAGES
    assert films["vote_count"].min() == MIN_VOTES
    assert 40 < films["overview"].map(lambda text: len(text.split())).mean() < 60


@pytest.mark.parametrize(("count", "real"), [(1_250, 2_054), (5_000, 6_116)])
def test_the_vocabulary_grows_as_that_of_real_films(count: int, real: int):
    """Words of at least four films; `real` was counted in so many of TMDB's."""
    films = varied_films(count, seed=1)
    texts = zip(films["title"], films["overview"], strict=True)
    films_with = Counter(word for text in texts for word in set(tokenize(normalize(" ".join(text)))))
    assert sum(films >= 4 for films in films_with.values()) == pytest.approx(real, rel=0.1)
