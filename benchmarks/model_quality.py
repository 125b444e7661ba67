"""How good the model is on films released after everything it was trained on, beside what it must beat.

    python -m benchmarks.model_quality --catalogue FILE [--catalogue FILE ...] --train-until 2019-12-31

The platform's own code trains, with the default configuration, on the films released up to that day (included) with
at least 10 votes. It is measured on those released later: of the same files, or of the file of --evaluate alone. Each
is asked about as unreleased (votes and popularity withheld) and as released. A film that was trained on is never
measured. When several catalogues have a film, the row of the last one counts.

Beside the model, on the same films: the mean, the mean of the film's genres, the earlier design, and LightGBM with its
defaults on genres, language, date and lengths. Intervals are the middle 95 % of 2,000 bootstrap resamples of the
measured films; differences are paired. Errors are in rating points of 10.

The progress is on standard error, the figures are on standard output. The result is 2 when nothing can be measured.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.baselines import ALL_BASELINES, PLAIN_LIGHTGBM, baseline_predictions
from benchmarks.catalogues import Catalogue, existing_file, read
from benchmarks.common import add_config_argument, figures_console, training_config
from movie_platform.rating_model import plots
from movie_platform.rating_model.bootstrap import Estimate, rmse, rmse_difference
from movie_platform.rating_model.config import TrainingConfig
from movie_platform.rating_model.evaluation import BASELINES, Evaluation, figures, figures_of, predict_hold_out
from movie_platform.rating_model.films import MIN_FILMS, MIN_VOTES, SITUATIONS, Situation, latest_films
from movie_platform.rating_model.slices import OTHERS, Slice, slices
from movie_platform.rating_model.training import train
from movie_platform.tmdb.reference import parse_date

__all__ = ["NothingToMeasureError", "Quality", "Requirement", "Split", "main", "measure", "split"]

MODEL: Final = "model"

_PROGRESS = Console(stderr=True, highlight=False, soft_wrap=True)

_RMSE: Final[Mapping[Situation, tuple[float, float]]] = {"unreleased": (0.726, 0.715), "released": (0.658, 0.64)}
"""The most that the design allows, and its goal; on releases from 2020 of a catalogue of 22,184 films."""
_COVERAGE: Final = (0.77, 0.83)
_COVERAGE_OF_YEAR: Final = (0.75, 0.85)
_FILMS_OF_YEAR: Final = 250
"""Years with fewer films may deviate."""


class NothingToMeasureError(ValueError):
    """There are no films to train on or to measure, or they do not belong together. The message names the remedy."""


@dataclass(frozen=True)
class Split:
    """The films that are trained on, those that are measured, and how many there were beside them, by reason.

    Both are tables as ``latest_films`` gives them, and no film is in both.
    """

    trained_on: pd.DataFrame
    measured: pd.DataFrame
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Quality:
    """What was measured. ``rmse`` and ``model_minus`` are by situation and name: the model's, and of all baselines."""

    evaluation: Evaluation
    rmse: Mapping[Situation, Mapping[str, Estimate]]
    model_minus: Mapping[Situation, Mapping[str, Estimate]]
    slices: Sequence[Slice]


@dataclass(frozen=True)
class Requirement:
    """What the design asks of a figure: that it lies in lowest..highest, and at best not above the goal."""

    name: str
    found: float
    lowest: float | None
    highest: float
    goal: float | None = None

    @property
    def verdict(self) -> str:
        """Whether it does, in words."""
        if self.found > self.highest or (self.lowest is not None and self.found < self.lowest):
            return "not reached"
        return "goal reached" if self.goal is not None and self.found <= self.goal else "reached"

    @property
    def limits(self) -> str:
        """The limits in words."""
        limits = f"at most {self.highest:g}" if self.lowest is None else f"{self.lowest:g} to {self.highest:g}"
        return limits if self.goal is None else f"{limits}, goal {self.goal:g}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "name": self.name,
            "found": self.found,
            "lowest": self.lowest,
            "highest": self.highest,
            "goal": self.goal,
            "verdict": self.verdict,
        }


def split(catalogues: Sequence[pd.DataFrame], *, train_until: date, evaluate: pd.DataFrame | None = None) -> Split:
    """Part the films at the day: those released up to it are trained on, later ones are measured.

    All are tables of ``to_films``. With ``evaluate``, only its films are measured, without those that are trained on
    under another date. Raises NothingToMeasureError.
    """
    known, counts = _with_enough_votes("catalogues", catalogues)
    trained_on = known[_until(known, train_until)].reset_index(drop=True)
    if len(trained_on) < MIN_FILMS:
        raise NothingToMeasureError(
            f"{len(trained_on)} films with at least {MIN_VOTES} votes were released up to {train_until}, and at least "
            f"{MIN_FILMS} are needed to train on: name a later --train-until or another --catalogue"
        )
    asked, where = known, "the catalogues"
    if evaluate is not None:
        asked, of_file = _with_enough_votes("evaluate", [evaluate])
        where = "the file of --evaluate"
        counts |= of_file
        counts["evaluate: left out, released up to the day"] = int(_until(asked, train_until).sum())
    later = asked[~_until(asked, train_until)]
    measured = later[~later["id"].isin(trained_on["id"])].reset_index(drop=True)
    if evaluate is not None:
        counts["evaluate: left out, trained on under an earlier date"] = len(later) - len(measured)
        counts["evaluate: measured, in a catalogue too"] = int(measured["id"].isin(known["id"]).sum())
        counts["catalogues: released later, not used"] = int((~_until(known, train_until)).sum())
    if measured.empty:
        newest = "it has none at all" if asked.empty else f"the newest is of {asked['release_date'].max():%Y-%m-%d}"
        raise NothingToMeasureError(
            f"no film of {where} is left to measure: none with at least {MIN_VOTES} votes that is not trained on was "
            f"released after {train_until} ({newest}); name an earlier --train-until or another file"
        )
    if pd.concat([trained_on["synthetic"], measured["synthetic"]]).nunique() > 1:
        raise NothingToMeasureError("films of the built-in catalogue and real ones are mixed: give files of one kind")
    return Split(trained_on, measured, counts)


def _with_enough_votes(name: str, tables: Sequence[pd.DataFrame]) -> tuple[pd.DataFrame, dict[str, int]]:
    """The films of the tables with enough votes, one row each, and the counts of all."""
    rows, films = sum(map(len, tables)), len({identity for table in tables for identity in table["id"]})
    if not rows:
        raise NothingToMeasureError(f"{name}: no film can be used; see why they are refused, or name another file")
    enough = latest_films(tables)
    counts = {f"{name}: films": films, f"{name}: with fewer than {MIN_VOTES} votes": films - len(enough)}
    return enough, counts | ({f"{name}: rows that a later file replaces": rows - films} if len(tables) > 1 else {})


def _until(films: pd.DataFrame, day: date) -> "pd.Series[bool]":
    return films["release_date"] <= pd.Timestamp(day)


def measure(films: Split, config: TrainingConfig, *, threads: int = 1) -> Quality:
    """Train on the one part, measure on the other, beside the baselines. Raises ValueError as ``train`` does."""
    holdout = films.measured
    with _stage(f"training on {len(films.trained_on):,} films"):
        model = train(films.trained_on, config, threads=threads)
        predictions = predict_hold_out(model, holdout, threads=threads)
    with _stage("baselines"):
        baselines = baseline_predictions(films.trained_on, holdout, threads=threads)
    with _stage(f"figures of {len(holdout):,} later films, and how far they may be chance"):
        actual = predictions["actual"].to_numpy()
        answers = {
            situation: {
                MODEL: predictions[f"{situation}_prediction"].to_numpy(),
                **{name: baselines[name][situation] for name in ALL_BASELINES},
            }
            for situation in SITUATIONS
        }
        return Quality(
            evaluation=Evaluation(
                holdout_start=holdout["release_date"].min().date(),
                until=holdout["release_date"].max().date() + timedelta(days=1),
                widened=False,
                figures={
                    situation: {
                        MODEL: figures_of(predictions, situation),
                        **{name: figures(actual, of_all[name]) for name in ALL_BASELINES},
                    }
                    for situation, of_all in answers.items()
                },
                predictions=predictions.assign(**{name: baselines[name]["unreleased"] for name in BASELINES}),
                model=model,
            ),
            rmse={
                situation: {name: rmse(predicted - actual) for name, predicted in of_all.items()}
                for situation, of_all in answers.items()
            },
            model_minus={
                situation: {
                    name: rmse_difference(of_all[MODEL] - actual, of_all[name] - actual) for name in ALL_BASELINES
                }
                for situation, of_all in answers.items()
            },
            slices=slices(predictions, holdout),
        )


def requirements(quality: Quality) -> list[Requirement]:
    """Return what the design asks for, beside what was found."""
    asked = []
    for situation in SITUATIONS:
        found = quality.evaluation.figures[situation][MODEL]
        highest, goal = _RMSE[situation]
        asked.append(Requirement(f"{situation}: RMSE", found["rmse"], None, highest, goal))
        name = f"{situation}: share inside the interval"
        asked.append(Requirement(name, found["interval_coverage"], *_COVERAGE))
        asked += [
            Requirement(f"{name}, {part.name}", part.figures["interval_coverage"], *_COVERAGE_OF_YEAR)
            for part in quality.slices
            if part.dimension == "year" and part.name != OTHERS and part.situation == situation
            if part.films >= _FILMS_OF_YEAR
        ]
    least = quality.model_minus["unreleased"][PLAIN_LIGHTGBM].high
    asked.append(Requirement("unreleased: RMSE minus plain LightGBM's, upper end of 95 %", least, None, 0))
    return asked


def _document(files: Mapping[str, Any], films: Split, quality: Quality) -> dict[str, Any]:
    measured = quality.evaluation

    def one(situation: Situation, name: str) -> dict[str, Any]:
        return {
            **measured.figures[situation][name],
            "rmse_interval": _ends(quality.rmse[situation][name]),
        }

    return {
        **files,
        "counts": dict(films.counts),
        "trained_on": measured.model.trained_on.model_dump(mode="json"),
        "measured": {
            "films": len(films.measured),
            "first_release_date": measured.holdout_start.isoformat(),
            "last_release_date": (measured.until - timedelta(days=1)).isoformat(),
        },
        "config": measured.model.config.model_dump(mode="json"),
        **{situation: one(situation, MODEL) for situation in SITUATIONS},
        "baselines": {
            name: {
                situation: {
                    **one(situation, name),
                    "model_minus_this": quality.model_minus[situation][name].to_dict(),
                }
                for situation in SITUATIONS
            }
            for name in ALL_BASELINES
        },
        "slices": [part.to_dict() for part in quality.slices],
        "requirements": [asked.to_dict() for asked in requirements(quality)],
    }


def _ends(estimate: Estimate) -> dict[str, float]:
    return {"low": estimate.low, "high": estimate.high}


def _print(train_until: date, quality: Quality) -> None:
    console = figures_console()
    measured = quality.evaluation
    seen = measured.model.trained_on
    console.print(
        f"Trained on {seen.films:,} films released {seen.first_release_date} to {seen.last_release_date}, measured on "
        f"{len(measured.predictions):,} released {measured.holdout_start} to {measured.until - timedelta(days=1)}."
        + (" The films are invented." if seen.synthetic else ""),
        soft_wrap=True,
    )
    for situation in SITUATIONS:
        console.print(_overall(quality, situation))
    console.print(_of_slices(quality.slices))
    table = _table(f"What the design asks for (trained until 2019-12-31; here: {train_until})", "figure", "limits")
    table.add_column("found", justify="right")
    table.add_column("")
    for asked in requirements(quality):
        style = "bold red" if asked.verdict == "not reached" else None
        table.add_row(asked.name, asked.limits, f"{asked.found:.3f}", asked.verdict, style=style)
    console.print(table)


def _overall(quality: Quality, situation: Situation) -> Table:
    table = _table(f"Asked about as {situation}", "")
    for name in ("RMSE", "95 %", "model minus it", "95 %", "MAE", "R2", "rank corr.", "bias", "inside", "width"):
        table.add_column(name, justify="right")
    for name, found in quality.evaluation.figures[situation].items():
        minus = quality.model_minus[situation].get(name)
        table.add_row(
            name.replace("_", " "),
            f"{found['rmse']:.3f}",
            _range(quality.rmse[situation][name]),
            *((f"{minus.value:+.3f}", _range(minus, sign="+")) if minus else ("", "")),
            f"{found['mae']:.3f}",
            *(f"{found[metric]:.3f}" if metric in found else "" for metric in ("r2", "spearman")),
            f"{found['bias']:+.3f}",
            *((f"{found['interval_coverage']:.1%}", f"{found['interval_width']:.2f}") if name == MODEL else ("", "")),
        )
    return table


def _of_slices(parts: Sequence[Slice]) -> Table:
    table = _table("The model by part of the films, as unreleased and as released", "by", "part")
    for name in ("films", *("RMSE", "95 %", "bias", "inside") * 2):
        table.add_column(name, justify="right")
    by_situation = [[part for part in parts if part.situation == situation] for situation in SITUATIONS]
    before = ""
    for pair in zip(*by_situation, strict=True):
        first = pair[0]
        figures = [
            text
            for part in pair
            for text in (
                f"{part.rmse.value:.3f}",
                _range(part.rmse),
                f"{part.figures['bias']:+.3f}",
                f"{part.figures['interval_coverage']:.1%}",
            )
        ]
        shown = first.dimension if first.dimension != before else ""
        table.add_row(shown, first.name, f"{first.films:,}", *figures)
        before = first.dimension
    return table


def _table(title: str, *columns: str) -> Table:
    return Table(*columns, title=title, title_justify="left", box=box.SIMPLE, pad_edge=False, collapse_padding=True)


def _range(estimate: Estimate, *, sign: str = "") -> str:
    return f"{estimate.low:{sign}.3f} {estimate.high:{sign}.3f}"


@contextmanager
def _stage(what: str) -> Iterator[None]:
    begun = time.monotonic()
    with _PROGRESS.status(what):
        yield
    _PROGRESS.print(f"{what}: {time.monotonic() - begun:.1f} s", markup=False)


def _read(path: Path) -> Catalogue:
    with _stage(f"reading {path}"):
        found = read(path)
    if found.refused:
        reasons = ", ".join(f"{reason} ({count:,})" for reason, count in found.refused.items())
        _PROGRESS.print(f"  {sum(found.refused.values()):,} of {found.items:,} items refused: {reasons}", markup=False)
    return found


def _day(text: str) -> date:
    day = parse_date(text)
    if day is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day; write one like 2019-12-31")
    return day


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.model_quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--catalogue",
        type=existing_file,
        action="append",
        required=True,
        metavar="FILE",
        help="one TMDB item a line, gzip or not, as of TMDB_CATALOGUE; may be given several times",
    )
    parser.add_argument(
        "--train-until", type=_day, required=True, metavar="DAY", help="the last day of release to train on"
    )
    parser.add_argument("--evaluate", type=existing_file, metavar="FILE", help="measure only on films of this file")
    add_config_argument(parser)
    parser.add_argument("--threads", type=int, default=1, help="of LightGBM; figures do not depend on them")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw predicted and actual ratings")
    parser.add_argument("--json", action="store_true", help="print the figures for programs, not rounded")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print. The result is 2 when nothing could be measured."""
    try:
        return _run(_parser().parse_args(arguments))
    except (ValueError, OSError) as error:
        _PROGRESS.print(f"Error: {error}", markup=False)
    except KeyboardInterrupt:
        _PROGRESS.print("interrupted")
    return 2


def _run(arguments: argparse.Namespace) -> int:
    config = training_config(arguments.config)
    catalogues = [_read(path) for path in arguments.catalogue]
    evaluate = None if arguments.evaluate is None else _read(arguments.evaluate)
    films = split(
        [catalogue.films for catalogue in catalogues],
        train_until=arguments.train_until,
        evaluate=None if evaluate is None else evaluate.films,
    )
    for what, count in films.counts.items():
        _PROGRESS.print(f"  {what}: {count:,}")
    quality = measure(films, config, threads=arguments.threads)
    if arguments.json:
        files = {
            "train_until": arguments.train_until.isoformat(),
            "catalogues": [catalogue.to_dict() for catalogue in catalogues],
            "evaluate": None if evaluate is None else evaluate.to_dict(),
        }
        print(json.dumps(_document(files, films, quality), indent=1, allow_nan=False))  # noqa: T201
    else:
        _print(arguments.train_until, quality)
    if arguments.plot is not None:  # last, so that a folder that is not there does not cost the figures
        arguments.plot.write_bytes(plots.predicted_against_actual(quality.evaluation))
    return 0


if __name__ == "__main__":
    sys.exit(main())
