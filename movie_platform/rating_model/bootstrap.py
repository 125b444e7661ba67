"""How far a figure may be chance: intervals for an RMSE and for the difference of two.

What belongs here: resampling the films that were measured on. What does not: how much a model's figures vary with the
films that it was trained on, which needs other training runs.

The method is the percentile bootstrap (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", sections 6 and
13): the films are drawn again with replacement as many times as there are films, the figure is computed, and of 2,000
such figures the middle 95 % are the interval. Two models are compared on the same draws (paired), since what makes a
film hard makes it hard for both.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import stats

__all__ = ["LEVEL", "RESAMPLES", "Estimate", "rmse", "rmse_difference"]

Floats = npt.NDArray[np.float64]

LEVEL: Final = 0.95
RESAMPLES: Final = 2_000

_SEED: Final = 1
_AT_ONCE: Final = 25
"""Resamples held in memory together, which changes no figure: more are not faster."""


@dataclass(frozen=True)
class Estimate:
    """A figure of the measured films, and the 95 % interval of what other films like them would have given."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Return value, low and high as plain JSON values, not rounded."""
        return asdict(self)


def rmse(errors: npt.ArrayLike) -> Estimate:
    """Return the root mean square of the errors of films, in their unit.

    The same errors in the same order give the same interval. Raises ValueError when there is none, or when one is
    not a finite number.
    """
    return _estimate(_root_mean, _squares(errors, "errors"))


def rmse_difference(errors: npt.ArrayLike, others: npt.ArrayLike) -> Estimate:
    """Return the RMSE of ``errors`` minus that of ``others``: below 0, the first are smaller.

    Both are of the same films in the same order. An interval without 0 says that the difference is not chance. Raises
    ValueError as ``rmse`` does, and when the two differ in length.
    """
    first, second = _squares(errors, "errors"), _squares(others, "others")
    if len(first) != len(second):
        raise ValueError(f"others: {len(second)} films beside {len(first)}; give both errors of the same films")
    return _estimate(lambda a, b, axis: _root_mean(a, axis) - _root_mean(b, axis), first, second)


def _squares(errors: npt.ArrayLike, name: str) -> Floats:
    values = np.asarray(errors, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"{name}: give one number for each film, of at least one film")
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: every error must be a finite number; leave out the films that have none")
    return values**2


def _root_mean(squares: Floats, axis: int) -> Any:
    return np.sqrt(np.mean(squares, axis=axis))


def _estimate(statistic: Callable[..., Any], *squares: Floats) -> Estimate:
    value = float(statistic(*squares, axis=0))
    if len(squares[0]) == 1:  # every draw is the same, and SciPy refuses it
        return Estimate(value, value, value)
    interval = stats.bootstrap(
        squares,
        statistic,
        n_resamples=RESAMPLES,
        batch=_AT_ONCE,
        vectorized=True,
        paired=True,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(_SEED),
    ).confidence_interval
    return Estimate(value, float(interval.low), float(interval.high))
