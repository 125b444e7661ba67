"""Invented films with which a loaded bundle shows that it still predicts what it did when it was made.

What belongs here: the films. They are invented because a bundle must not keep texts of TMDB. What does not:
comparing (``bundle``). A bundle records its own probes, so that changing these leaves older bundles valid.
"""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from movie_platform.rating_model.fields import Film, Situation

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PROBE_FILMS", "Probe", "ProbeFilm", "probe_table"]


class ProbeFilm(BaseModel):
    """The fields of one film, in the names and with the missing values of ``films``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field(min_length=1)
    overview: str = ""
    release_date: date | None = None
    release_year: int | None = None
    genres: tuple[str, ...] = ()
    original_language: str = ""
    popularity: FiniteFloat | None = None
    vote_count: int | None = None

    def as_film(self) -> Film:
        """Return the film that a single prediction takes."""
        return Film(**{name: getattr(self, name) for name in type(self).model_fields})


class Probe(BaseModel):
    """A film and what a model predicted for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    film: ProbeFilm
    situation: Situation
    prediction: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat


PROBE_FILMS: Final = (
    ProbeFilm(
        title="The Lighthouse at Kettle Point",
        overview="After a storm two sisters, who have not spoken for years, must keep their father's lamp burning.",
        release_date=date(2019, 10, 4),
        genres=("Drama", "Family"),
        original_language="en",
        popularity=31.5,
        vote_count=840,
    ),
    ProbeFilm(
        title="Midnight Butcher 3",
        overview="A group of friends spends the night in a house that should have stayed locked.",
        release_date=date(2027, 10, 29),
        genres=("Horror",),
        original_language="en",
    ),
    ProbeFilm(
        title="小さな灯り",
        overview="A boy and a talking fox travel through a magical forest to save their village.",
        release_date=date(2016, 7, 16),
        genres=("Animation", "Adventure", "Fantasy"),
        original_language="ja",
        popularity=12.25,
        vote_count=95,
    ),
    ProbeFilm(
        title="L'Été des ombres",
        overview="À Paris, a young woman falls in love during the war; years later she tells the true story.",
        release_year=1962,
        genres=("Romance", "War"),
        original_language="fr",
        vote_count=17,
    ),
    ProbeFilm(title="Example Movie", release_year=2024, popularity=123.4, vote_count=560),
    ProbeFilm(title="Untitled Heist Project", release_year=2028),
    ProbeFilm(title="?"),
    ProbeFilm(
        title="Songs of the Salt Road",
        overview="A documentary about the musicians of the last caravans.",
        release_date=date(1999, 1, 1),
        genres=("Documentary", "A genre that nobody knows"),
        original_language="xx",
        popularity=0.6,
        vote_count=4,
    ),
)


def probe_table(films: Sequence[ProbeFilm]) -> "pd.DataFrame":
    """Return the films as a table that a model can be asked about."""
    # Here, because reading a bundle must not need it.
    import pandas as pd  # noqa: PLC0415

    table = pd.DataFrame([film.model_dump() for film in films], columns=list(ProbeFilm.model_fields))
    return table.assign(release_date=pd.to_datetime(table["release_date"]))
