"""Training: from a table of films to a model with calibrated intervals.

What belongs here: everything that learns, and the only use of scikit-learn. What does not: predicting (``model``)
and measuring (``evaluation``).

Each situation has trees of its own, learned from every film, with votes and popularity or without, and once more with
some of its fields withheld at random, so that every pattern of missing fields has been seen. The same arguments give
the same model, to the byte, whatever the number of threads.
"""

import math
from collections import Counter
from dataclasses import dataclass
from datetime import date

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it has no annotations

from movie_platform.rating_model.config import TrainingConfig
from movie_platform.rating_model.drift import Profile
from movie_platform.rating_model.encoder import Encoder
from movie_platform.rating_model.films import SITUATIONS, Situation, TooFewFilmsError, training_films
from movie_platform.rating_model.intervals import Interval, Intervals
from movie_platform.rating_model.model import HIGHEST_RATING, RatingModel, TrainedOn
from movie_platform.rating_model.series import MOST_VOTES, SeriesTable
from movie_platform.rating_model.text import TermMatrix, TextScorer, normalize, term_matrix, tokenize
from movie_platform.rating_model.trees import add_constant, canonical_text, join_texts, tree_count

__all__ = ["newest_films_start", "train"]

Floats = npt.NDArray[np.float64]

_DECIMALS = 7
"""Of the words' weights: more would make the bundle larger and nothing better."""


def train(films: pd.DataFrame, config: TrainingConfig, *, threads: int = 1) -> RatingModel:
    """Train on all the films, with intervals calibrated on the newest of them.

    ``films`` is a table as ``latest_films`` gives it, in any order. The intervals come from a model of the same
    config that has not seen the calibration films: those released in the last ``calibration_months`` of the table,
    further back until they are ``calibration_min_films``, but at most half of all. Raises TooFewFilmsError, or
    ValueError for a table that cannot be trained on (see ``films.training_films``).
    """
    table = training_films(films)
    start = _calibration_start(table["release_date"], config)
    is_new = (table["release_date"] >= start).to_numpy()
    if not is_new.any():
        raise TooFewFilmsError(
            "release_date: more than half of the films are of one day, so none are newer to calibrate on"
        )
    # One BLAS thread: the ridge's last bits would depend on how many share its sums.
    with threadpool_limits(limits=1, user_api="blas"):
        earlier = _fit(table[~is_new].reset_index(drop=True), config, threads=threads)
        intervals, profile, level = _calibrate(table[is_new], earlier, config, threads=threads)
        fitted = _fit(table, config, threads=threads)
    return RatingModel(
        model_text=join_texts([fitted.trees["unreleased"], add_constant(fitted.trees["released"], level)]),
        first_released_tree=tree_count(fitted.trees["unreleased"]),
        encoder=fitted.encoder,
        intervals=intervals,
        profile=profile,
        config=config,
        trained_on=TrainedOn(
            films=len(table),
            first_release_date=table["release_date"].min().date(),
            last_release_date=table["release_date"].max().date(),
            synthetic=bool(table["synthetic"].iloc[0]),
        ),
    )


def newest_films_start(release_dates: pd.Series, *, until: date, months: int, min_films: int) -> tuple[date, bool]:
    """Return the first day of the ``months`` before ``until``, earlier when they have fewer than ``min_films`` films.

    The second value says whether it had to be earlier. ``until`` itself is not part of the period.
    """
    start = pd.Timestamp(until) - pd.DateOffset(months=months)
    dates = release_dates[release_dates < pd.Timestamp(until)].sort_values(ascending=False)
    if (dates >= start).sum() >= min_films or dates.empty:
        return start.date(), False
    earliest = min(start, dates.iloc[min(min_films, len(dates)) - 1])
    return earliest.date(), bool(earliest < start)


def _calibration_start(release_dates: pd.Series, config: TrainingConfig) -> pd.Timestamp:
    after_newest = (release_dates.max() + pd.Timedelta(days=1)).date()
    start, _ = newest_films_start(
        release_dates,
        until=after_newest,
        months=config.calibration_months,
        min_films=min(config.calibration_min_films, len(release_dates) // 2),
    )
    # At least half is needed to fit the model that is calibrated. (The day after the median, so that films of
    # one day, which are never parted, do not take more.)
    median = release_dates.sort_values(ignore_index=True).iloc[(len(release_dates) - 1) // 2]
    return pd.Timestamp(max(pd.Timestamp(start), median + pd.Timedelta(days=1)))


@dataclass(frozen=True)
class _Fitted:
    """An encoder, and the canonical text of the trees of each situation."""

    encoder: Encoder
    trees: dict[Situation, str]


def _calibrate(
    films: pd.DataFrame, earlier: _Fitted, config: TrainingConfig, *, threads: int
) -> tuple[Intervals, Profile, float]:
    """Return the intervals, the profile of the films as unreleased ones, and by how much released ones are too low.

    A model asked about films newer than its own finds them too low as released ones, since they have gathered fewer
    votes than older films of the same standing. What the calibration films show of that is added to the prediction, and
    the interval lies around the sum. For unreleased films the same would be chance: the level of a year.
    """
    actual = films["vote_average"].to_numpy(dtype=np.float64)
    votes = films["vote_count"].to_numpy(dtype=np.float64)
    features, predicted, intervals = {}, {}, {}
    level = 0.0
    for situation in SITUATIONS:
        released = np.full(len(films), situation == "released")
        features[situation] = earlier.encoder.encode(films, released=released)
        booster = lgb.Booster(model_str=earlier.trees[situation])
        predicted[situation] = np.asarray(booster.predict(features[situation], num_threads=threads), dtype=np.float64)
        residuals = actual - predicted[situation]
        if situation == "released":
            level = float(np.mean(residuals))
            residuals -= level
        intervals[situation] = Interval.calibrate(
            residuals,
            votes,
            level=config.interval_level,
            vote_noise=config.vote_noise,
            votes_are_known=situation == "released",
        )
    profile = Profile.of(
        earlier.encoder.feature_names,
        features["unreleased"],
        np.clip(predicted["unreleased"], 0.0, HIGHEST_RATING),
    )
    return Intervals(level=config.interval_level, **intervals), profile, level


def _fit(films: pd.DataFrame, config: TrainingConfig, *, threads: int) -> _Fitted:
    rng = np.random.default_rng(config.seed)
    actual = films["vote_average"].to_numpy(dtype=np.float64)
    noise_ratio = (config.vote_noise / config.model_error) ** 2
    weights = _weights(films, noise_ratio, config.recency_half_life)
    titles = [normalize(title) for title in films["title"]]
    overviews = [normalize(overview) for overview in films["overview"]]
    text, whole_scores, title_scores = _fit_text(
        titles, overviews, actual=actual, weights=weights, config=config, rng=rng
    )
    encoder = Encoder(
        genres=_frequent([set(genres) for genres in films["genres"]], config.min_films_with_category),
        languages=_frequent([{code} - {""} for code in films["original_language"]], config.min_films_with_category),
        text=text,
        series=SeriesTable.of(
            titles,
            [day.toordinal() for day in films["release_date"]],
            actual.tolist(),
            films["vote_count"].clip(upper=MOST_VOTES).astype(np.int64).tolist(),
            noise_ratio=noise_ratio,
            most=config.max_series_films,
        ),
    )
    row_weights = np.concatenate([weights, weights * config.masked_weight])

    def encode(table: pd.DataFrame, situation: Situation) -> Floats:
        no_overview = (table["overview"] == "").to_numpy()
        return encoder.assemble(
            table,
            titles=titles,
            overviews=["" if hidden else text for text, hidden in zip(overviews, no_overview, strict=True)],
            text_scores=np.where(no_overview, title_scores, whole_scores),
            released=np.full(len(films), situation == "released"),
        )

    trees = {}
    for situation in SITUATIONS:
        whole = encode(films, situation)
        texts = []
        for number in range(config.averaged_models):
            rows = np.concatenate([whole, encode(_mask(films, config, rng), situation)])
            data = lgb.Dataset(rows, np.tile(actual, 2), weight=row_weights)
            booster = lgb.train(_tree_parameters(config, number, threads), data, num_boost_round=config.trees)
            texts.append(canonical_text(booster.model_to_string(), share=1 / config.averaged_models))
        trees[situation] = join_texts(texts)
    return _Fitted(encoder, trees)


def _weights(films: pd.DataFrame, noise_ratio: float, half_life: float | None) -> Floats:
    """How much each film counts: less with few votes, and less the older it is than the newest."""
    weights: Floats = 1 / (1 + noise_ratio / films["vote_count"].to_numpy(dtype=np.float64))
    if half_life is None:
        return weights
    dates = films["release_date"].to_numpy(dtype="datetime64[D]")
    half_lives = (dates.max() - dates).astype(np.float64) / (365.25 * half_life)
    whole = np.floor(half_lives)
    # Halved at each half-life and a straight line between: unlike a power, the same bits on every machine.
    recency: Floats = np.ldexp(1 - (half_lives - whole) / 2, -whole.astype(np.int64))
    return weights * recency


def _tree_parameters(config: TrainingConfig, number: int, threads: int) -> dict[str, object]:
    return {
        "objective": "regression",
        "extra_trees": True,
        "learning_rate": config.learning_rate,
        "num_leaves": config.leaves,
        "min_data_in_leaf": config.min_rows_in_leaf,
        "feature_fraction": config.feature_share,
        "bagging_fraction": config.row_share,
        "bagging_freq": 1,
        "lambda_l2": config.leaf_l2,
        # Each of LightGBM's own seeds follows from this one; far apart, so that those of two models do not meet.
        "seed": (config.seed + number * 1_000_003) % 2**31,
        # Otherwise LightGBM times both layouts and takes the faster, and sums then differ in their last bits.
        "deterministic": True,
        "force_col_wise": True,
        # Otherwise sparse features share a histogram that threads make in blocks, and its sums differ likewise, where
        # weights are so far apart that they are rounded.
        "enable_bundle": False,
        "num_threads": threads,
        "verbosity": -1,
    }


def _mask(films: pd.DataFrame, config: TrainingConfig, rng: np.random.Generator) -> pd.DataFrame:
    """Return the films with random fields missing, each for itself and sometimes all together."""

    def drawn(probability: float) -> npt.NDArray[np.bool_]:
        return rng.random(len(films)) < probability

    everything = drawn(config.mask_all)
    no_genres = drawn(config.mask_genres) | everything
    no_language = drawn(config.mask_language) | everything
    no_overview = drawn(config.mask_overview) | everything
    no_year = drawn(config.mask_year)
    no_date = drawn(config.mask_exact_date) | everything | no_year
    no_popularity = drawn(config.mask_popularity)
    genres = [[] if hidden else names for names, hidden in zip(films["genres"], no_genres, strict=True)]
    return films.assign(
        genres=pd.Series(genres, index=films.index, dtype=object),
        original_language=films["original_language"].mask(no_language, ""),
        overview=films["overview"].mask(no_overview, ""),
        release_date=films["release_date"].mask(no_date),
        release_year=films["release_year"].mask(no_year),
        popularity=films["popularity"].mask(no_popularity),
    )


def _frequent(values: list[set[str]], min_films: int) -> tuple[str, ...]:
    counts = Counter(value for of_film in values for value in of_film)
    return tuple(sorted(value for value, count in counts.items() if count >= min_films))


def _fit_text(
    titles: list[str],
    overviews: list[str],
    *,
    actual: Floats,
    weights: Floats,
    config: TrainingConfig,
    rng: np.random.Generator,
) -> tuple[TextScorer, Floats, Floats]:
    """Fit the text regression; also return each film's score, and its title's alone, from folds without the film."""
    title_tokens = [tokenize(title) for title in titles]
    tokens = [title + tokenize(overview) for title, overview in zip(title_tokens, overviews, strict=True)]
    frequency = Counter(term for words in tokens for term in set(words))
    known = [item for item in frequency.items() if item[1] >= config.min_films_with_term]
    # The most frequent ones; ties are broken by the term, never by the order of a set.
    known = sorted(known, key=lambda item: (-item[1], item[0]))[: config.max_terms]
    terms = tuple(sorted(term for term, _ in known))
    vocabulary = {term: index for index, term in enumerate(terms)}
    # Smoothed as if one more film had every term (scikit-learn's default).
    idf = np.array([math.log((1 + len(titles)) / (1 + frequency[term])) + 1 for term in terms], dtype=np.float64)
    idf = np.round(idf, _DECIMALS)

    whole = term_matrix(tokens, vocabulary)
    title_only = term_matrix(title_tokens, vocabulary)
    matrix = _to_sparse(whole, idf)

    def fit(rows: npt.NDArray[np.bool_]) -> TextScorer:
        share = weights[rows] / weights[rows].mean()
        if not terms:
            return TextScorer(
                terms=(), idf=idf, coefficients=idf, intercept=float(np.average(actual[rows], weights=share))
            )
        ridge = Ridge(alpha=config.ridge_alpha, solver="sparse_cg", tol=1e-6)
        ridge.fit(matrix[rows], actual[rows], sample_weight=share)
        coefficients = np.round(ridge.coef_, _DECIMALS)
        return TextScorer(terms=terms, idf=idf, coefficients=coefficients, intercept=float(ridge.intercept_))

    fold = rng.permutation(len(titles)) % config.folds
    whole_scores, title_scores = np.empty(len(titles)), np.empty(len(titles))
    for number in range(config.folds):
        inside = fold == number
        scorer = fit(~inside)
        whole_scores[inside] = scorer.score_terms(whole)[inside]
        title_scores[inside] = scorer.score_terms(title_only)[inside]
    return fit(np.full(len(titles), fill_value=True)), whole_scores, title_scores


def _to_sparse(terms: TermMatrix, idf: Floats) -> sparse.csr_array:
    values = terms.values(idf)
    normed = values / terms.norms(values)[terms.film]
    return sparse.csr_array((normed, (terms.film, terms.term)), shape=(terms.films, len(idf)))
