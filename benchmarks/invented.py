"""Invented films in any number, distributed like TMDB's films with at least 10 votes, to see how training grows.

What belongs here: what drives the time and the size of a training. Words are as frequent as in a language, so that the
vocabulary grows with the films as theirs does; overviews have 48 words in the mean; genres, languages, votes and years
are as uneven as TMDB's. What does not: films that resemble real ones one by one. The figures beside the constants are
of the films of two catalogues, 44,694 with enough votes, 19,674 of them with an overview.
"""

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from movie_platform.rating_model.fields import MIN_VOTES
from movie_platform.tmdb.reference import GENRES, LANGUAGES

__all__ = ["varied_films"]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# The word of rank r is as frequent as (r + shift)^-exponent, and beyond the kernel falls faster: Zipf's law with two
# regimes (Ferrer i Cancho and Solé 2001). In 1,250, 5,000 and 19,000 films, words of at least four films were 2,086,
# 6,080 and 14,159; they are 2,054, 6,116 and 14,078 in as many real ones.
_SHIFT: Final = 3.0
_EXPONENT: Final = 1.05
_KERNEL: Final = 4_000
_EXPONENT_BEYOND: Final = 1.6
_WORDS: Final = 3_000_000

_OVERVIEW: Final = (3.735, 0.537)
"""Mean and standard deviation of the logarithm of an overview's number of words."""
_TITLE: Final = 1.9
"""Words of a title beyond the first, in the mean."""
_GENRES_OF_FILM: Final = (0.04, 0.26, 0.33, 0.26, 0.11)
"""Shares of the films with no genre, one, two, and so on."""
_ENGLISH: Final = 0.7
_AGE: Final = 17.0
"""Years before the newest film, in the mean, when a film was released."""
_VOTES: Final = (3.3, 2.5)
"""Mean and standard deviation of the logarithm of the votes beyond those that it needs."""
_MOST_VOTES: Final = 40_000

_NEWEST: Final = np.datetime64("2024-12-31")
_STARTS: Final = ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "ch", "sh", "st", "br", "tr")
_SYLLABLES: Final = [f"{start}{vowel}" for start in _STARTS for vowel in "aeiou"]


def varied_films(count: int, *, seed: int, first_id: int = 1) -> pd.DataFrame:
    """Return so many films as ``latest_films`` gives them; the same arguments give the same films."""
    rng = np.random.default_rng(seed)
    ranks, overviews = _texts(np.ceil(rng.lognormal(*_OVERVIEW, count)).astype(np.int64), rng)
    _, titles = _texts(1 + rng.poisson(_TITLE, count), rng)
    languages = ["en", *sorted(LANGUAGES - {"en"})]
    language = rng.choice(len(languages), count, p=[_ENGLISH, *(1 - _ENGLISH) * _uneven(len(languages) - 1, 1.6)])
    genres = _genres(count, rng)
    votes = MIN_VOTES + np.minimum(rng.lognormal(*_VOTES, count), _MOST_VOTES).astype(np.int64)
    days = np.minimum(rng.exponential(_AGE, count), 6 * _AGE) * 365
    rating = (
        6.3
        + 0.4 * (genres @ rng.normal(size=len(GENRES))) / np.maximum(genres.sum(axis=1), 1)
        + 0.3 * rng.normal(size=len(languages))[language]
        + ranks
        + 0.1 * np.log(votes / 50)
        + rng.normal(0, 0.6, count)
        + rng.normal(0, 2, count) / np.sqrt(votes)
    )
    names = list(GENRES.values())
    return pd.DataFrame(
        {
            "id": first_id + np.arange(count),
            "title": [title.title() for title in titles],
            "overview": [f"{overview.capitalize()}." for overview in overviews],
            "release_date": (_NEWEST - days.astype("timedelta64[D]")).astype("datetime64[s]"),
            "genres": pd.Series([[names[place] for place in np.flatnonzero(row)] for row in genres], dtype=object),
            "original_language": [languages[place] for place in language],
            "popularity": np.round(rng.lognormal(1, 1, count), 3),
            "vote_average": np.clip(np.round(rating, 3), 0.5, 10),
            "vote_count": votes,
            "synthetic": True,
        }
    )


def _texts(lengths: Integers, rng: np.random.Generator) -> tuple[Floats, list[str]]:
    """Return what each text's words are worth in rating points, and the texts."""
    ranks = np.searchsorted(_word_frequencies(), rng.random(lengths.sum()))
    known, place = np.unique(ranks, return_inverse=True)
    film = np.repeat(np.arange(len(lengths)), lengths)
    worths = np.bincount(film, weights=_word_worths()[known][place]) / np.sqrt(lengths)
    words = np.array([_word(rank) for rank in known.tolist()], dtype=object)[place].tolist()
    ends = np.cumsum(lengths).tolist()
    return 0.3 * worths, [
        " ".join(words[end - length : end]) for end, length in zip(ends, lengths.tolist(), strict=True)
    ]


@cache
def _word_frequencies() -> Floats:
    """The share of words that are of each rank or a lower one."""
    rank = np.arange(1, _WORDS + 1, dtype=np.float64)
    frequency = (rank + _SHIFT) ** -_EXPONENT
    frequency[_KERNEL:] = frequency[_KERNEL - 1] * (rank[_KERNEL:] / _KERNEL) ** -_EXPONENT_BEYOND
    shares = np.cumsum(frequency)
    return np.asarray(shares / shares[-1])


@cache
def _word_worths() -> Floats:
    """What each word is worth, the same in every film."""
    return np.random.default_rng(1).normal(size=_WORDS)


def _word(rank: int) -> str:
    """A word that can be spoken, of its own for each rank from 0, the shorter the more frequent it is."""
    word = ""
    rank += 1
    while rank:
        rank, place = divmod(rank - 1, len(_SYLLABLES))
        word += _SYLLABLES[place]
    return word


def _genres(count: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Which genres each film has, without repetition; shape (films, genres)."""
    # The largest of logarithms with Gumbel's noise are a draw without replacement.
    order = np.argsort(-np.log(_uneven(len(GENRES), 0.6)) - rng.gumbel(size=(count, len(GENRES))), axis=1)
    places = np.argsort(order, axis=1)
    return np.asarray(places < rng.choice(len(_GENRES_OF_FILM), count, p=_GENRES_OF_FILM)[:, np.newaxis])


def _uneven(count: int, exponent: float) -> Floats:
    """Shares that fall with their place."""
    shares = np.arange(1, count + 1, dtype=np.float64) ** -exponent
    return np.asarray(shares / shares.sum())
