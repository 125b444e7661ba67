"""The checks of every asset, for one day.

A check says whether a day's result may be believed; blocking ones keep it from its final name. What a table must
look like stands in `schemas`; how bad an error must be is decided here, as a constant with a name.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pandera.pandas as pa
from scipy.stats import chi2

from movie_platform.daily import DayCheck, DayOutput, Verdict
from movie_platform.partitions import Window, inference_window, training_window
from movie_platform.presentation import table
from movie_platform.rating_model.bundle import Bundle
from movie_platform.rating_model.drift import Shift
from movie_platform.rating_model.evaluation import Evaluation, Uncertainty
from movie_platform.rating_model.films import MIN_VOTES, SITUATIONS, complete
from movie_platform.rating_model.measured import MeasuredInDetail
from movie_platform.rating_model.outcomes import LEVEL, Outcomes, figures_by_age
from movie_platform.rating_model.slices import Slice, slice_table
from movie_platform.releases import Decision
from movie_platform.schemas import (
    DECISIONS,
    FILMS,
    HOLD_OUT,
    METRICS,
    OUTCOMES,
    PREDICTED_RATINGS,
    RAW_ITEMS,
    SLICES,
    UNCERTAINTY,
    violations,
)
from movie_platform.tmdb.collection import Collection
from movie_platform.tmdb.films import Films, Refusal
from movie_platform.tmdb.reference import parse_date

TOLERATED_SHORTFALL = 0.005
"""Share of the films that the API announced which may be missing from its pages."""
FEW_FILMS = 3
"""So many films may come while a window is read, however small it is."""
TOLERATED_REFUSALS = 0.05
"""Share of a day's items that preprocessing may refuse."""
THIN_UNTIL = date(1930, 1, 1)
"""A window that ends before may have no film at all with enough votes; every later one has some."""
SHIFTED = 0.25
"""The population stability index from which a distribution counts as another one; see `rating_model.drift`."""
CHANCE = 0.001
"""How probable an index may at most be without any shift, so that a few films raise no alarm."""
FEWEST_COMPARED = 100
"""Fewer films say nothing about a distribution."""
LEAST_COVERAGE = 0.7
FEWEST_OUTCOMES = 200
"""With so many, and intervals that hold what they say, less coverage has a chance below one in a thousand."""
COVERAGE_AGE = 30
"""The days before release of the forecasts whose intervals are watched."""

_EXAMPLES = 3
_SHOWN_SHIFTS = 10
_WindowOf = Callable[[date], Window]


def _may_be_empty(window: Window) -> bool:
    return window.last < THIN_UNTIL


def _schema_verdict(tables: Mapping[str, tuple[pa.DataFrameSchema, pd.DataFrame]]) -> Verdict:
    found = {name: violations(schema, frame) for name, (schema, frame) in tables.items()}
    broken = [f"{name}: {sentence}" for name, sentences in found.items() for sentence in sentences]
    rows = {f"rows of {name}": len(frame) for name, (_, frame) in tables.items()}
    if broken:
        listing = dg.MetadataValue.md("\n".join(f"- {sentence}" for sentence in broken))
        return Verdict(passed=False, summary="; ".join(broken[:3]) + ".", evidence={"violations": listing, **rows})
    counted = ", ".join(f"{count:,} {name}" for name, count in rows.items())
    return Verdict(passed=True, summary=f"Nothing violates the schema ({counted}).", evidence=rows)


def _raw_schema(window: Window, output: DayOutput) -> Verdict:
    if not output.value and _may_be_empty(window):
        return Verdict(passed=True, summary="There are no items.", evidence={"rows of items": 0})
    # As objects: half of a surrogate pair is legal in an item and not in a column of texts.
    return _schema_verdict({"items": (RAW_ITEMS, pd.DataFrame(output.value, dtype=object))})


def _complete(window: Window, output: DayOutput) -> Verdict:
    collection: Collection = output.facts
    kept, announced, gaps = len(collection.items), collection.announced, collection.gaps
    missing = max(collection.missing, announced - kept)
    enough = kept > 0 or (announced == 0 and _may_be_empty(window))
    tolerated = announced * TOLERATED_SHORTFALL
    # Totals that are too low would let any loss pass.
    is_proven = kept - announced <= max(tolerated, FEW_FILMS)
    passed = enough and missing <= tolerated and is_proven and not gaps
    summary = f"The window is {'complete' if passed else 'incomplete'}: {kept:,} films kept of {announced:,} announced"
    if missing:
        summary += f", {missing:,} are missing"
    if not is_proven:
        summary += ", so its totals prove nothing"
    for gap in gaps[:_EXAMPLES]:
        summary += f"; only {gap.reachable:,} films can be reached of {gap.query}, which cannot be cut any further"
    return Verdict(
        passed=passed,
        summary=f"{summary}.",
        evidence={
            "films kept": kept,
            "films announced": announced,
            "films missing": missing,
            "gaps": table(asdict(gap) for gap in gaps),
        },
    )


def _inside(window: Window, output: DayOutput) -> Verdict:
    items: Sequence[Mapping[str, Any]] = output.value
    dates = [parse_date(item.get("release_date")) for item in items]
    outside = [item.get("id") for item, day in zip(items, dates, strict=True) if day is not None and day not in window]
    strays: int = output.facts.strays
    summary = f"{len(items) - len(outside):,} of {len(items):,} films lie within {window.first} to {window.last}"
    return Verdict(
        passed=not outside,
        summary=f"{summary}; {strays} outside were set aside.",
        evidence={"set aside": strays, "undated": dates.count(None), "ids outside": outside[:5]},
    )


def _raw_checks(window_name: str, window_of: _WindowOf) -> list[DayCheck]:
    return [
        DayCheck(
            name="schema",
            description="Items as a table (Pandera): each id once, and no field that is read later has vanished.",
            examine=lambda day, output: _raw_schema(window_of(day), output),
        ),
        DayCheck(
            name="complete",
            description=f"There are films (a window that ends before {THIN_UNTIL.year} may be empty), at most "
            f"{TOLERATED_SHORTFALL:.1%} of those announced are missing, hardly any were not announced, and no query "
            "had more than could be reached.",
            examine=lambda day, output: _complete(window_of(day), output),
        ),
        DayCheck(
            name="inside_window",
            description=f"Every release date lies inside the day's {window_name} window.",
            examine=lambda day, output: _inside(window_of(day), output),
        ),
    ]


RAW_MOVIES = _raw_checks("training", training_window)
RAW_UPCOMING_MOVIES = _raw_checks("inference", inference_window)


def _films_schema(window: Window, output: DayOutput) -> Verdict:
    films: Films = output.facts
    if films.table.empty and not films.refused and _may_be_empty(window):
        return Verdict(passed=True, summary="There were no items.", evidence={"rows of films": 0})
    return _schema_verdict({"films": (FILMS, output.value)})


def _usable(day: date, output: DayOutput) -> Verdict:  # noqa: ARG001
    films: Films = output.facts
    total = len(films.table) + len(films.refused)
    share = len(films.refused) / total if total else 0.0
    return Verdict(
        passed=share <= TOLERATED_REFUSALS,
        summary=f"{len(films.refused):,} of {total:,} items ({share:.1%}) could not be used; "
        f"at most {TOLERATED_REFUSALS:.0%} may be.",
        evidence={"refused": len(films.refused), "items": total, "by reason": refusals_by_reason(films.refused)},
    )


def refusals_by_reason(refused: Sequence[Refusal]) -> dg.MetadataValue[Any]:
    """How many items were refused for which reason, with examples, the most frequent reason first."""
    reasons: dict[str, list[Refusal]] = {}
    for refusal in refused:
        reasons.setdefault(refusal.reason, []).append(refusal)
    return table(
        {
            "reason": reason,
            "items": len(items),
            "for example": "; ".join(f"id {item.item_id}: {item.detail}" for item in items[:_EXAMPLES]),
        }
        for reason, items in sorted(reasons.items(), key=lambda entry: -len(entry[1]))
    )


def _preprocessed_checks(window_of: _WindowOf) -> list[DayCheck]:
    return [
        DayCheck(
            name="schema",
            description="One row a film, typed and within bounds (Pandera).",
            examine=lambda day, output: _films_schema(window_of(day), output),
        ),
        DayCheck(
            name="usable_rows",
            description=f"At most {TOLERATED_REFUSALS:.0%} of the day's items had to be refused.",
            examine=_usable,
        ),
    ]


PREPROCESSED_MOVIES = _preprocessed_checks(training_window)
PREPROCESSED_UPCOMING_MOVIES = _preprocessed_checks(inference_window)


def _repeats(day: date, output: DayOutput) -> Verdict:
    bundle = Bundle.from_bytes(output.value.to_bytes())
    bundle.check_probes()
    if bundle.metadata.partition != day:
        return Verdict(passed=False, summary=f"The bundle says that it is of {bundle.metadata.partition}.")
    return Verdict(
        passed=True,
        summary="Read back from its bytes, the bundle repeats the predictions that it made when trained.",
    )


TRAINED_BUNDLE = [
    DayCheck(
        name="loads_and_repeats",
        description="Read back from its bytes, the bundle predicts for its probe films just what it did when trained.",
        examine=_repeats,
    )
]


@dataclass(frozen=True)
class MeasuredFacts:
    """What the checks of `metrics` need to know."""

    evaluation: Evaluation
    uncertainty: Uncertainty
    slices: Sequence[Slice]


def _metrics_schema(day: date, output: DayOutput) -> Verdict:
    facts: MeasuredFacts = output.facts
    verdict = _schema_verdict(
        {
            "hold-out films": (HOLD_OUT, facts.evaluation.predictions),
            "figures": (METRICS, facts.evaluation.table),
            "intervals": (UNCERTAINTY, facts.uncertainty.table),
            "parts": (SLICES, slice_table(facts.slices)),
        }
    )
    if not verdict.passed:
        return verdict
    films = len(facts.evaluation.predictions)
    for situation in SITUATIONS:
        inside = sum(one.films for one in facts.slices if (one.dimension, one.situation) == ("votes", situation))
        if inside != films:
            return Verdict(passed=False, summary=f"The parts by votes have {inside:,} films of {films:,}, {situation}.")
    # As the service will read it.
    read = MeasuredInDetail.model_validate_json(json.dumps(output.value))
    if read.partition != day:
        return Verdict(passed=False, summary=f"The figures say that they are of {read.partition}.")
    return verdict


def _beats_baselines(day: date, output: DayOutput) -> Verdict:  # noqa: ARG001
    evaluation: Evaluation = output.facts.evaluation
    lost = []
    shown: dict[str, Any] = {}
    for situation, models in evaluation.figures.items():
        ours = models["model"]["rmse"]
        shown[f"RMSE {situation}"] = ours
        for name, figures in models.items():
            if name != "model":
                shown[f"RMSE {situation}, {name}"] = figures["rmse"]
                if ours >= figures["rmse"]:
                    lost.append(f"{situation}: RMSE {ours:.3f} is not below {name}'s {figures['rmse']:.3f}")
    return Verdict(
        passed=not lost,
        summary="; ".join(lost) + "." if lost else "The model beats every baseline.",
        evidence=shown,
    )


def _unseen(day: date, output: DayOutput) -> Verdict:  # noqa: ARG001
    evaluation: Evaluation = output.facts.evaluation
    last_seen = evaluation.model.trained_on.last_release_date
    first_asked = evaluation.predictions["release_date"].min().date()
    return Verdict(
        passed=last_seen < first_asked,
        summary=f"The measured model has seen films up to {last_seen}; it was asked about films from {first_asked} on.",
    )


METRICS_CHECKS = [
    DayCheck(
        name="schema",
        description="Hold-out predictions, figures, their intervals and those of parts, as tables (Pandera): complete, "
        "finite, in order, ratings within 0..10; and the document is one that the service can read.",
        examine=_metrics_schema,
    ),
    DayCheck(
        name="hold_out_unseen",
        description="Every film of the hold-out was released after all that the measured model was trained on.",
        examine=_unseen,
    ),
    DayCheck(
        name="beats_baselines",
        description="RMSE is below both baselines' in both situations. A warning: the gate decides.",
        examine=_beats_baselines,
        blocking=False,
    ),
]


def _decision_schema(day: date, output: DayOutput) -> Verdict:
    decision = Decision.model_validate(output.value)
    in_force = decision.champion_in_force
    table = pd.DataFrame(
        {
            "partition": pd.to_datetime([decision.partition]),
            "released": [decision.released],
            "reason": pd.Series([" ".join(decision.reasons)], dtype="str"),
            "candidate_sha256": pd.Series([decision.candidate.sha256], dtype="str"),
            "in_force_partition": pd.to_datetime(pd.Series([in_force.partition if in_force else None])),
        }
    )
    verdict = _schema_verdict({"decisions": (DECISIONS, table)})
    if decision.released and in_force != decision.candidate:
        return Verdict(passed=False, summary="The bundle that was released is not the one in force.")
    if verdict.passed and decision.partition != day:
        return Verdict(passed=False, summary=f"The decision says that it is of {decision.partition}.")
    return verdict


def _released(day: date, output: DayOutput) -> Verdict:  # noqa: ARG001
    decision = Decision.model_validate(output.value)
    return Verdict(
        passed=decision.released,
        summary=" ".join(decision.reasons),
        evidence={"films in both hold-outs": decision.compared_films},
    )


CHAMPION_BUNDLE = [
    DayCheck(
        name="schema",
        description="The decision is complete and does not contradict itself (pydantic, Pandera).",
        examine=_decision_schema,
    ),
    DayCheck(
        name="released",
        description="The gate released the day's bundle. Not being better than the champion is normal: a warning.",
        examine=_released,
        blocking=False,
    ),
]


@dataclass(frozen=True)
class PredictedFacts:
    """What the checks of `predicted_ratings` need to know."""

    films: pd.DataFrame
    """All that were to be predicted, as preprocessed."""
    bundle: Bundle
    """By which they were."""


def _predictions_schema(day: date, output: DayOutput) -> Verdict:  # noqa: ARG001
    return _schema_verdict({"predictions": (PREDICTED_RATINGS, output.value)})


def _every_film(day: date, output: DayOutput) -> Verdict:
    table: pd.DataFrame = output.value
    facts: PredictedFacts = output.facts
    asked, answered = set(facts.films["id"]), set(table["id"])
    missing, surplus = asked - answered, answered - asked
    later = table["release_date"] > pd.Timestamp(day)
    asked_wrongly = int((later & (table["situation"] != "unreleased")).sum())
    return Verdict(
        passed=not missing and not surplus and not asked_wrongly,
        summary=f"{len(asked) - len(missing):,} of {len(asked):,} upcoming films have a prediction, and {len(surplus)} "
        f"others; {asked_wrongly} films of after {day} were asked as released.",
        evidence={"films": len(asked), "missing": len(missing), "still to be released": int(later.sum())},
    )


def _drift(day: date, output: DayOutput) -> Verdict:  # noqa: ARG001
    facts: PredictedFacts = output.facts
    profile = facts.bundle.metadata.profile
    if profile is None:
        return Verdict(passed=True, summary="The bundle has no profile of the films it was trained on to compare with.")
    films, model = facts.films, facts.bundle.model
    seen = (films["vote_count"] >= MIN_VOTES).to_numpy()
    number = int(seen.sum())
    if number < FEWEST_COMPARED:
        return Verdict(
            passed=True,
            summary=f"Only {number} films have at least {MIN_VOTES} votes: {FEWEST_COMPARED} are needed to compare.",
        )
    names = model.encoder.feature_names
    matrix = model.encoder.encode(complete(films), released=np.zeros(len(films), dtype=bool))
    predictions = model.predict(films, situation="unreleased")["prediction"].to_numpy()
    shifts = profile.compare(names, matrix[seen], predictions[seen])
    shifted = [name for name, shift in shifts.items() if shift.psi > _limit(shift, profile.films, number)]
    summary = f"{number:,} films with at least {MIN_VOTES} votes, beside {profile.films:,} of training"
    largest = ", ".join(f"{name} ({shifts[name].psi:.2f})" for name in (shifted or list(shifts)[:1])[:_EXAMPLES])
    more = f" and {len(shifted) - _EXAMPLES} more" if len(shifted) > _EXAMPLES else ""
    return Verdict(
        passed=not shifted,
        summary=f"{summary}: {largest}{more} {'have shifted' if len(shifted) > 1 else 'has shifted'}."
        if shifted
        else f"{summary}: nothing has shifted, the largest index is that of {largest}.",
        evidence={
            "films compared": number,
            "films of training": profile.films,
            "largest shifts": _shifts_table(shifts),
            "largest shifts, films with fewer votes included": _shifts_table(
                profile.compare(names, matrix, predictions)
            ),
        },
    )


def _limit(shift: Shift, films_then: int, films_now: int) -> float:
    """The index from which a distribution has shifted, above what so few films reach by chance."""
    by_chance = chi2.isf(CHANCE, len(shift.bins) - 1) * (1 / films_then + 1 / films_now)
    return max(SHIFTED, float(by_chance))


def _shifts_table(shifts: Mapping[str, Shift]) -> dg.MetadataValue[Any]:
    return table(
        {
            "compared": name,
            "stability index": shift.psi,
            "shares in training and now": "; ".join(
                f"{bin_}: {then:.1%}, {now:.1%}"
                for bin_, then, now in zip(shift.bins, shift.then, shift.now, strict=True)
            ),
        }
        for name, shift in list(shifts.items())[:_SHOWN_SHIFTS]
    )


PREDICTED = [
    DayCheck(
        name="schema",
        description="Predictions and intervals within 0..10 and in order, texts and genres as preprocessed (Pandera).",
        examine=_predictions_schema,
    ),
    DayCheck(
        name="every_film",
        description="Every upcoming film has a prediction, and none released after the day was asked with votes.",
        examine=_every_film,
    ),
    DayCheck(
        name="drift",
        description=f"Asked as unreleased, the films with at least {MIN_VOTES} votes are like the newest of training: "
        f"no feature's population stability index, nor the predictions', is above {SHIFTED} and beyond chance. "
        "A warning.",
        examine=_drift,
        blocking=False,
    ),
]


def _outcomes_schema(day: date, output: DayOutput) -> Verdict:
    outcomes: Outcomes = output.facts
    if outcomes.table.empty:
        return Verdict(passed=True, summary="There are no outcomes yet.", evidence={"rows of outcomes": 0})
    verdict = _schema_verdict({"outcomes": (OUTCOMES, outcomes.table)})
    later = int((outcomes.table["release_date"] > pd.Timestamp(day)).sum())
    if verdict.passed and later:
        return Verdict(passed=False, summary=f"{later} of the films are released after {day}.")
    return verdict


def _coverage(day: date, output: DayOutput) -> Verdict:  # noqa: ARG001
    outcomes: Outcomes = output.facts
    found = figures_by_age(outcomes.table)[COVERAGE_AGE]
    summary = f"{found['films']:,} films have an outcome of their forecast of {COVERAGE_AGE} days before release"
    if found["films"] < FEWEST_OUTCOMES:
        return Verdict(passed=True, summary=f"{summary}: {FEWEST_OUTCOMES} are needed to judge the intervals.")
    coverage = found["interval_coverage"]
    return Verdict(
        passed=coverage >= LEAST_COVERAGE,
        summary=f"{summary}; the {LEVEL:.0%} interval held {coverage:.1%} of them, at least {LEAST_COVERAGE:.0%} is "
        "expected.",
        evidence=found,
    )


OUTCOME_CHECKS = [
    DayCheck(
        name="schema",
        description="Each film and age of forecast once, forecast so many days before the release, and released up to "
        "the day; ratings and intervals within 0..10 and in order (Pandera).",
        examine=_outcomes_schema,
    ),
    DayCheck(
        name="coverage",
        description=f"Of at least {FEWEST_OUTCOMES} forecasts, {COVERAGE_AGE} days before release, the intervals held "
        f"at least {LEAST_COVERAGE:.0%}. A warning.",
        examine=_coverage,
        blocking=False,
    ),
]
