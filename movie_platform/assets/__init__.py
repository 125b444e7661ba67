"""The assets: what is made each day, from what, and what a person sees of it.

Thin: each one fetches its inputs, calls a library and attaches metadata. How a day is checked, stored and recorded
is the same for all of them and belongs to `daily`, `checks` and `io_managers`.
"""

from movie_platform.assets.collected import raw_movies, raw_upcoming_movies
from movie_platform.assets.model import champion_bundle, metrics, trained_bundle
from movie_platform.assets.outcomes import prediction_outcomes
from movie_platform.assets.predicted import predicted_ratings
from movie_platform.assets.preprocessed import preprocessed_movies, preprocessed_upcoming_movies

ASSETS = [
    raw_movies,
    raw_upcoming_movies,
    preprocessed_movies,
    preprocessed_upcoming_movies,
    trained_bundle,
    metrics,
    champion_bundle,
    predicted_ratings,
    prediction_outcomes,
]

UPSTREAM = {asset.key.path[-1]: [parent.path[-1] for parent in asset.dependency_keys] for asset in ASSETS}
"""The assets that each asset reads, in an order in which they can be made."""

__all__ = ["ASSETS", "UPSTREAM"]
