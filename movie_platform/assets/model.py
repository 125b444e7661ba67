"""Model assets: the bundle of the day, how good it is, and whether it is released.

The mathematics belongs to `rating_model`; carrying a release out, to `releases`.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any

import dagster as dg
import pandas as pd
from pydantic import ValidationError

from movie_platform.assets.policy import FIRST_PARTITION, RELEASES, daily_asset
from movie_platform.checks import CHAMPION_BUNDLE, METRICS_CHECKS, TRAINED_BUNDLE, MeasuredFacts
from movie_platform.code_version import code_version
from movie_platform.dagster_internals import recorded_versions
from movie_platform.daily import DayFailed, DayOutput, materialize_days
from movie_platform.io_managers import DayInputs, MissingDay
from movie_platform.partitions import LOOK_BACK, cycle_start, cycle_step, hold_out_end, look_back
from movie_platform.presentation import image, table
from movie_platform.rating_model import plots
from movie_platform.rating_model.bootstrap import LEVEL
from movie_platform.rating_model.bundle import FORMAT_VERSION, Bundle
from movie_platform.rating_model.card import model_card, to_markdown
from movie_platform.rating_model.config import TrainingConfig
from movie_platform.rating_model.documents import what_is_wrong
from movie_platform.rating_model.evaluation import (
    Comparison,
    compare,
    evaluate,
    hold_out_from_json,
    hold_out_to_json,
    uncertainty,
)
from movie_platform.rating_model.films import TooFewFilmsError, latest_films
from movie_platform.rating_model.gate import decide
from movie_platform.rating_model.measured import MeasuredInDetail
from movie_platform.rating_model.slices import slice_table, slices
from movie_platform.rating_model.training import train
from movie_platform.releases import (
    Champion,
    Decision,
    HistoryEntry,
    champion_of,
    keep_copy,
    last_word,
    newest_released,
    release,
    withdraw,
)
from movie_platform.storage import Storage
from movie_platform.tracking import MlflowTracker, TrackedTraining, TrackingError

_MODEL_CODE = ("rating_model", "partitions.py", "assets/model.py")


@daily_asset(
    group="model",
    kinds={"lightgbm"},
    io_manager="bundle",
    code=_MODEL_CODE,
    checks=TRAINED_BUNDLE,
)
def trained_bundle(
    context: dg.AssetExecutionContext,
    preprocessed_movies: DayInputs,
    training_config: dg.ResourceParam[TrainingConfig],
    training_threads: dg.ResourceParam[int],
) -> Iterator[dg.Output[Any]]:
    """Model, feature encoder and metadata, in one file without code that runs when it is loaded.

    Trained on the newest row of each film with at least 10 votes in the last 26 days up to this one (two cycles of
    `raw_movies`), never on anything later. Days of the look-back that are missing are named in the metadata.
    """
    made = set(recorded_versions(context.instance, context.asset_key))

    def make(day: date) -> DayOutput:
        used, missing, films = _training_films(day, preprocessed_movies)
        late = _made_late(day, made)
        if late is not None:
            context.log.warning(f"trained_bundle {day}: made late: {late}")
        try:
            model = train(films, training_config, threads=training_threads)
        except ValueError as error:
            raise DayFailed(_with_hint(error, day)) from error
        bundle = Bundle.make(model, partition=day, code_version=code_version(), days_used=used, days_missing=missing)
        trained_on, importance = model.trained_on, model.importance()
        gains = sum(importance.values()) or 1.0
        return DayOutput(
            value=bundle,
            metadata={
                "synthetic": bundle.metadata.synthetic,
                "films": trained_on.films,
                "releases": f"{trained_on.first_release_date} to {trained_on.last_release_date}",
                "look-back days used": len(used),
                "look-back days missing": ", ".join(map(str, missing)) or "none",
                **({"made late": late} if late else {}),
                "code version": bundle.metadata.code_version,
                "configuration": dg.MetadataValue.json(model.config.model_dump(mode="json")),
                "most used features": table(
                    {"feature": name, "share of gain": f"{gain / gains:.1%}"}
                    for name, gain in islice(importance.items(), 10)
                ),
            },
        )

    yield from materialize_days(context, make, TRAINED_BUNDLE)


def _made_late(day: date, made: Collection[date]) -> str | None:
    """What a day means for bundles that were made before it and look back on it; None if there are none.

    A day that is made again is not late.
    """
    if day in made or not (later := [other for other in sorted(made) if day < other < day + timedelta(days=LOOK_BACK)]):
        return None
    which = f"{later[0]}" if len(later) == 1 else f"{len(later)} days, {later[0]} to {later[-1]},"
    return (
        f"the bundles of {which} were trained before this day was made, and stay as they are. To train them with its "
        "films, materialize trained_bundle and what follows for those days"
    )


def _with_hint(error: ValueError, day: date) -> str:
    """The error, and for too few films the day from which there will be enough."""
    if not isinstance(error, TooFewFilmsError) or cycle_step(day) == 0:
        return str(error)
    return f"{error} (the newest films are next collected on {cycle_start(day)}; repeating this day does not help)"


def _training_films(day: date, tables: DayInputs) -> tuple[list[date], list[date], pd.DataFrame]:
    """The look-back's days that are there, those that are not, and the newest row of each film."""
    wanted = look_back(day, FIRST_PARTITION)
    used = [d for d in wanted if d in tables]
    missing = [d for d in wanted if d not in tables]
    if purged := [d for d in missing if tables.purge_of(d)]:
        raise DayFailed(
            f"preprocessed_movies of {', '.join(map(str, purged))}, from which {day} learns, was purged, since TMDB's "
            "data may not be kept any longer (MOVIE_PLATFORM_KEEP_DAYS): what could be trained now would not be the "
            "model of that day. To train on what TMDB says now, materialize raw_movies and preprocessed_movies for "
            "those days first"
        )
    if not used:
        raise DayFailed(
            f"none of the days {wanted[0]} to {wanted[-1]} of preprocessed_movies is there: "
            "materialize at least one of them first"
        )
    try:
        return used, missing, latest_films(tables[d] for d in used)
    except TooFewFilmsError as error:
        raise DayFailed(_with_hint(error, day)) from error


@daily_asset(
    group="model",
    kinds={"pandas", "json"},
    io_manager="json",
    code=_MODEL_CODE,
    checks=METRICS_CHECKS,
)
def metrics(
    context: dg.AssetExecutionContext,
    preprocessed_movies: DayInputs,
    trained_bundle: DayInputs,
    training_threads: dg.ResourceParam[int],
    tracker: dg.ResourceParam[MlflowTracker | None],
) -> Iterator[dg.Output[Any]]:
    """How good the day's bundle is, beside the baselines, for films not yet released and for released ones.

    A model of the same configuration is trained on the films released before the hold-out (the 24 months before
    twelve months before the day, at least 300 films) and asked about the hold-out, which it has not seen. RMSE
    is the main figure. How far the figures may be chance, those of parts of the hold-out, its predictions and the plots
    are kept beside them, and all of it is made into a model card. With MLFLOW_TRACKING_URI, the day's training is
    recorded there, once its figures are stored.
    """

    def make(day: date) -> DayOutput:
        bundle: Bundle = trained_bundle[day]
        if bundle.metadata.format_version != FORMAT_VERSION:
            raise DayFailed(
                f"the bundle of {day} was trained by an earlier version of the platform, and what would be measured is "
                f"this one's training: materialize trained_bundle for {day} again"
            )
        _, _, films = _training_films(day, preprocessed_movies)
        try:
            evaluation = evaluate(films, bundle.metadata.config, until=hold_out_end(day), threads=training_threads)
        except ValueError as error:
            raise DayFailed(_with_hint(error, day)) from error
        synthetic = bundle.metadata.synthetic
        sha256 = hashlib.sha256(bundle.to_bytes()).hexdigest()
        uncertain, parts = uncertainty(evaluation.predictions), slices(evaluation.predictions, films)
        document = {
            "partition": day.isoformat(),
            "bundle_sha256": sha256,
            "synthetic": synthetic,
            **evaluation.to_dict(),
            "bootstrap": uncertain.to_dict(),
            "slices": [part.to_dict() for part in parts],
            "predictions": hold_out_to_json(evaluation.predictions),
        }
        try:
            card = model_card(bundle.metadata, MeasuredInDetail.model_validate(document))
        except ValidationError as error:
            raise DayFailed(f"the figures make no model card: {what_is_wrong(error)}") from error
        training = TrackedTraining(
            day=day,
            config=bundle.metadata.config,
            figures=evaluation.figures,
            code_version=bundle.metadata.code_version,
            bundle_sha256=sha256,
            synthetic=synthetic,
            dagster_run_id=context.run.run_id,
        )
        drawn = {
            "predicted_against_actual": plots.predicted_against_actual(evaluation),
            "residuals_by_year": plots.residuals_by_year(evaluation),
            "feature_importance": plots.feature_importance(bundle.model),
            "interval_calibration": plots.interval_coverage(evaluation),
        }
        return DayOutput(
            value=document,
            facts=MeasuredFacts(evaluation, uncertain, parts),
            attachments={f"{name}.png": png for name, png in drawn.items()},
            publish=None if tracker is None else partial(_record, context, tracker, training),
            metadata={
                "synthetic": synthetic,
                **{
                    f"{metric} {situation}": models["model"][metric]
                    for situation, models in evaluation.figures.items()
                    for metric in ("rmse", "mae", "interval_coverage")
                },
                "hold-out": f"{len(evaluation.predictions):,} films released from {evaluation.holdout_start} "
                f"until {evaluation.until}"
                + (", reaching further back for enough films" if evaluation.widened else ""),
                "model card": dg.MetadataValue.md(to_markdown(card, title=f"The model of {day}")),
                "beside the baselines": table(
                    {"situation": situation, "model": model, **figures}
                    for situation, models in evaluation.figures.items()
                    for model, figures in models.items()
                ),
                f"{LEVEL:.0%} intervals of RMSE and differences": table(uncertain.table),
                "parts of the hold-out": table(slice_table(parts)),
                **{name.replace("_", " "): image(png, name) for name, png in drawn.items()},
            },
        )

    yield from materialize_days(context, make, METRICS_CHECKS)


def _record(
    context: dg.AssetExecutionContext, tracker: MlflowTracker, training: TrackedTraining
) -> dict[str, dg.MetadataValue[Any]]:
    """Record the training in MLflow; whether it could be is what the metadata say, and never fails the day."""
    try:
        return {"MLflow run": dg.MetadataValue.url(tracker.record(training))}
    except TrackingError as error:
        context.log.warning(f"metrics {training.day}: not recorded in MLflow: {error}")
        return {"MLflow run": dg.MetadataValue.text(f"not recorded: {error}")}


@daily_asset(
    group="model",
    kinds={"json"},
    io_manager="json",
    code=("rating_model/gate.py", "rating_model/evaluation.py", "releases.py", "assets/model.py"),
    checks=CHAMPION_BUNDLE,
    pool=RELEASES,
)
def champion_bundle(
    context: dg.AssetExecutionContext,
    trained_bundle: DayInputs,
    metrics: DayInputs,
    store: dg.ResourceParam[Storage],
) -> Iterator[dg.Output[Any]]:
    """The decision of the day: whether its bundle is released, why, and which champion is in force.

    Released means: trained on the day's own films too, better than the baselines, and better than the newest released
    day before it on the films that both hold-outs contain. Not being better is normal: the decision materializes all
    the same, and the check `released` warns. A released bundle is copied to `released/`, and `champion.json` moves to
    it unless a later day is in force. A day that was rolled back by hand is not released until it is released by hand.
    """

    def make(day: date) -> DayOutput:
        bundle: Bundle = trained_bundle[day]
        data = bundle.to_bytes()
        candidate = champion_of(
            data,
            partition=day,
            code_version=bundle.metadata.code_version,
            synthetic=bundle.metadata.synthetic,
        )
        measured = metrics[day]
        if measured["bundle_sha256"] != candidate.sha256:
            raise DayFailed(
                f"the metrics of {day} are of another bundle ({measured['bundle_sha256'][:12]}) than the day's "
                f"({candidate.sha256[:12]}): materialize metrics for {day} again"
            )
        before = newest_released(store, before=day)
        comparison = _compare(measured, before, metrics)
        released, reasons = decide(
            measured["figures"],
            hold_out_start=date.fromisoformat(measured["holdout"]["start"]),
            hold_out_end=date.fromisoformat(measured["holdout"]["until"]),
            champion=before.partition if before else None,
            comparison=comparison,
            has_own_day=day in bundle.metadata.days_used,
        )
        released, reasons = _with_last_word(released, reasons, last_word(store, day), candidate)
        decision = Decision(
            partition=day,
            released=released,
            reasons=reasons,
            candidate=candidate,
            compared_with=before,
            compared_films=comparison.films if comparison else 0,
            rmse={"candidate": dict(comparison.new_rmse), "champion": dict(comparison.old_rmse)} if comparison else {},
            champion_in_force=candidate if released else before,
            synthetic=candidate.synthetic,
        )

        if released:
            keep_copy(store, data, candidate)

        def publish() -> None:
            now = datetime.now(UTC)
            if released:
                release(store, candidate, reasons=reasons, now=now)
            elif before is not None:
                withdraw(store, day, in_force=before, reasons=reasons, now=now)

        in_force = decision.champion_in_force
        return DayOutput(
            value=decision.model_dump(mode="json"),
            publish=publish,
            metadata={
                "synthetic": candidate.synthetic,
                "released": released,
                "reasons": dg.MetadataValue.md("\n".join(f"- {reason}" for reason in reasons)),
                "champion in force": f"{in_force.partition} ({in_force.sha256[:12]})" if in_force else "none yet",
                "compared with": str(before.partition) if before else "no earlier release",
                "films in both hold-outs": decision.compared_films,
            },
        )

    yield from materialize_days(context, make, CHAMPION_BUNDLE)


def _with_last_word(
    released: bool,  # noqa: FBT001 what the gate says, as it says it
    reasons: list[str],
    said: HistoryEntry | None,
    candidate: Champion,
) -> tuple[bool, list[str]]:
    """What a person has said of the day by hand goes before what its gate says."""
    if said is None:
        return released, reasons
    if said.event == "rollback":
        barred = f"Rolled back by hand on {said.at:%Y-%m-%d}: not released until it is released by hand."
        return False, [barred, *(f"The gate says: {reason}" for reason in reasons)]
    if not released and said.champion.sha256 == candidate.sha256:
        return True, [
            f"Released by hand on {said.at:%Y-%m-%d}.",
            *(f"The gate says: {reason}" for reason in reasons),
        ]
    return released, reasons


def _compare(measured: Mapping[str, Any], champion: Champion | None, metrics: DayInputs) -> Comparison | None:
    """Both on the films that both hold-outs contain; None without a champion or without its own hold-out."""
    if champion is None:
        return None
    try:
        then = metrics[champion.partition]
    except MissingDay:
        return None
    if then["bundle_sha256"] != champion.sha256:
        return None
    return compare(hold_out_from_json(measured["predictions"]), hold_out_from_json(then["predictions"]))
