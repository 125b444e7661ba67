"""Prediction intervals with a stated coverage.

What belongs here: split conformal prediction and its state. What does not: choosing and fitting the model that is
calibrated (``training``).

The method is split conformal prediction with locally weighted residuals (Lei, G'Sell, Rinaldo, Tibshirani and
Wasserman 2018, "Distribution-free predictive inference for regression", sections 2.2 and 5.2), with the two tails
calibrated apart because ratings have a long lower one. Residuals of films that the model has not seen are divided by
a scale, their quantiles are taken, and an interval is the prediction plus those quantiles times the film's own scale::

    scale(film) = sqrt(model_variance + vote_variance / votes)

A released film's mean rating carries the noise of its votes, so more votes narrow its interval. An unreleased film's
scale is 1: nobody knows yet how many will vote.
"""

import math
from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeFloat, NonPositiveFloat

from movie_platform.rating_model.fields import Situation

__all__ = ["Interval", "Intervals"]

Floats = npt.NDArray[np.float64]


class Interval(BaseModel):
    """The interval of one situation: quantiles of scaled residuals, and what the scale is made of."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    lower: NonPositiveFloat
    upper: NonNegativeFloat
    model_variance: NonNegativeFloat
    vote_variance: NonNegativeFloat
    films: int = Field(ge=1, description="How many films it was calibrated on.")

    def bounds(self, predictions: Floats, votes: Floats) -> tuple[Floats, Floats]:
        """Return low and high around the predictions, not clipped; shapes (films,)."""
        scale = _scale(votes, self.model_variance, self.vote_variance)
        return predictions + self.lower * scale, predictions + self.upper * scale

    def bounds_of_one(self, prediction: float, votes: float) -> tuple[float, float]:
        """Like ``bounds``, for one film and to the same bit."""
        variance = self.model_variance
        if self.vote_variance != 0:
            variance += self.vote_variance / votes
        scale = math.sqrt(variance)
        return prediction + self.lower * scale, prediction + self.upper * scale

    @classmethod
    def calibrate(
        cls, residuals: Floats, votes: Floats, *, level: float, vote_noise: float, votes_are_known: bool
    ) -> Self:
        """Calibrate on residuals (actual minus predicted, rating points) of films that the model has not seen."""
        vote_variance = vote_noise**2 if votes_are_known else 0.0
        spread = float(np.mean(residuals**2))
        # What the votes' noise does not explain is the model's; never nothing, or the scale could vanish.
        model_variance = (
            max(spread - vote_variance * float(np.mean(1 / votes)), spread / 10) if votes_are_known else 1.0
        )
        scores = np.sort(residuals / _scale(votes, model_variance, vote_variance))
        # The ranks that give each tail at most its share for the next film, exchangeable with these.
        tail = (1 - level) / 2
        lower = max(math.floor((len(scores) + 1) * tail), 1) - 1
        upper = min(math.ceil((len(scores) + 1) * (1 - tail)), len(scores)) - 1
        return cls(
            lower=min(float(scores[lower]), 0.0),
            upper=max(float(scores[upper]), 0.0),
            model_variance=model_variance,
            vote_variance=vote_variance,
            films=len(scores),
        )


class Intervals(BaseModel):
    """The intervals of both situations."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    level: FiniteFloat = Field(gt=0, lt=1)
    unreleased: Interval
    released: Interval

    def of(self, situation: Situation) -> Interval:
        """Return the interval of a situation."""
        return self.released if situation == "released" else self.unreleased


def _scale(votes: Floats, model_variance: float, vote_variance: float) -> Floats:
    if vote_variance == 0:
        return np.full(len(votes), math.sqrt(model_variance))
    return np.sqrt(model_variance + vote_variance / votes)
