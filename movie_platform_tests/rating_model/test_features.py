"""Every feature of a model says why it is known before release."""

from datetime import date

import numpy as np
import pytest

from movie_platform.rating_model.features import FAMILIES, FEATURES, FeatureGroup, feature_groups, feature_of
from movie_platform.rating_model.fields import Film
from movie_platform.rating_model.model import RatingModel


def test_every_feature_of_a_trained_model_is_described(model: RatingModel):
    """Whoever adds a feature to the encoder adds to features.py why a film that nobody has seen can have it."""
    encoder = model.encoder
    of_families = {f"genre {genre}" for genre in encoder.genres} | {f"language {code}" for code in encoder.languages}
    # Not by their first word alone: a new feature that begins with "genre" is no genre.
    assert set(encoder.feature_names) - of_families <= set(FEATURES)
    assert {name.partition(" ")[0] for name in of_families} == set(FAMILIES)


def test_no_description_is_of_a_feature_that_does_not_exist(model: RatingModel):
    assert set(FEATURES) <= set(model.encoder.feature_names)


def test_the_features_that_are_withheld_are_those_that_an_unreleased_film_lacks(model: RatingModel):
    """By what the encoder does: only they differ between the two situations."""
    film = Film(
        title="Snow",
        overview="A text.",
        release_date=date(2026, 1, 5),
        genres=["Drama"],
        original_language="en",
        popularity=5.0,
        vote_count=100,
    )
    names = model.encoder.feature_names
    before, after = np.zeros(len(names)), np.zeros(len(names))
    model.encoder.encode_one(film, released=False, out=before)
    model.encoder.encode_one(film, released=True, out=after)
    differs = (before != after) & ~(np.isnan(before) & np.isnan(after))
    differing = {name for name, differ in zip(names, differs, strict=True) if differ}
    assert differing == {name for name in names if feature_of(name).withheld} != set()


def test_a_feature_of_a_family_is_described_by_it():
    assert feature_of("genre Science Fiction") == FAMILIES["genre"]
    assert feature_of("language en") == FAMILIES["language"]


def test_a_feature_that_nobody_described_is_named():
    with pytest.raises(KeyError, match=r"box office: .* add it to rating_model/features.py"):
        feature_of("box office")


def test_families_are_one_line_where_their_first_feature_is():
    groups = feature_groups(["votes", "genre Drama", "number of genres", "genre War", "box office"])
    assert groups == [
        FeatureGroup("votes", 1, FEATURES["votes"]),
        FeatureGroup("genre", 2, FAMILIES["genre"]),
        FeatureGroup("number of genres", 1, FEATURES["number of genres"]),
        FeatureGroup("box office", 1, None),
    ]
