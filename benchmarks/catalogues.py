"""Films for the measurements of models, from catalogue files, through the platform's own preprocessing.

What belongs here: reading a file, and counting what of it cannot be used. What does not: which of the films are
trained on or measured.
"""

import argparse
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from movie_platform.rating_model.fields import YEARS
from movie_platform.tmdb.catalogue import read_catalogue
from movie_platform.tmdb.films import to_films

__all__ = ["Catalogue", "existing_file", "read"]


@dataclass(frozen=True)
class Catalogue:
    """What a file has: ``films`` as ``to_films`` gives them, and of its items how many are refused, by reason."""

    path: Path
    items: int
    refused: Mapping[str, int]
    films: pd.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain JSON values."""
        return {
            "file": str(self.path),
            "items": self.items,
            "usable": len(self.films),
            "refused": dict(self.refused),
        }


def read(path: Path) -> Catalogue:
    """Return the films of a file with one TMDB item a line, gzip-compressed or not.

    Refused is what preprocessing refuses, and what has a year that no model takes. Of several items with an id the
    first usable one counts. Raises CatalogueFileError for a file that cannot be read, naming the line.
    """
    items = read_catalogue(path)
    made = to_films(items)
    possible = made.table["release_date"].dt.year.between(*YEARS)
    refused = Counter(refusal.reason for refusal in made.refused)
    if not possible.all():
        refused[f"release_date is outside {YEARS[0]}..{YEARS[1]}"] = int((~possible).sum())
    return Catalogue(
        path=path,
        items=len(items),
        refused=dict(refused.most_common()),
        films=made.table[possible].reset_index(drop=True),
    )


def existing_file(text: str) -> Path:
    """Return the path that a command line names. Raises ArgumentTypeError when there is no such file."""
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is not a file; give one with a TMDB item a line")
    return path
