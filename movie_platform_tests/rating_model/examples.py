"""Invented films for the tests of the model, the same on every machine.

Ratings depend on genre, language, era and words, with noise that falls with the votes, so that there is something
true to learn. ``example_films`` must go on returning what it does: bundles of the tests were trained on it.
"""

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from movie_platform.rating_model.config import TrainingConfig
from movie_platform.rating_model.fields import Film
from movie_platform.rating_model.model import RatingModel
from movie_platform.rating_model.series import SeriesTable, series_key
from movie_platform.rating_model.text import normalize

GENRES = {"Drama": 0.5, "Comedy": 0.0, "Horror": -0.8, "Documentary": 0.7, "Action": -0.2, "Animation": 0.3}
LANGUAGES = {"en": 0.0, "fr": 0.3, "ja": 0.5, "de": 0.1}
WORDS = {"love": 0.1, "war": 0.3, "zombie": -0.7, "masterpiece": 0.6, "beach": -0.2, "house": -0.1, "river": 0.1}
FILLER = ["a", "the", "of", "night", "day", "city", "family", "secret", "journey", "old", "new", "friend", "lost"]

SMALL = TrainingConfig(trees=40, averaged_models=1, min_rows_in_leaf=10, calibration_min_films=100, learning_rate=0.1)
"""Small enough to train in about a second."""


def example_films(count: int = 900, *, seed: int = 0) -> pd.DataFrame:
    """Return so many films released 1980-2023, sorted by id, each with at least 10 votes."""
    rng = np.random.default_rng(seed)
    genre_names, languages, vocabulary = list(GENRES), list(LANGUAGES), [*WORDS, *FILLER]
    days = rng.integers(0, 44 * 365, count)
    rows = []
    for number in range(count):
        genres = [genre_names[i] for i in rng.choice(len(genre_names), rng.integers(1, 4), replace=False)]
        language = languages[rng.choice(len(languages), p=[0.6, 0.2, 0.1, 0.1])]
        words = [vocabulary[i] for i in rng.choice(len(vocabulary), 20)]
        votes = int(10 + rng.lognormal(4, 1.5))
        released = pd.Timestamp("1980-01-01") + pd.Timedelta(days=int(days[number]))
        rating = 6.2 + np.mean([GENRES[genre] for genre in genres]) + LANGUAGES[language]
        rating += sum(WORDS.get(word, 0.0) for word in words) / 2 + 0.01 * (2000 - released.year)
        rating += 0.1 * np.log(votes / 50) + rng.normal(0, 0.4) + rng.normal(0, 2 / np.sqrt(votes))
        rows.append(
            {
                "id": 1000 + number,
                "title": f"The {words[0].title()} {number}",
                "original_title": f"The {words[0].title()} {number}",
                "overview": " ".join(words).capitalize() + ".",
                "release_date": released,
                "genres": genres,
                "original_language": language,
                "popularity": float(np.round(rng.lognormal(1, 1), 3)),
                "vote_average": float(np.clip(np.round(rating, 3), 0.5, 10)),
                "vote_count": votes,
                "synthetic": True,
            }
        )
    return pd.DataFrame(rows)


def films_in_series(count: int = 900, *, seed: int = 0) -> pd.DataFrame:
    """Return the films of ``example_films`` in series of three, whose ratings persist.

    The first film of a series is called by a name of eight letters that no other film has, the next ones by that name
    and a number or a subtitle. They are too few for the text regression to know the name, so that only the earlier
    films tell how a later one is rated; a standard deviation of 0.8 around the example's rating.
    """
    films = example_films(count, seed=seed)
    rng = np.random.default_rng(seed + 1)
    films = films.iloc[np.argsort(films["release_date"].to_numpy(), kind="stable")]
    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
    series = rng.permutation(np.arange(count) % max(count // 3, 1))
    names = ["".join(rng.choice(syllables, 4)).title() for _ in range(series.max() + 1)]
    quality = rng.normal(0, 0.8, len(names))
    number = pd.Series(series).groupby(series).cumcount().to_numpy()
    titles = [
        (names[of], f"{names[of]} {part + 1}", f"{names[of]}: Part {part + 1}")[part % 3]
        for of, part in zip(series, number, strict=True)
    ]
    ratings = np.clip(np.round(films["vote_average"].to_numpy() + quality[series], 3), 0.5, 10)
    return films.assign(title=titles, original_title=titles, vote_average=ratings).sort_values("id", ignore_index=True)


def films_of(table: pd.DataFrame) -> list[Film]:
    """The films of a table without missing values, one by one."""
    rows: Any = table.itertuples()
    return [
        Film(
            title=row.title,
            overview=row.overview,
            release_date=row.release_date.date(),
            genres=row.genres,
            original_language=row.original_language,
            popularity=row.popularity,
            vote_count=row.vote_count,
        )
        for row in rows
    ]


def with_earlier_film(model: RatingModel, title: str, day: date, *, rating: float, votes: int) -> RatingModel:
    """The model, when it had also known another film; its trees are the same."""
    series = model.encoder.series
    assert series is not None
    key = series_key(normalize(title))
    assert key is not None
    entries = sorted(
        [
            *zip(series.keys, series.days, series.ratings, series.votes, strict=True),
            (key, day.toordinal(), rating, votes),
        ]
    )
    keys, days, ratings, votes_of_all = zip(*entries, strict=True)
    table = SeriesTable(keys, days, ratings, votes_of_all, noise_ratio=series.noise_ratio)
    return replace(model, encoder=replace(model.encoder, series=table))
