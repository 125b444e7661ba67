"""The measurement of the model: which films it trains on and measures, and what it says of them."""

import gzip
import json
import re
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.baselines import ALL_BASELINES
from benchmarks.catalogues import read
from benchmarks.model_quality import NothingToMeasureError, Quality, Requirement, Split, main, measure, split
from movie_platform.rating_model.config import TrainingConfig
from movie_platform.rating_model.films import SITUATIONS
from movie_platform.rating_model.training import train
from movie_platform.tmdb.reference import GENRES
from movie_platform_tests.rating_model.examples import example_films

UNTIL = date(2009, 12, 31)
SMALL = {
    "trees": 30,
    "averaged_models": 1,
    "min_rows_in_leaf": 10,
    "calibration_min_films": 60,
    "learning_rate": 0.1,
    "folds": 2,
}
OPTIONS = [f"--config={name}={value}" for name, value in SMALL.items()]
FIGURES = {"rmse", "mae", "r2", "spearman", "bias", "interval_coverage", "interval_width"}

Item = dict[str, Any]
Write = Callable[[str, Sequence[Item]], Path]


def items_of(films: pd.DataFrame) -> list[Item]:
    """Films as TMDB sends them."""
    ids = {name: identity for identity, name in GENRES.items()}
    return [
        {
            **{name: row[name] for name in ("id", "title", "original_title", "overview", "original_language")},
            **{name: row[name] for name in ("popularity", "vote_average", "vote_count", "synthetic")},
            "release_date": row["release_date"].strftime("%Y-%m-%d"),
            "genre_ids": [ids[name] for name in row["genres"]],
            "poster_path": None,
        }
        for row in films.to_dict("records")
    ]


FILMS = items_of(example_films(600))


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Write items as JSON lines, compressed when the name ends so."""
    folder = tmp_path_factory.mktemp("catalogues")

    def written(name: str, items: Sequence[Item]) -> Path:
        lines = "".join(f"{json.dumps(item)}\n" for item in items).encode()
        path = folder / name
        path.write_bytes(gzip.compress(lines) if name.endswith(".gz") else lines)
        return path

    return written


@pytest.fixture
def table(write: Write) -> Callable[..., pd.DataFrame]:
    """The films of items, through a file and preprocessing."""
    return lambda *items: read(write("films.jsonl", items)).films


def ids(films: pd.DataFrame) -> set[int]:
    return set(films["id"].tolist())


def released(item: Item, day: str, **changes: Any) -> Item:
    return {**item, "release_date": day, **changes}


# --- which films ----------------------------------------------------------------------------------


def test_the_day_itself_is_trained_on_and_the_next_is_measured(table):
    on_it, after = released(FILMS[0], "2009-12-31"), released(FILMS[1], "2010-01-01")
    parts = split([table(on_it, after, *FILMS[2:])], train_until=UNTIL)
    assert on_it["id"] in ids(parts.trained_on)
    assert after["id"] in ids(parts.measured)
    assert parts.trained_on["release_date"].max() == pd.Timestamp("2009-12-31")
    assert parts.measured["release_date"].min() == pd.Timestamp("2010-01-01")
    assert ids(parts.trained_on) | ids(parts.measured) == {item["id"] for item in FILMS}
    assert not ids(parts.trained_on) & ids(parts.measured)


def test_a_cut_off_a_year_earlier_moves_exactly_that_year(table):
    films = table(*FILMS)
    later, earlier = (split([films], train_until=day) for day in (UNTIL, date(2008, 12, 31)))
    of_year = {item["id"] for item in FILMS if item["release_date"].startswith("2009-")}
    assert of_year
    assert ids(later.trained_on) - ids(earlier.trained_on) == of_year == ids(earlier.measured) - ids(later.measured)
    assert ids(earlier.trained_on) < ids(later.trained_on)


def test_films_with_fewer_than_10_votes_are_neither_trained_on_nor_measured(table):
    few, enough = {"vote_count": 9}, {"vote_count": 10}
    changed = [
        released(FILMS[0], "2000-01-01", **few),
        released(FILMS[1], "2020-01-01", **few),
        released(FILMS[2], "2000-01-01", **enough),
        released(FILMS[3], "2020-01-01", **enough),
    ]
    parts = split([table(*changed, *FILMS[4:])], train_until=UNTIL)
    both = ids(parts.trained_on) | ids(parts.measured)
    assert {item["id"] for item in changed} & both == {changed[2]["id"], changed[3]["id"]}
    assert parts.counts == {"catalogues: films": 600, "catalogues: with fewer than 10 votes": 2}


def test_of_two_catalogues_the_later_ones_row_counts(table):
    """Its rating, its date, and its votes when they are too few."""
    first = table(*FILMS)
    second = table(
        released(FILMS[0], "2000-02-02", vote_average=1.5),
        released(FILMS[1], "2021-01-01"),
        released(FILMS[2], "2000-01-01", vote_count=3),
    )
    parts = split([first, second], train_until=UNTIL)
    (row,) = parts.trained_on[parts.trained_on["id"] == FILMS[0]["id"]].to_dict("records")
    assert row["vote_average"] == 1.5
    assert row["release_date"] == pd.Timestamp("2000-02-02")
    assert FILMS[1]["id"] in ids(parts.measured) - ids(parts.trained_on)
    assert FILMS[2]["id"] not in ids(parts.trained_on) | ids(parts.measured)
    assert parts.counts["catalogues: rows that a later file replaces"] == 3
    assert parts.counts["catalogues: films"] == 600


def test_of_a_file_to_evaluate_no_film_that_is_trained_on_is_measured(table):
    """Neither one released in time, nor one that the catalogue dates earlier."""
    catalogue = table(released(FILMS[0], "2009-06-01"), released(FILMS[1], "2015-01-01"), *FILMS[2:])
    new = {**FILMS[0], "id": 9_000_001}
    held_back = [
        released(FILMS[0], "2012-01-01"),  # trained on under its earlier date
        released(FILMS[1], "2015-01-01", vote_average=2.5),  # in the catalogue too, but later
        released(new, "2016-01-01"),
        released({**new, "id": 9_000_002}, "2009-12-31"),
        released({**new, "id": 9_000_003}, "2016-01-01", vote_count=9),
    ]
    parts = split([catalogue], train_until=UNTIL, evaluate=table(*held_back))
    assert parts.measured["id"].tolist() == [FILMS[1]["id"], 9_000_001]
    assert parts.measured["vote_average"].tolist() == [2.5, new["vote_average"]]
    assert ids(parts.trained_on) == {
        row.id for row in catalogue.itertuples() if row.release_date <= pd.Timestamp(UNTIL)
    }
    assert {name: count for name, count in parts.counts.items() if name.startswith("evaluate")} == {
        "evaluate: films": 5,
        "evaluate: with fewer than 10 votes": 1,
        "evaluate: left out, released up to the day": 1,
        "evaluate: left out, trained on under an earlier date": 1,
        "evaluate: measured, in a catalogue too": 1,
    }


@pytest.mark.parametrize(
    ("until", "evaluate", "message"),
    [
        (date(1979, 12, 31), None, "0 films .* up to 1979-12-31, and at least 100 .* name a later --train-until"),
        (date(2030, 1, 1), None, r"no film of the catalogues .* after 2030-01-01 \(the newest is of 2023-"),
        (UNTIL, [released(FILMS[0], "2002-03-04")], r"no film of the file of --evaluate .* \(the newest is of 2002-"),
        (UNTIL, [{**FILMS[0], "vote_count": 0}], r"--evaluate .* \(it has none at all\)"),
        (UNTIL, [{**FILMS[0], "title": None}], "evaluate: no film can be used"),
        (UNTIL, [released({**FILMS[0], "id": 1}, "2020-01-01", synthetic=False)], "are mixed"),
    ],
)
def test_what_cannot_be_measured_is_refused(table, until: date, evaluate: list[Item] | None, message: str):
    with pytest.raises(NothingToMeasureError, match=message):
        split(
            [table(*FILMS)],
            train_until=until,
            evaluate=None if evaluate is None else table(*evaluate),
        )


# --- the figures ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def parts(write: Write) -> Split:
    return split([read(write("all.jsonl", FILMS)).films], train_until=UNTIL)


@pytest.fixture(scope="module")
def quality(parts: Split) -> Quality:
    return measure(parts, TrainingConfig(**SMALL))


def test_the_figures_are_those_of_the_platforms_own_training(parts: Split, quality: Quality):
    model = train(parts.trained_on, TrainingConfig(**SMALL))
    for situation in SITUATIONS:
        predicted = model.predict(parts.measured, situation=situation)
        errors = predicted["prediction"] - parts.measured["vote_average"]
        inside = parts.measured["vote_average"].between(predicted["low"], predicted["high"])
        found = quality.evaluation.figures[situation]["model"]
        assert found["rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-12)
        assert found["interval_coverage"] == inside.mean()


def test_the_mean_by_hand_and_how_far_the_model_is_below_it(parts: Split, quality: Quality):
    errors = parts.measured["vote_average"] - parts.trained_on["vote_average"].mean()
    expected = float(np.sqrt(np.mean(errors**2)))
    for situation in SITUATIONS:
        model, mean = (quality.rmse[situation][name] for name in ("model", "global_mean"))
        difference = quality.model_minus[situation]["global_mean"]
        assert mean.value == pytest.approx(expected, rel=1e-12)
        assert model.low < model.value < model.high
        assert difference.low < difference.value < difference.high < 0
        assert difference.value == pytest.approx(model.value - mean.value)


def test_only_votes_make_a_difference_between_the_situations_of_a_baseline(quality: Quality):
    """The earlier design has them, and is asked without."""
    unreleased, released = (quality.rmse[situation] for situation in SITUATIONS)
    assert unreleased["plain_lightgbm"] == released["plain_lightgbm"]
    assert unreleased["earlier_design"].value != released["earlier_design"].value


def test_what_became_of_the_measured_films_moves_no_prediction(parts: Split, quality: Quality):
    """Their ratings move none; their votes and popularity none of them as unreleased."""
    reversed_rows = parts.measured.iloc[::-1]
    swapped = parts.measured.assign(
        **{name: reversed_rows[name].to_numpy() for name in ("vote_average", "vote_count", "popularity")}
    )
    again = measure(Split(parts.trained_on, swapped, {}), quality.evaluation.model.config).evaluation.predictions
    before = quality.evaluation.predictions
    unreleased = ["unreleased_prediction", "unreleased_low", "unreleased_high"]
    pd.testing.assert_frame_equal(again[unreleased], before[unreleased])
    assert not again["released_prediction"].equals(before["released_prediction"])
    assert again[["global_mean", "genre_mean"]].equals(before[["global_mean", "genre_mean"]])


@pytest.mark.parametrize(
    ("found", "lowest", "goal", "verdict", "limits"),
    [
        (0.7, None, 0.715, "goal reached", "at most 0.726, goal 0.715"),
        (0.715, None, 0.715, "goal reached", "at most 0.726, goal 0.715"),
        (0.726, None, 0.715, "reached", "at most 0.726, goal 0.715"),
        (0.7261, None, 0.715, "not reached", "at most 0.726, goal 0.715"),
        (0.5, 0.6, None, "not reached", "0.6 to 0.726"),
        (0.6, 0.6, None, "reached", "0.6 to 0.726"),
    ],
)
def test_a_requirement_in_words(found: float, lowest: float | None, goal: float | None, verdict: str, limits: str):
    requirement = Requirement("a figure", found, lowest, 0.726, goal)
    assert (requirement.verdict, requirement.limits) == (verdict, limits)


# --- the command ----------------------------------------------------------------------------------


def test_the_json_alone_is_on_standard_output(write: Write, capsys: pytest.CaptureFixture[str], quality: Quality):
    """Of two files, one of them compressed and with films that nobody can use; with the paths that programs read."""
    unusable = [
        {**FILMS[0], "id": 1, "title": ""},
        {**FILMS[0], "id": 2, "release_date": "soon"},
        {**FILMS[0], "id": 3, "release_date": "1066-10-14"},
        {"id": 4},
        {**FILMS[0], "vote_average": 99},
    ]
    files = [write("half.jsonl", FILMS[:300]), write("rest.jsonl.gz", [*unusable, *FILMS[299:]])]
    named = [f"--catalogue={file}" for file in files]
    assert main([*named, f"--train-until={UNTIL}", "--json", *OPTIONS]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)

    figures = quality.evaluation.figures
    for situation in SITUATIONS:
        assert {name: document[situation][name] for name in FIGURES} == figures[situation]["model"]
        for name in ALL_BASELINES:
            of_baseline = document["baselines"][name][situation]
            assert of_baseline["rmse"] == figures[situation][name]["rmse"]
            assert of_baseline["model_minus_this"] == quality.model_minus[situation][name].to_dict()
    assert document["slices"] == [part.to_dict() for part in quality.slices]
    assert {part["dimension"] for part in document["slices"]} == {"votes", "year", "language", "genre"}
    assert "at least 50" in {part["name"] for part in document["slices"]}
    assert document["config"]["trees"] == SMALL["trees"]
    assert document["counts"]["catalogues: rows that a later file replaces"] == 1
    assert document["trained_on"]["films"] + document["measured"]["films"] == 600
    assert document["catalogues"][0]["refused"] == {}
    assert document["catalogues"][1]["usable"] == 301
    assert document["catalogues"][1]["refused"] == {
        "title is missing": 2,
        "release_date is not a date": 1,
        "vote_average is outside 0..10": 1,
        "release_date is outside 1870..2200": 1,
    }
    assert {asked["name"] for asked in document["requirements"]} >= {
        "unreleased: RMSE",
        "released: share inside the interval",
    }
    assert "training on" in err
    assert "5 of 306 items refused: title is missing (2)" in err


def test_a_table_for_people_and_a_picture(write: Write, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Measured on one film alone, of which most figures do not exist."""
    catalogue, held_back = (
        write("all.jsonl", FILMS),
        write("one.jsonl", [released({**FILMS[0], "id": 1}, "2020-05-05")]),
    )
    picture = tmp_path / "picture.png"
    options = [f"--catalogue={catalogue}", f"--evaluate={held_back}", f"--train-until={UNTIL}", f"--plot={picture}"]
    assert main([*options, *OPTIONS]) == 0
    out = capsys.readouterr().out
    assert "measured on 1 released 2020-05-05 to 2020-05-05. The films are invented." in out
    for words in (*ALL_BASELINES, "Asked about as unreleased", "Asked about as released", "model minus it"):
        assert words.replace("_", " ") in out
    assert re.search(r"unreleased: RMSE +at most 0.726, goal 0.715 +\d\.\d{3} +(not |goal )?reached", out)
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (None, ["--train-until=2009-12-31"], "is not a file; give one with a TMDB item a line"),
        (b"{}\n", ["--train-until=2009-12-32"], "'2009-12-32' is not a day; write one like 2019-12-31"),
        (b"{}\n", [], "required: --train-until"),
        (b"", ["--train-until=2009-12-31"], "no items"),
        (b"[1]\n", ["--train-until=2009-12-31"], "line 1: a list, not an object"),
        (b"\x1f\x8bnot gzip", ["--train-until=2009-12-31"], "the compressed data is damaged"),
        (b"{}\n", ["--train-until=2009-12-31"], "no film can be used"),
        (b"{}\n", ["--train-until=2009-12-31", "--config=tree=3"], "tree: .*field=value with a field of Train"),
        (b"{}\n", ["--train-until=2009-12-31", "--config=trees=many"], "trees: "),
        (json.dumps(FILMS[0]).encode(), ["--train-until=2009-12-31"], "at least 100 are needed to train on"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(
    content: bytes | None,
    options: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    file = tmp_path / "films.jsonl"
    if content is not None:
        file.write_bytes(content)
    try:
        result: Any = main([f"--catalogue={file}", *options])
    except SystemExit as ended:  # argparse's own
        result = ended.code
    out, err = capsys.readouterr()
    assert (result, out) == (2, "")
    assert re.search(message, err)
    assert "Traceback" not in err
