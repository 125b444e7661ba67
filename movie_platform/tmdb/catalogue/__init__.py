"""The built-in catalogue: TMDB's shape and limits inside the process, over synthetic films or a file.

It stands in for the real API, so nothing here may be needed to talk to that one, and the client does not know
which of the two it talks to.
"""

from movie_platform.tmdb.catalogue.app import catalogue_app, catalogue_client
from movie_platform.tmdb.catalogue.faults import FAULTS, Faults, parse_faults, with_faults
from movie_platform.tmdb.catalogue.file import CatalogueFileError, read_catalogue
from movie_platform.tmdb.catalogue.synthetic import synthetic_films

__all__ = [
    "FAULTS",
    "CatalogueFileError",
    "Faults",
    "catalogue_app",
    "catalogue_client",
    "parse_faults",
    "read_catalogue",
    "synthetic_films",
    "with_faults",
]
