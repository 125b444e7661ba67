"""What a model must beat: means, the design that this one replaces, and LightGBM without further thought.

Each is fitted on the films trained on and asked about the others, as unreleased and as released. The two with trees use
LightGBM's default parameters, on every film alike.
"""

from collections.abc import Callable
from typing import Final

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pandas as pd

from movie_platform.rating_model.evaluation import BASELINES, mean_baselines
from movie_platform.rating_model.films import SITUATIONS, Situation
from movie_platform.tmdb.reference import GENRES, LANGUAGES

__all__ = ["ALL_BASELINES", "EARLIER_DESIGN", "PLAIN_LIGHTGBM", "baseline_predictions"]

Floats = npt.NDArray[np.float64]

EARLIER_DESIGN: Final = "earlier_design"
PLAIN_LIGHTGBM: Final = "plain_lightgbm"
ALL_BASELINES: Final = (*BASELINES, EARLIER_DESIGN, PLAIN_LIGHTGBM)

_LANGUAGES: Final = sorted(LANGUAGES)


def baseline_predictions(
    before: pd.DataFrame, holdout: pd.DataFrame, *, threads: int = 1
) -> dict[str, dict[Situation, Floats]]:
    """Return what each of ALL_BASELINES predicts of the hold-out's films in each situation.

    ``before`` are the films to fit on; both are tables as ``latest_films`` gives them. The same films give the same
    predictions. Only the earlier design knows votes, so only for it do the situations differ.
    """
    features: dict[str, Callable[[pd.DataFrame, Situation], pd.DataFrame]] = {
        EARLIER_DESIGN: _earlier_design,
        PLAIN_LIGHTGBM: _plain,
    }
    means = mean_baselines(before, holdout)
    return {name: dict.fromkeys(SITUATIONS, values) for name, values in means.items()} | {
        name: _lightgbm(before, holdout, features_of, threads=threads) for name, features_of in features.items()
    }


def _lightgbm(
    before: pd.DataFrame,
    holdout: pd.DataFrame,
    features_of: Callable[[pd.DataFrame, Situation], pd.DataFrame],
    *,
    threads: int,
) -> dict[Situation, Floats]:
    # Every film that is trained on has votes, and neither of the designs asks what it would be without.
    data = lgb.Dataset(features_of(before, "released"), before["vote_average"], params={"verbosity": -1})
    parameters = {"seed": 1, "deterministic": True, "force_col_wise": True, "num_threads": threads, "verbosity": -1}
    booster = lgb.train(parameters, data)
    return {
        situation: np.asarray(booster.predict(features_of(holdout, situation)), dtype=np.float64)
        for situation in SITUATIONS
    }


def _earlier_design(films: pd.DataFrame, situation: Situation) -> pd.DataFrame:
    """Year, month, popularity, votes, genres and language; a film before its release has no votes, so it says 0."""
    known = situation == "released"
    return _genres_and_language(films).assign(
        year=films["release_date"].dt.year,
        month=films["release_date"].dt.month,
        popularity=films["popularity"].fillna(0) if known else 0.0,
        vote_count=films["vote_count"] if known else 0,
    )


def _plain(films: pd.DataFrame, situation: Situation) -> pd.DataFrame:  # noqa: ARG001  the same before and after release
    """Genres, language, release date, and the lengths of title and overview in characters."""
    return _genres_and_language(films).assign(
        year=films["release_date"].dt.year,
        day_of_year=films["release_date"].dt.day_of_year,
        title_length=films["title"].str.len(),
        overview_length=films["overview"].str.len(),
    )


def _genres_and_language(films: pd.DataFrame) -> pd.DataFrame:
    has_genre = {
        f"genre {number}": [genre in names for names in films["genres"]] for number, genre in enumerate(GENRES.values())
    }
    language = pd.Categorical(films["original_language"], categories=_LANGUAGES)
    return pd.DataFrame({**has_genre, "language": language}, index=films.index)
