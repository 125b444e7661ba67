"""The figures of a day as they are read back: what ``metrics/<day>.json`` and ``prediction_outcomes/<day>.json`` say.

What belongs here: the parts of these documents that are shown to people, checked, and what their names mean. What does
not: measuring (``evaluation``, ``bootstrap``, ``slices``, ``outcomes``), and putting figures into words (``card``).

A document of an earlier version lacks what was not measured then. Neither pandas nor SciPy is imported, so that a
service can read them.
"""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeFloat, model_validator

from movie_platform.rating_model.fields import Situation

__all__ = [
    "MIN_FILMS_OF_SLICE",
    "OTHERS",
    "UNKNOWN",
    "AgeFigures",
    "Bootstrap",
    "BothSituations",
    "Estimated",
    "Figures",
    "HoldOut",
    "JudgedForecasts",
    "MeasuredDay",
    "MeasuredInDetail",
    "MeasuredSlice",
    "MonthFigures",
    "SituationFigures",
]

MIN_FILMS_OF_SLICE: Final = 25
"""Fewer films are not told apart: the interval of their RMSE would be wider than any difference between slices."""

OTHERS: Final = "others"
"""The slice of the films whose own slices would be too small."""

UNKNOWN: Final = "unknown"
"""The slice of the films without a language, or without a genre."""

_MOST_SLICES: Final = 1_000
_MOST_MONTHS: Final = 200
_LONGEST: Final = 300

Error = Annotated[NonNegativeFloat, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=_LONGEST)]


class _Document(BaseModel):
    """A part of a document. What is not named is left out, above all the predictions of single films."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Figures(_Document):
    """How far off something was, in rating points. None is not defined: a mean has no interval."""

    rmse: Error
    mae: Error
    bias: FiniteFloat | None = None
    r2: FiniteFloat | None = None
    spearman: FiniteFloat | None = None
    interval_coverage: Share | None = None
    interval_width: Error | None = None


class SituationFigures(_Document):
    """The model beside the two means that it must beat."""

    model: Figures
    genre_mean: Figures
    global_mean: Figures


class BothSituations(_Document):
    """The figures of either situation."""

    unreleased: SituationFigures
    released: SituationFigures

    def of(self, situation: Situation) -> SituationFigures:
        """Return the figures of a situation."""
        return self.released if situation == "released" else self.unreleased


class HoldOut(_Document):
    """The films that a day was measured on: released on or after `start` and before `until`."""

    start: date
    until: date
    films: int = Field(ge=1)


class MeasuredDay(_Document):
    """How good the bundle of one day was on films that it had not seen."""

    partition: date
    bundle_sha256: str
    synthetic: bool
    holdout: HoldOut
    figures: BothSituations


class Estimated(_Document):
    """A figure, and the interval of what other films like those measured would have given."""

    value: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


class _Rmse(_Document):
    model: Estimated
    genre_mean: Estimated
    global_mean: Estimated


class _RmseOfBoth(_Document):
    unreleased: _Rmse
    released: _Rmse


class _Difference(_Document):
    genre_mean: Estimated
    global_mean: Estimated


class _DifferenceOfBoth(_Document):
    unreleased: _Difference
    released: _Difference


class Bootstrap(_Document):
    """How far the figures may be chance: of each RMSE, and of the model's minus each baseline's on the same films."""

    level: float = Field(gt=0, lt=1)
    rmse: _RmseOfBoth
    difference: _DifferenceOfBoth

    def rmse_of(self, situation: Situation) -> _Rmse:
        """Return the RMSE of a situation, of the model and of the baselines."""
        return self.rmse.released if situation == "released" else self.rmse.unreleased

    def difference_of(self, situation: Situation) -> _Difference:
        """Return the model's RMSE minus those of the baselines in a situation; below 0, the model is better."""
        return self.difference.released if situation == "released" else self.difference.unreleased


class MeasuredSlice(_Document):
    """The figures of some films of the hold-out. `dimension` is what it was divided by, like language."""

    dimension: Text
    name: Text
    situation: Situation
    films: int = Field(ge=1)
    figures: Figures
    rmse: Estimated


class MeasuredInDetail(MeasuredDay):
    """A day with how far its figures may be chance, and those of parts; None in documents of an earlier version."""

    bootstrap: Bootstrap | None = None
    slices: tuple[MeasuredSlice, ...] | None = Field(default=None, max_length=_MOST_SLICES)


class AgeFigures(_Document):
    """How far off forecasts were, in rating points; nothing but 0 films where there was none to judge."""

    films: int = Field(ge=0)
    rmse: Error | None = None
    mae: Error | None = None
    bias: FiniteFloat | None = None
    interval_coverage: Share | None = None


class MonthFigures(AgeFigures):
    """The forecasts of one age for the films released in one month."""

    month: str = Field(pattern=r"^\d{4}-\d{2}$")
    days_before: int = Field(ge=0)


class JudgedForecasts(_Document):
    """What became of the predictions of films that are rated by a day. `figures` is by days before the release."""

    partition: date
    synthetic: bool
    min_votes: int = Field(ge=1)
    level: float = Field(gt=0, lt=1)
    figures: Mapping[int, AgeFigures] = Field(max_length=20)
    by_month: tuple[MonthFigures, ...] = Field(max_length=_MOST_MONTHS)
    left_out: Mapping[Text, int] = Field(max_length=100)
    expected: Annotated[str, Field(max_length=1_000)] | None = None
    """From when on there can be outcomes, as long as there is none."""
