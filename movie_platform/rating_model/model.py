"""A trained model that predicts.

What belongs here: from films to predictions with intervals. What does not: training, and the file format
(``bundle``). Nothing here needs scikit-learn; pandas and LightGBM's package are imported when a table is predicted,
because they take seconds and a service that predicts one film at a time (``rows``) needs neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from movie_platform.rating_model.config import TrainingConfig
from movie_platform.rating_model.drift import Profile
from movie_platform.rating_model.encoder import Encoder
from movie_platform.rating_model.fields import MIN_VOTES, SITUATIONS, TOO_FEW_VOTES, Situation
from movie_platform.rating_model.intervals import Intervals
from movie_platform.rating_model.trees import check_text, split_text, tree_count

if TYPE_CHECKING:
    import lightgbm as lgb
    import pandas as pd

__all__ = ["HIGHEST_RATING", "RatingModel", "TrainedOn"]

HIGHEST_RATING = 10.0


class TrainedOn(BaseModel):
    """Which films a model has seen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    films: int = Field(ge=1)
    first_release_date: date
    last_release_date: date
    synthetic: bool

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.first_release_date > self.last_release_date:
            raise ValueError("first_release_date is after last_release_date")
        return self


@dataclass(frozen=True)
class RatingModel:
    """Predicts how films are rated, 0..10.

    The trees from ``first_released_tree`` on are those for released films, the ones before it for unreleased films;
    with 0, as in bundles of format 1, all trees are for both. ``profile`` is of the films that the intervals were
    calibrated on. Raises ValueError when made from a text that is not a model of the encoder's features.
    """

    model_text: str
    encoder: Encoder
    intervals: Intervals
    config: TrainingConfig
    trained_on: TrainedOn
    first_released_tree: int = 0
    profile: Profile | None = None

    def __post_init__(self) -> None:
        check_text(self.model_text, features=len(self.encoder.feature_names))
        if not 0 <= self.first_released_tree < tree_count(self.model_text):
            raise ValueError("first_released_tree: no tree is left for one of the situations")

    def text_of(self, situation: Situation) -> str:
        """Return the trees of a situation, as a canonical text."""
        return self._texts[situation]

    @cached_property
    def _texts(self) -> "dict[Situation, str]":
        if self.first_released_tree == 0:
            return dict.fromkeys(SITUATIONS, self.model_text)
        unreleased, released = split_text(self.model_text, self.first_released_tree)
        return {"unreleased": unreleased, "released": released}

    def predict(
        self,
        films: "pd.DataFrame",
        *,
        situation: "Situation | Sequence[Situation] | pd.Series | None" = None,
        threads: int = 1,
    ) -> "pd.DataFrame":
        """Return a row for each film: prediction, low and high (0..10, low <= prediction <= high), situation.

        ``films`` is a table as ``films`` describes it; the index is kept. ``situation`` is one for all films or
        one for each, and by default follows from the votes (``situation_of``). Raises ValueError for a table that
        ``complete`` refuses, and when a film without MIN_VOTES votes is asked about as released.
        """
        import pandas as pd  # noqa: PLC0415

        from movie_platform.rating_model.films import complete  # noqa: PLC0415

        table = complete(films)
        situations = _situations(table, situation)
        released = situations == "released"
        # Clipped before the interval is drawn around it, so that it always lies inside.
        ratings = np.clip(
            self._raw(self.encoder.encode(table, released=released), released, threads), 0.0, HIGHEST_RATING
        )
        votes = np.where(released, table["vote_count"].to_numpy(dtype=np.float64), 1.0)
        low_unreleased, high_unreleased = self.intervals.unreleased.bounds(ratings, votes)
        low_released, high_released = self.intervals.released.bounds(ratings, votes)
        return pd.DataFrame(
            {
                "prediction": ratings,
                "low": np.clip(np.where(released, low_released, low_unreleased), 0.0, HIGHEST_RATING),
                "high": np.clip(np.where(released, high_released, high_unreleased), 0.0, HIGHEST_RATING),
                "situation": pd.Series(situations, index=films.index, dtype=object),
            },
            index=films.index,
        )

    def importance(self) -> dict[str, float]:
        """Return each feature's total gain in the trees, the largest first, ties by name."""
        boosters = {id(booster): booster for booster in self._boosters.values()}.values()
        gains = np.sum([booster.feature_importance("gain") for booster in boosters], axis=0).tolist()
        named = zip(self.encoder.feature_names, gains, strict=True)
        return dict(sorted(named, key=lambda item: (-item[1], item[0])))

    def _raw(
        self, features: npt.NDArray[np.float64], released: npt.NDArray[np.bool_], threads: int
    ) -> npt.NDArray[np.float64]:
        raw = np.empty(len(features))
        for situation in SITUATIONS:
            asked = released == (situation == "released")
            if asked.any():  # LightGBM refuses an empty table
                predicted = self._boosters[situation].predict(features[asked], num_threads=threads)
                raw[asked] = np.asarray(predicted, dtype=np.float64)
        return raw

    @cached_property
    def _boosters(self) -> "dict[Situation, lgb.Booster]":
        import lightgbm as lgb  # noqa: PLC0415

        boosters = {text: lgb.Booster(model_str=text) for text in set(self._texts.values())}
        return {situation: boosters[text] for situation, text in self._texts.items()}


def _situations(
    table: "pd.DataFrame", situation: "Situation | Sequence[Situation] | pd.Series | None"
) -> npt.NDArray[np.object_]:
    if situation is None:
        from movie_platform.rating_model.films import situation_of  # noqa: PLC0415

        return situation_of(table).to_numpy(dtype=object)
    if isinstance(situation, str):
        situations = np.full(len(table), situation, dtype=object)
    else:
        situations = np.array(list(situation), dtype=object)
    if len(situations) != len(table) or not np.isin(situations, SITUATIONS).all():
        raise ValueError(f"situation: give one of {', '.join(SITUATIONS)}, or one of them for each film")
    if ((situations == "released") & ~(table["vote_count"] >= MIN_VOTES).to_numpy()).any():
        raise ValueError(TOO_FEW_VOTES)
    return situations
