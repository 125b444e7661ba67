"""Where a model is strong and where it is weak: the figures of an evaluation for parts of its films.

What belongs here: which parts there are. What does not: the figures themselves
(``evaluation``) and how far they may be chance (``bootstrap``).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from movie_platform.rating_model.bootstrap import Estimate, rmse
from movie_platform.rating_model.evaluation import figures_of
from movie_platform.rating_model.fields import SITUATIONS, Situation
from movie_platform.rating_model.measured import MIN_FILMS_OF_SLICE, OTHERS, UNKNOWN

__all__ = ["DIMENSIONS", "MANY_VOTES", "MIN_FILMS_OF_SLICE", "OTHERS", "UNKNOWN", "Slice", "slice_table", "slices"]

DIMENSIONS: Final = ("votes", "year", "language", "genre")
"""What the films are divided by."""

Mask = npt.NDArray[np.bool_]

MANY_VOTES: Final = 50
"""The mean of so many votes deviates by less than 0.3 points: what remains is the model's own error."""


@dataclass(frozen=True)
class Slice:
    """The figures of some of the films in one situation.

    ``dimension`` is what the films were divided by: votes, year, language or genre. ``figures`` are those of
    ``evaluation.figures``, and ``rmse`` is the same RMSE with its interval.
    """

    dimension: str
    name: str
    situation: Situation
    films: int
    figures: Mapping[str, float]
    rmse: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Return the slice as plain JSON values, not rounded."""
        return {
            "dimension": self.dimension,
            "name": self.name,
            "situation": self.situation,
            "films": self.films,
            "figures": dict(self.figures),
            "rmse": self.rmse.to_dict(),
        }


def slices(predictions: pd.DataFrame, films: pd.DataFrame) -> list[Slice]:
    """Return the figures by votes, release year, language and genre, both situations of a slice one after the other.

    ``predictions`` is an ``Evaluation``'s table, and ``films`` (``id``, ``genres``, ``original_language``) tells what
    it leaves out; films that are only there are ignored. A film counts in each of its genres. Years are in order,
    languages and genres begin with those of most films. Slices of fewer than MIN_FILMS_OF_SLICE films are put
    together as OTHERS, each film once, the last of its dimension; a film without language or genre is UNKNOWN there.
    Raises ValueError when ``films`` lacks a film of ``predictions``.
    """
    if missing := set(predictions["id"]) - set(films["id"]):
        raise ValueError(f"films: {len(missing)} of the predicted films are not there, {min(missing)} among them")
    known = films.drop_duplicates("id").set_index("id").loc[predictions["id"]]
    dimensions = {
        "votes": [[_votes(count)] for count in predictions["vote_count"]],
        "year": [[str(day.year)] for day in predictions["release_date"]],
        "language": [[code or UNKNOWN] for code in known["original_language"]],
        "genre": [list(names) or [UNKNOWN] for names in known["genres"]],
    }
    return [
        _measured(dimension, name, situation, predictions[of_slice])
        for dimension, names in dimensions.items()
        for name, of_slice in _parts(names, by_name=dimension in {"votes", "year"})
        for situation in SITUATIONS
    ]


def slice_table(found: Iterable[Slice]) -> pd.DataFrame:
    """Return a row for each slice: dimension, name, situation, films, rmse, low, high, bias, interval_coverage.

    Low and high are those of the RMSE.
    """
    rows = [
        (
            one.dimension,
            one.name,
            one.situation,
            one.films,
            one.rmse.value,
            one.rmse.low,
            one.rmse.high,
            one.figures["bias"],
            one.figures["interval_coverage"],
        )
        for one in found
    ]
    columns = ["dimension", "name", "situation", "films", "rmse", "low", "high", "bias", "interval_coverage"]
    return pd.DataFrame(rows, columns=columns)


def _votes(count: int) -> str:
    return f"at least {MANY_VOTES}" if count >= MANY_VOTES else f"fewer than {MANY_VOTES}"


def _parts(names: list[list[str]], *, by_name: bool) -> Iterator[tuple[str, Mask]]:
    """Yield the name of each part that is large enough and which films are in it, then the others."""
    masks = {
        name: np.array([name in of_film for of_film in names], dtype=np.bool_)
        for name in sorted({name for of_film in names for name in of_film})
    }
    order = masks if by_name else sorted(masks, key=lambda name: (-masks[name].sum(), name))
    for name in order:
        if masks[name].sum() >= MIN_FILMS_OF_SLICE:
            yield name, masks[name]
    small = [mask for mask in masks.values() if mask.sum() < MIN_FILMS_OF_SLICE]
    if small:
        yield OTHERS, np.logical_or.reduce(small)


def _measured(dimension: str, name: str, situation: Situation, films: pd.DataFrame) -> Slice:
    return Slice(
        dimension=dimension,
        name=name,
        situation=situation,
        films=len(films),
        figures=figures_of(films, situation),
        rmse=rmse(films[f"{situation}_prediction"] - films["actual"]),
    )
