"""The hyperparameters of a training, in one typed object.

What belongs here: every number that changes what is learned. What does not: how a training is executed (the
number of threads is an argument of the call, since the bytes of a bundle must not depend on it), and facts of
the problem (the number of votes from which a film counts as released is in ``films``).
"""

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["MOST_SERIES_FILMS", "MOST_TERMS", "TrainingConfig"]

MOST_TERMS: Final = 50_000
MOST_SERIES_FILMS: Final = 100_000
"""With more of either, a bundle would be larger than its readers take."""

Probability = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class TrainingConfig(BaseModel):
    """Every hyperparameter of a training; the object that is passed to ``train`` is the one a bundle records.

    The defaults were chosen by training on films released until 2013, 2015 and 2017 and asking about those of the two
    years after each; the half-life and the averaging by the films after 2019, too (docs/model.md).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", title="Training configuration")

    seed: int = Field(default=1, ge=0, lt=2**31, description="The one seed: folds, masks and trees follow from it.")

    # Trees (LightGBM). Random thresholds (extra_trees) were better on later films than searched ones.
    trees: Count = Field(default=130, description="Trees of each model.")
    averaged_models: int = Field(
        default=3, ge=1, le=20, description="How many models, of other seeds, are averaged for each situation."
    )
    learning_rate: Positive = Field(default=0.12, description="How much of what it finds each tree adds.")
    leaves: int = Field(default=31, ge=2, le=1024, description="Leaves of a tree, at most.")
    min_rows_in_leaf: Count = Field(default=40, description="Rows in a leaf, at least; a film has two.")
    feature_share: Share = Field(default=0.5, description="Share of the features that each tree may use.")
    row_share: Share = Field(default=0.8, description="Share of the rows that each tree sees.")
    leaf_l2: float = Field(default=5.0, ge=0, allow_inf_nan=False, description="L2 penalty on the values of leaves.")

    # Text: TF-IDF of title and overview into a ridge regression, stacked out of fold.
    min_films_with_term: Count = Field(default=4, description="Words of fewer films are not known.")
    max_terms: int = Field(default=30_000, ge=1, le=MOST_TERMS, description="How many words, the most frequent ones.")
    ridge_alpha: Positive = Field(default=5.0, description="L2 penalty of the regression on words.")
    folds: int = Field(default=5, ge=2, description="Parts of the films that are scored without themselves.")

    # Earlier films of the same series.
    max_series_films: int = Field(
        default=25_000,
        ge=0,
        le=MOST_SERIES_FILMS,
        description="How many films, those of most votes, later ones of their series are compared with.",
    )

    min_films_with_category: Count = Field(
        default=20, description="Genres and languages of fewer films are not told apart."
    )

    # Weights: a film with n votes counts 1 / (1 + (vote_noise / model_error)^2 / n), and half of that for each
    # half-life by which it is older than the newest.
    vote_noise: Positive = Field(default=2.0, description="Standard deviation of one vote, in rating points.")
    model_error: Positive = Field(default=0.67, description="What a perfectly voted film's rating deviates by.")

    recency_half_life: float | None = Field(
        default=15.0,
        ge=0.5,
        allow_inf_nan=False,
        description="Years after which a film counts half as much. None: films of all times count alike.",
    )

    # Missing fields. Each film is trained as it is and once more, with masked_weight, with fields withheld.
    masked_weight: Share = Field(default=0.5, description="How much a film counts the second time.")
    mask_genres: Probability = Field(default=0.1, description="Share of the films whose genres are withheld.")
    mask_language: Probability = Field(default=0.1, description="Share whose language is withheld.")
    mask_overview: Probability = Field(default=0.1, description="Share whose overview is withheld.")
    mask_exact_date: Probability = Field(default=0.1, description="Share of which only the year stays known.")
    mask_year: Probability = Field(default=0.03, description="Share of which neither date nor year is known.")
    mask_popularity: Probability = Field(default=0.1, description="Share whose popularity is withheld.")
    mask_all: Probability = Field(default=0.03, description="Share of which title and year are all that is known.")

    # Intervals: calibrated on the newest films of the training set, see the module ``intervals``.
    interval_level: float = Field(
        default=0.8,
        gt=0,
        lt=1,
        description="Share of the ratings that intervals hold; 0.8 is what pages and outcomes say.",
    )
    calibration_months: Count = Field(default=24, description="The films of so many last months calibrate them.")
    calibration_min_films: Count = Field(
        default=300, description="So many films at least; if those are fewer, older ones do, too."
    )
