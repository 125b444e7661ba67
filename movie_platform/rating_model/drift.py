"""Whether the films that a model is asked about are like those that it last learned from.

What belongs here: how features and predictions are distributed, and how far apart two distributions are. What does
not: which films are compared and when somebody is warned (the check ``drift`` of ``predicted_ratings``).

The measure is the population stability index, ``sum((now - then) * ln(now / then))`` over the shares of bins (Siddiqi
2006, "Credit Risk Scorecards", section 9): 0 for equal shares, below 0.1 usually called stable, above 0.25 a shift.
Half a film is added to each bin of both sides, so that an empty bin has a logarithm. Without any shift, the index is
about chi-square distributed with one degree of freedom less than bins, times ``1 / films then + 1 / films now``
(Yurdakul 2018, "Statistical Properties of Population Stability Index"), so with few films it is large by chance alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Final, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

__all__ = ["LEFT_OUT", "PREDICTION", "Distribution", "Profile", "Shift"]

Floats = npt.NDArray[np.float64]

PREDICTION: Final = "prediction"
"""The name under which the predictions are compared."""

LEFT_OUT: Final = frozenset(
    {
        # Later films are always newer, and a window of films need not hold every season.
        "release year",
        "release time",
        "release month",
        "day of the year",
        # Withheld from films that are asked about as unreleased.
        "votes",
        "popularity",
    }
)
"""Features that would differ without anything having changed."""

_MOST_BINS: Final = 10
_MOST_FEATURES: Final = 2_000
_SMOOTHING: Final = 0.5

Count = Annotated[int, Field(ge=0)]


class Distribution(BaseModel):
    """How many films have which values of one feature.

    ``counts`` has the films up to the first edge, then those above an edge and up to the next one, those above the
    last edge, and those where the value is missing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=200)
    edges: tuple[FiniteFloat, ...] = Field(max_length=_MOST_BINS - 1)
    counts: tuple[Count, ...] = Field(min_length=2, max_length=_MOST_BINS + 1)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if any(later <= earlier for earlier, later in pairwise(self.edges)):
            raise ValueError("edges: not in ascending order")
        if len(self.counts) != len(self.edges) + 2:
            raise ValueError("counts: one for each bin between the edges and one for missing values are needed")
        return self

    @classmethod
    def of(cls, name: str, values: Floats) -> Self:
        """Return the distribution of the values, NaN where one is missing, over bins that follow from them."""
        edges = _edges(values)
        return cls(name=name, edges=edges, counts=_counts(values, edges))

    def shift(self, values: Floats) -> "Shift":
        """Return how other values are distributed over the same bins."""
        then, now = self.counts, _counts(values, self.edges)
        smoothed_then, smoothed_now = (
            (np.array(counts) + _SMOOTHING) / (sum(counts) + _SMOOTHING * len(counts)) for counts in (then, now)
        )
        psi = float(np.sum((smoothed_now - smoothed_then) * np.log(smoothed_now / smoothed_then)))
        return Shift(
            psi=psi,
            bins=_labels(self.edges),
            then=tuple(count / sum(then) for count in then),
            now=tuple(count / sum(now) for count in now),
        )


@dataclass(frozen=True)
class Shift:
    """How far the distribution of one feature has moved: each bin's share of the films, then and now."""

    psi: float
    """The population stability index, at least 0."""
    bins: tuple[str, ...]
    then: tuple[float, ...]
    now: tuple[float, ...]


class Profile(BaseModel):
    """How the films that a model last learned from are distributed: their features, and its predictions for them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    films: int = Field(ge=1)
    features: tuple[Distribution, ...] = Field(max_length=_MOST_FEATURES)
    predictions: Distribution

    @model_validator(mode="after")
    def _of_the_same_films(self) -> Self:
        if any(sum(each.counts) != self.films for each in (*self.features, self.predictions)):
            raise ValueError("counts: those of each feature must sum up to the number of films")
        if len({feature.name for feature in self.features}) != len(self.features):
            raise ValueError("features: a name appears more than once")
        return self

    @classmethod
    def of(cls, names: Sequence[str], matrix: Floats, predictions: Floats) -> Self:
        """Return the profile of films: ``matrix`` has shape (films, len(names)), NaN where a value is missing.

        Features named in ``LEFT_OUT`` are not kept. Raises ValueError, naming the feature, for an infinite value, and
        for arrays without films or of other shapes.
        """
        columns = _columns(names, matrix, predictions)
        return cls(
            films=len(predictions),
            predictions=Distribution.of(PREDICTION, columns.pop(PREDICTION)),
            features=tuple(Distribution.of(name, values) for name, values in columns.items()),
        )

    def compare(self, names: Sequence[str], matrix: Floats, predictions: Floats) -> dict[str, Shift]:
        """Return how far other films' features, and the predictions for them, have moved, the largest index first.

        Takes and raises what ``of`` does. Features that are not known on both sides are left out: encoders that were
        fitted on different films differ in the rare categories that they know.
        """
        columns = _columns(names, matrix, predictions)
        shifts = {
            known.name: known.shift(columns[known.name])
            for known in (self.predictions, *self.features)
            if known.name in columns
        }
        return dict(sorted(shifts.items(), key=lambda item: (-item[1].psi, item[0])))


def _columns(names: Sequence[str], matrix: Floats, predictions: Floats) -> dict[str, Floats]:
    """The compared features and the predictions by name, checked."""
    films = len(predictions)
    if films == 0:
        raise ValueError("predictions: there are no films, so nothing is distributed; leave the comparison out")
    if matrix.shape != (films, len(names)) or predictions.shape != (films,):
        raise ValueError(
            f"matrix: its shape is {matrix.shape}; {films} predictions and {len(names)} names need "
            f"{(films, len(names))}"
        )
    if len({*names, PREDICTION}) != len(names) + 1:
        raise ValueError(f"names: a feature is named twice, or {PREDICTION!r}, which is kept for the predictions")
    columns = {name: matrix[:, number] for number, name in enumerate(names) if name not in LEFT_OUT}
    columns[PREDICTION] = predictions
    for name, values in columns.items():
        if np.isinf(values).any():
            raise ValueError(f"{name}: an infinite value, which belongs to no bin; NaN is the missing value")
    return columns


def _edges(values: Floats) -> tuple[float, ...]:
    """At most nine edges: between the values where they are few, else the deciles that differ."""
    values = values + 0.0  # makes 0 of -0, which would be other bytes
    known = np.unique(values[~np.isnan(values)])
    if not len(known):
        return ()
    if np.isin(known, (0.0, 1.0)).all():
        return (0.0,)  # in the films of a profile, a category may be absent or in every one
    if len(known) == 1:
        return float(np.nextafter(known[0], -np.inf)), float(known[0])
    if len(known) <= _MOST_BINS:
        return tuple(known[:-1].tolist())
    tenths = np.arange(1, _MOST_BINS) / _MOST_BINS
    # A value that is there, so that ties fall on the same side on every machine.
    deciles = np.nanquantile(values, tenths, method="inverted_cdf")
    return tuple(np.unique(deciles).tolist())


def _counts(values: Floats, edges: Sequence[float]) -> tuple[int, ...]:
    missing = np.isnan(values)
    bins = np.searchsorted(np.asarray(edges, dtype=np.float64), values[~missing], side="left")
    return (*np.bincount(bins, minlength=len(edges) + 1).tolist(), int(missing.sum()))


def _labels(edges: Sequence[float]) -> tuple[str, ...]:
    if edges == (0.0,):
        return "no", "yes", "missing"
    texts = [f"{edge:.4g}" for edge in edges]
    between = [later if earlier == later else f"{earlier} to {later}" for earlier, later in pairwise(texts)]
    return (*([f"up to {texts[0]}", *between, f"above {texts[-1]}"] if texts else ["any"]), "missing")
