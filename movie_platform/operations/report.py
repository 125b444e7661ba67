"""What the store says of a range of days, as tables for a terminal: metrics beside the baselines, the best films."""

import json
from collections.abc import Sequence
from datetime import date

import pandas as pd
from rich import box
from rich.table import Table

from movie_platform.io_managers import are_reduced, read_predictions
from movie_platform.releases import Decision, read_pointer
from movie_platform.storage import ObjectNotFound, Storage


def metrics_table(storage: Storage, days: Sequence[date]) -> Table:
    """RMSE by day and situation beside the baselines, and what the gate said. Days without metrics say so."""
    table = Table(
        title="How far predictions are off, for films that the measured model has not seen\n"
        "(root mean squared error, in rating points of 10)",
        box=box.SIMPLE,
        pad_edge=False,
        collapse_padding=True,
    )
    for name in ("day", "films", "asked as", "model", "genre mean", "mean", "80 % holds", "released"):
        is_text = name in {"day", "asked as", "released"}
        table.add_column(
            name, justify="left" if is_text else "right", min_width=10 if name in {"day", "asked as"} else 5
        )
    for day in days:
        try:
            metrics = json.loads(storage.get(f"metrics/{day}.json"))
        except ObjectNotFound:
            table.add_row(str(day), "", "no metrics")
            continue
        for situation, models in metrics["figures"].items():
            model = models["model"]
            first = situation == "unreleased"
            table.add_row(
                str(day) if first else "",
                f"{metrics['holdout']['films']:,}" if first else "",
                situation,
                *(f"{models[name]['rmse']:.3f}" for name in ("model", "genre_mean", "global_mean")),
                f"{model['interval_coverage']:.0%}",
                _released(storage, day) if first else "",
            )
    return table


def _released(storage: Storage, day: date) -> str:
    try:
        decision = Decision.model_validate_json(storage.get(f"champion_bundle/{day}.json"))
    except ObjectNotFound:
        return "no decision"
    return "yes" if decision.released else "no"


def refusals(storage: Storage, days: Sequence[date]) -> list[str]:
    """Why the gate did not release a day's bundle, a line a day."""
    lines = []
    for day in days:
        try:
            decision = Decision.model_validate_json(storage.get(f"champion_bundle/{day}.json"))
        except ObjectNotFound:
            continue
        if not decision.released:
            lines.append(f"{day} was not released: {' '.join(decision.reasons)}")
    return lines


def best_upcoming(storage: Storage, day: date, *, films: int = 10) -> Table | str:
    """The films still to be released on `day` with the highest predicted ratings, or a sentence if there are none.

    Raises `ObjectNotFound` when the day has no predicted ratings.
    """
    predicted = read_predictions(storage.get(f"predicted_ratings/{day}.parquet"))
    if are_reduced(predicted):
        return (
            f"The predicted ratings of {day} were reduced to ids and numbers, since TMDB's data may not be kept longer."
        )
    upcoming = predicted[predicted["release_date"] > pd.Timestamp(day)].head(films)
    if upcoming.empty:
        return f"None of the {len(predicted):,} films with a predicted rating is released after {day}."
    table = Table(title=f"The {len(upcoming)} best films to be released after {day}, as predicted", box=box.SIMPLE)
    if predicted["synthetic"].any():
        table.caption = "These films are SYNTHETIC: the built-in catalogue invented them."
    for name in ("title", "release", "genres", "predicted", "80 % interval"):
        table.add_column(name, justify="right" if name in {"predicted", "80 % interval"} else "left")
    for film in upcoming.to_dict("records"):
        table.add_row(
            film["title"],
            f"{film['release_date']:%Y-%m-%d}",
            ", ".join(film["genres"]),
            f"{film['prediction']:.2f}",
            f"{film['low']:.1f} to {film['high']:.1f}",
        )
    return table


def champion_line(storage: Storage) -> str:
    """Which bundle is in force, in a sentence."""
    champion = read_pointer(storage)
    if champion is None:
        return "No bundle has been released yet."
    synthetic = " (trained on synthetic films)" if champion.synthetic else ""
    return f"In force: the bundle of {champion.partition}{synthetic}, {storage.url(champion.path)}"
