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
from movie_platform.rating_model.encoder import Encoder
from movie_platform.rating_model.fields import MIN_VOTES, SITUATIONS, TOO_FEW_VOTES, Situation
from movie_platform.rating_model.intervals import Intervals
from movie_platform.rating_model.trees import check_text

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

    Raises ValueError when made from a text that is not a model of the encoder's features.
    """

    model_text: str
    encoder: Encoder
    intervals: Intervals
    config: TrainingConfig
    trained_on: TrainedOn

    def __post_init__(self) -> None:
        check_text(self.model_text, features=len(self.encoder.feature_names))

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
        ratings = np.clip(self._raw(self.encoder.encode(table, released=released), threads), 0.0, HIGHEST_RATING)
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
        gains = self._booster.feature_importance("gain").tolist()
        named = zip(self.encoder.feature_names, gains, strict=True)
        return dict(sorted(named, key=lambda item: (-item[1], item[0])))

    def _raw(self, features: npt.NDArray[np.float64], threads: int) -> npt.NDArray[np.float64]:
        if not len(features):  # LightGBM refuses an empty table
            return np.empty(0)
        return np.asarray(self._booster.predict(features, num_threads=threads), dtype=np.float64)

    @cached_property
    def _booster(self) -> "lgb.Booster":
        import lightgbm as lgb  # noqa: PLC0415

        return lgb.Booster(model_str=self.model_text)


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
