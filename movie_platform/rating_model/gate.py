"""The gate: whether a day's bundle is good enough to be released, and why, in sentences.

What belongs here: the rules and their limits. What does not: measuring (``evaluation``) and carrying a decision out.
"""

from collections.abc import Mapping
from datetime import date

import pandas as pd

from movie_platform.rating_model.evaluation import BASELINES, Comparison
from movie_platform.rating_model.films import SITUATIONS

__all__ = ["decide"]

MIN_SHARED_FILMS = 100
"""A comparison on fewer films says more about the films than about the models."""
TOLERATED_LOSS_RELEASED = 0.01
"""How much larger the champion's RMSE for released films may become, as a share, if unreleased ones are better."""
OLDEST_HOLD_OUT_MONTHS = 60
"""A hold-out that must reach further back to be large enough says nothing about films of today."""


def decide(
    figures: Mapping[str, Mapping[str, Mapping[str, float]]],
    *,
    hold_out_start: date,
    hold_out_end: date,
    champion: date | None,
    comparison: Comparison | None,
    has_own_day: bool,
) -> tuple[bool, list[str]]:
    """Return whether to release, and the reasons either way.

    ``figures`` are an ``Evaluation``'s. ``champion`` is the newest released day before, if there is one, and
    ``comparison`` both days on the films that both hold-outs contain (None when its hold-out is gone).
    ``has_own_day`` says whether the bundle was trained on the films of its own day, too.

    A bundle is released when it has seen its own day (otherwise it is an older day's under a newer name, and would
    stand in the way of the real one), its hold-out is of recent films, its RMSE is below every baseline's in both
    situations, and its RMSE for unreleased films, what the platform is for, is below the champion's, without losing
    more than 1 % for released ones. Where the two cannot be compared the newer one is released.
    """
    against = [] if has_own_day else ["The films of the day itself were not collected, only those of earlier days."]
    against += _against_recency(hold_out_start, hold_out_end) + _against_baselines(figures)
    if champion is None:
        in_favour = ["The model beats every baseline, and no bundle was released before."]
    elif comparison is None or comparison.films < MIN_SHARED_FILMS:
        shared = comparison.films if comparison else 0
        in_favour = [
            f"The model beats every baseline. It cannot be compared with the champion of {champion}, whose hold-out "
            f"shares {shared} films with its own ({MIN_SHARED_FILMS} are needed), and the newer one goes first."
        ]
    else:
        against += _against_champion(comparison, champion)
        new, old = comparison.new_rmse["unreleased"], comparison.old_rmse["unreleased"]
        in_favour = [
            f"RMSE for unreleased films is {new:.4f}, below the {old:.4f} of the champion of {champion}, "
            f"on the {comparison.films:,} films that both hold-outs contain."
        ]
    return (False, against) if against else (True, in_favour)


def _against_recency(start: date, end: date) -> list[str]:
    oldest = (pd.Timestamp(end) - pd.DateOffset(months=OLDEST_HOLD_OUT_MONTHS)).date()
    if start >= oldest:
        return []
    return [
        f"There are too few recent films: the hold-out reaches back to {start}, and {oldest} is the limit. "
        "The days collected so far are of older films; a whole cycle is 13 days."
    ]


def _against_baselines(figures: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[str]:
    reasons = []
    for situation in SITUATIONS:
        ours = figures[situation]["model"]["rmse"]
        for baseline in BASELINES:
            theirs = figures[situation][baseline]["rmse"]
            if not ours < theirs:
                name = baseline.replace("_", " ")
                reasons.append(f"RMSE for {situation} films is {ours:.4f}, not below the {name}'s {theirs:.4f}.")
    return reasons


def _against_champion(comparison: Comparison, champion: date) -> list[str]:
    reasons = []
    shared = f"on the {comparison.films:,} films that both hold-outs contain"
    for situation, tolerated in (("unreleased", 0.0), ("released", TOLERATED_LOSS_RELEASED)):
        new, old = comparison.new_rmse[situation], comparison.old_rmse[situation]
        # Written so that NaN refuses, too.
        if not (new <= old * (1 + tolerated) if tolerated else new < old):
            reasons.append(
                f"RMSE for {situation} films is {new:.4f}, no better than the {old:.4f} of the champion of {champion}, "
                f"{shared}."
            )
    return reasons
