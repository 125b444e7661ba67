"""The model card: each sentence follows from the numbers, and says so when there is nothing to say."""

import json
import subprocess
import sys
from datetime import date
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from movie_platform.rating_model.bundle import Bundle, BundleMetadata
from movie_platform.rating_model.card import (
    ATTRIBUTION,
    Point,
    Section,
    Table,
    forecasts,
    limits,
    model_card,
    to_markdown,
)
from movie_platform.rating_model.evaluation import Evaluation, uncertainty
from movie_platform.rating_model.measured import JudgedForecasts, MeasuredInDetail
from movie_platform.rating_model.slices import slices

DAY = date(2026, 1, 5)


def figures(rmse: float = 0.7, *, bias: float = 0.0, coverage: float = 0.8) -> dict[str, float]:
    return {"rmse": rmse, "mae": 0.5, "bias": bias, "interval_coverage": coverage, "spearman": 0.5}


def estimate(value: float, spread: float = 0.02) -> dict[str, float]:
    return {"value": value, "low": value - spread, "high": value + spread}


def part(dimension: str, name: str, *, films: int = 100, low: float = 0.6, **changed: float) -> list[dict[str, Any]]:
    """A slice in both situations, which differs in no way from all films unless something is changed."""
    of_slice = figures(**changed)
    rmse = {"value": of_slice["rmse"], "low": low, "high": 2 * of_slice["rmse"] - low}
    return [
        {"dimension": dimension, "name": name, "situation": s, "films": films, "figures": of_slice, "rmse": rmse}
        for s in ("unreleased", "released")
    ]


VOTES = [*part("votes", "at least 50"), *part("votes", "fewer than 50")]


def measured(
    *parts: dict[str, Any], difference: float = -0.1, coverage: float = 0.8, films: int = 500, **changed: Any
) -> MeasuredInDetail:
    """A day whose model has an RMSE of 0.7 (or so), both means one that is higher by the difference."""
    models = {"model": figures(coverage=coverage), "genre_mean": figures(0.8), "global_mean": figures(0.85)}
    rmse = {name: estimate(found["rmse"]) for name, found in models.items()}
    minus = {name: estimate(difference) for name in ("genre_mean", "global_mean")}
    document = {
        "partition": str(DAY),
        "bundle_sha256": "ab" * 32,
        "synthetic": True,
        "holdout": {"start": "2023-01-05", "until": "2025-01-05", "films": films},
        "figures": {"unreleased": models, "released": models},
        "bootstrap": {
            "level": 0.95,
            "rmse": {"unreleased": rmse, "released": rmse},
            "difference": {"unreleased": minus, "released": minus},
        },
        "slices": [*VOTES, *parts],
        **changed,
    }
    return MeasuredInDetail.model_validate_json(json.dumps(document))


@pytest.fixture
def metadata(bundle: Bundle) -> BundleMetadata:
    return bundle.metadata


def real(metadata: BundleMetadata) -> BundleMetadata:
    """The same, of films that are not invented."""
    return metadata.model_copy(update={"trained_on": metadata.trained_on.model_copy(update={"synthetic": False})})


def section(found: tuple[Section, ...], name: str) -> Section:
    (one,) = (section for section in found if section.name == name)
    return one


def words(found: Section) -> str:
    """All paragraphs and points of a section; no tables."""
    texts: list[str] = []
    for block in found.blocks:
        if isinstance(block, str):
            texts.append(block)
        elif not isinstance(block, Table):
            texts += [f"{point.lead} {point.text}" for point in block]
    return "\n".join(texts)


def tables(found: Section) -> list[Table]:
    return [block for block in found.blocks if isinstance(block, Table)]


def weak(metadata: BundleMetadata, *parts: dict[str, Any], **changed: Any) -> dict[str, str]:
    """The points on what is weak, by what they are about."""
    found = section(model_card(metadata, measured(*parts, **changed)), "weak")
    return {
        point.lead: point.text
        for block in found.blocks
        if not isinstance(block, str | Table)
        for point in block
        if isinstance(point, Point)
    }


# --- where it is weak -----------------------------------------------------------------------------

WORSE = "Before release, further off than its 0.700 overall:"
BIASED = "Before release, too high or too low on average (all films: +0.00):"
NARROW = "After release, interval too narrow:"


def test_without_a_weak_part_the_card_says_so(metadata: BundleMetadata):
    found = weak(metadata, *part("genre", "Drama"))
    assert found[WORSE] == found[BIASED] == "no part, beyond chance."
    assert found[NARROW] == "for no part, beyond chance."


def test_a_part_whose_interval_lies_above_the_overall_rmse_is_named(metadata: BundleMetadata):
    found = weak(
        metadata,
        *part("genre", "Horror", rmse=0.9, low=0.71, films=61),
        *part("language", "ja", rmse=1.1, low=0.8, films=40),
        *part("year", "2024", rmse=0.9, low=0.69),
    )
    assert found[WORSE] == (
        "language ja: RMSE 1.100 (0.800 to 1.400), 40 films; genre Horror: RMSE 0.900 (0.710 to 1.090), 61 films."
    )


def test_only_the_worst_are_named_and_the_others_counted(metadata: BundleMetadata):
    parts = [one for number in range(7) for one in part("language", f"l{number}", rmse=0.8 + number / 10, low=0.75)]
    found = weak(metadata, *parts)[WORSE]
    assert found.startswith("language l6: ")
    assert found.endswith("; and 2 other parts.")
    assert "l1:" not in found


def test_a_part_that_is_too_high_on_average_is_named_only_beyond_chance(metadata: BundleMetadata):
    """Of 100 films with a standard deviation of 0.7, a mean of 0.15 is beyond 1.96 standard errors, 0.13 is not."""
    found = weak(metadata, *part("genre", "War", bias=0.15), *part("genre", "Music", bias=0.13))
    assert found[BIASED] == "genre War: +0.15 points, 100 films."
    found = weak(metadata, *part("year", "2023", bias=-0.15))
    assert found[BIASED] == "released in 2023: \N{MINUS SIGN}0.15 points, 100 films."


def test_a_part_whose_interval_is_too_narrow_is_named_only_beyond_chance(metadata: BundleMetadata):
    """Of 100 films, 73 % may be 80 % by chance (Wilson: up to 80.7 %), 72 % (up to 79.9 %) may not."""
    found = weak(metadata, *part("genre", "War", coverage=0.72), *part("genre", "Music", coverage=0.73))
    assert found[NARROW] == "genre War: holds 72 % instead of 80 %, 100 films."


def test_a_part_of_few_films_is_never_named(metadata: BundleMetadata):
    """One film's error has no spread: by the formulas it would always be beyond chance."""
    found = weak(metadata, *part("genre", "others", films=1, rmse=3.0, low=3.0, bias=3.0, coverage=0.0))
    assert found[WORSE] == found[BIASED] == "no part, beyond chance."
    assert found[NARROW] == "for no part, beyond chance."


def test_parts_without_a_name_of_their_own_are_put_into_words(metadata: BundleMetadata):
    for dimension, name, told in (
        ("language", "others", "languages of fewer than 25 films each"),
        ("genre", "unknown", "no genre"),
        ("votes", "fewer than 50", "fewer than 50 votes"),
    ):
        found = weak(
            metadata, *part(dimension, name, rmse=0.9, low=0.8), slices=part(dimension, name, rmse=0.9, low=0.8)
        )
        assert found[WORSE] == f"{told}: RMSE 0.900 (0.800 to 1.000), 100 films."


def test_films_with_few_votes_stand_beside_those_with_many(metadata: BundleMetadata):
    found = weak(metadata)
    assert found["Before release, by number of votes:"].startswith(
        "RMSE 0.700 (0.600 to 0.800) for at least 50 and RMSE 0.700 (0.600 to 0.800) for fewer than 50."
    )
    assert "Before release, by number of votes:" not in weak(metadata, slices=part("votes", "at least 50"))


def test_how_many_parts_would_be_named_by_chance_is_said(metadata: BundleMetadata):
    """One in forty, to one side."""
    parts = [one for number in range(38) for one in part("language", f"l{number}")]
    told = words(section(model_card(metadata, measured(*parts)), "weak"))
    assert "40 parts of the hold-out" in told
    assert "about 1.0 of so many" in told


def test_languages_and_genres_that_are_not_told_apart_are_named(metadata: BundleMetadata):
    found = weak(metadata)
    assert found["Other languages."].startswith("It tells 4 languages apart (de, en, fr, ja): ")
    assert found["Other genres."].startswith("It tells 6 genres apart (Action, Animation, ")


@pytest.mark.parametrize("old", [None, {"slices": None, "bootstrap": None}])
def test_a_day_without_parts_says_what_to_do(metadata: BundleMetadata, old: dict[str, Any] | None):
    found = model_card(metadata, None if old is None else measured(**old))
    assert "materialize metrics of its day again" in words(section(found, "weak"))


def test_what_is_rounded_to_nothing_is_not_below_nothing(metadata: BundleMetadata):
    (table,) = tables(section(model_card(metadata, measured(*part("genre", "War", bias=-0.004))), "weak"))
    assert table.rows[-1][3] == "+0.00"


def test_every_part_is_in_the_table(metadata: BundleMetadata):
    (table,) = tables(section(model_card(metadata, measured(*part("genre", "War", bias=0.5))), "weak"))
    assert [row[0] for row in table.rows] == ["at least 50 votes", "fewer than 50 votes", "genre War"]
    assert table.rows[-1][1:5] == ("100", "0.700 (0.600 to 0.800)", "+0.50", "80 %")
    assert {len(row) for row in table.rows} == {len(table.columns)}


# --- figures --------------------------------------------------------------------------------------


def test_figures_have_their_intervals_beside_the_baselines(metadata: BundleMetadata):
    before, after = tables(section(model_card(metadata, measured()), "figures"))
    assert (before.title, after.title) == ("Before release", "After release")
    minus = "\N{MINUS SIGN}0.100 (\N{MINUS SIGN}0.120 to \N{MINUS SIGN}0.080)"
    assert before.rows[0][:3] == ("Model", "0.700 (0.680 to 0.720)", "–")  # noqa: RUF001
    assert before.rows[1][:3] == ("Genre mean", "0.800 (0.780 to 0.820)", minus)
    assert before.rows[2][:3] == ("Mean of all", "0.850 (0.830 to 0.870)", minus)


@pytest.mark.parametrize(
    ("difference", "told"),
    [
        (-0.1, "it is better than both beyond chance."),
        (-0.01, "it is not better than both beyond chance."),
        (0.1, "it is worse than one of them beyond chance."),
    ],
)
def test_whether_it_beats_the_baselines_follows_from_the_intervals(
    metadata: BundleMetadata, difference: float, told: str
):
    found = words(section(model_card(metadata, measured(difference=difference)), "figures"))
    assert found.count(told) == 2


@pytest.mark.parametrize(
    ("coverage", "told"),
    [
        (0.8, "held 80 % of the ratings, which is what it says, within chance (76 % to 83 %)."),
        (0.7, "held 70 % of the ratings, fewer than it should, beyond chance (66 % to 74 %)."),
        (
            0.9,
            "held 90 % of the ratings, more than it should, beyond chance: it is wider than it need be (87 % to 92 %).",
        ),
    ],
)
def test_coverage_is_judged_against_its_level(metadata: BundleMetadata, coverage: float, told: str):
    assert told in words(section(model_card(metadata, measured(coverage=coverage)), "figures"))


def test_figures_of_an_earlier_version_are_shown_without_intervals(metadata: BundleMetadata):
    found = section(model_card(metadata, measured(bootstrap=None, slices=None)), "figures")
    assert "In brackets" not in words(found)
    assert "beyond chance." not in words(found)
    assert tables(found)[0].rows[1][:3] == ("Genre mean", "0.800", "–")  # noqa: RUF001


def test_a_model_without_figures_says_so(metadata: BundleMetadata):
    assert words(section(model_card(metadata, None), "figures")) == "There are no figures of this model."


# --- what it is made of, and for ------------------------------------------------------------------


def test_the_data_and_the_cut_off_are_those_of_the_bundle(metadata: BundleMetadata):
    missing = tuple(date(2025, 12, day) for day in range(1, 16))
    told = words(section(model_card(metadata.model_copy(update={"days_missing": missing}), None), "data"))
    trained_on = metadata.trained_on
    assert f"{trained_on.films:,} with at least 10 votes" in told
    assert f"released from {trained_on.first_release_date} to {trained_on.last_release_date}" in told
    assert "It is the model of 2026-01-05" in told
    assert "On 1 day, 2026-01-05." in told
    assert "2025-12-12, and 3 more." in told
    assert "overview 10 %" in told
    assert "No day of the look-back." in words(section(model_card(metadata, None), "data"))


def test_every_feature_has_a_row_and_a_reason(metadata: BundleMetadata):
    found = section(model_card(metadata, None), "features")
    (table,) = tables(found)
    assert words(found).startswith(f"{len(metadata.features)} features")
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["votes"][0] == rows["popularity"][0] == "only after release"
    assert {asked for name, (asked, _) in rows.items() if name not in {"votes", "popularity"}} == {"always"}
    assert "genre … (6)" in rows
    assert "language … (4)" in rows
    assert all(why for _, why in rows.values())


def test_a_feature_of_a_newer_version_is_named_as_unknown(metadata: BundleMetadata):
    found = metadata.model_copy(update={"features": (*metadata.features, "box office")})
    (table,) = tables(section(model_card(found, None), "features"))
    assert table.rows[-1][0] == "box office"
    assert "do not rely on it" in table.rows[-1][2]


def test_invented_films_are_named_as_such_and_tmdbs_terms_are_not_claimed(metadata: BundleMetadata):
    found = model_card(metadata, None)
    assert "Invented by the built-in catalogue" in words(section(found, "data"))
    assert "nothing of TMDB is in it" in words(section(found, "terms"))
    assert "it says nothing about real ones" in words(section(found, "limits"))
    assert ATTRIBUTION not in to_markdown(found, title="Card")


def test_real_films_bring_tmdbs_terms(metadata: BundleMetadata):
    found = model_card(real(metadata), None)
    told = words(section(found, "terms"))
    assert told.startswith(ATTRIBUTION)
    for term in ("Six months.", "Training needs permission.", "commercial use"):
        assert term in told
    assert "Commercial use" in words(section(found, "limits"))
    assert "nvented" not in to_markdown(found, title="Card")


@pytest.mark.parametrize("synthetic", [None, False, True])
def test_what_it_must_not_be_used_for_is_said_of_any_model(synthetic: bool | None):
    told = words(limits(synthetic=synthetic))
    for use in ("a person", "money or work", "another kind", "in for ratings", "why films succeed"):
        assert use in told


# --- forecasts ------------------------------------------------------------------------------------


def judged(**changed: Any) -> JudgedForecasts:
    row = {"films": 210, "rmse": 0.71, "bias": -0.05, "interval_coverage": 0.75}
    document = {
        "partition": "2026-06-30",
        "synthetic": False,
        "min_votes": 50,
        "level": 0.8,
        "figures": {"90": {"films": 0}, "30": row, "1": {**row, "films": 1}},
        "by_month": [{"month": "2026-04", "days_before": 30, **row}],
        "left_out": {"that day was never collected": 1_234},
        "outcomes": {"id": [1]},
        "expected": None,
        **changed,
    }
    return JudgedForecasts.model_validate_json(json.dumps(document))


def test_forecasts_have_figures_by_age_and_the_oldest_first():
    told = words(forecasts(judged())).split("\n")
    assert told[1] == "90 days before release. No film yet."
    assert told[2].startswith("30 days before release. Off by 0.71 points as a root mean square, on 210 films; ")
    assert "held 75 % (69 % to 80 % allowing for chance)" in told[2]
    assert told[3].startswith("1 day before release. ")
    assert "on 1 film;" in told[3]
    assert "1,234: that day was never collected." in told[4]
    (table,) = tables(forecasts(judged()))
    assert table.rows == (("2026-04", "30", "210", "0.710", "\N{MINUS SIGN}0.05", "75 %"),)


def test_before_there_is_any_outcome_the_card_says_when():
    nothing = {str(age): {"films": 0} for age in (90, 30, 1)}
    found = forecasts(judged(figures=nothing, by_month=[], left_out={}, expected="Forecasts begin on 2026-01-01."))
    assert words(found).endswith("Forecasts begin on 2026-01-01.")
    assert tables(found) == []
    assert "None" not in words(forecasts(judged(figures=nothing, by_month=[], expected=None)))


def test_invented_outcomes_are_named_as_such():
    assert "invented" in words(forecasts(judged(synthetic=True)))
    assert "invented" not in words(forecasts(judged()))


# --- Markdown -------------------------------------------------------------------------------------


def test_the_card_as_markdown(metadata: BundleMetadata):
    text = to_markdown(model_card(metadata, measured(*part("genre", "War", rmse=0.9, low=0.8))), title="The model")
    assert text.startswith("# The model\n\n## What it is for\n\nIt says before")
    assert "\n## Where it is weak\n" in text
    assert f"\n- **{WORSE}** genre War: RMSE 0.900 (0.800 to 1.000), 100 films.\n" in text
    assert "\n| What answers | RMSE | " in text
    assert text.count("\n| --- | --- |") >= 4


@given(name=st.text(min_size=1, max_size=30))
def test_no_name_becomes_markup(name: str):
    """A row stays a row of three cells, whatever is in it."""
    table = Table("Parts", ("Part", "RMSE"), ((name, "0.7"),))
    text = to_markdown([Section("weak", name, (name, (Point(name, name),), table))], title=name)
    last = text.split("\n")[-2]
    bare = last.replace("\\\\", "").replace("\\|", "")
    assert bare.count("|") == 3
    assert "<" not in text.replace("\\\\", "").replace("\\<", "")


def test_a_link_or_a_tag_in_a_name_stays_text():
    (line,) = to_markdown([Section("a", "b", ("[x](javascript:y) <img src=z> **bold**",))], title="t").split("\n")[4:5]
    assert line == r"\[x\](javascript:y) \<img src=z\> \*\*bold\*\*"


# --- from an evaluation ---------------------------------------------------------------------------


def test_of_an_evaluation(bundle: Bundle, films: pd.DataFrame, evaluation: Evaluation):
    """What the platform measures is what the card is made of."""
    parts = slices(evaluation.predictions, films)
    uncertain = uncertainty(evaluation.predictions)
    document = {
        "partition": "2026-01-05",
        "bundle_sha256": "ab" * 32,
        "synthetic": True,
        **evaluation.to_dict(),
        "bootstrap": uncertain.to_dict(),
        "slices": [part.to_dict() for part in parts],
    }
    found = model_card(bundle.metadata, MeasuredInDetail.model_validate_json(json.dumps(document)))
    before = tables(section(found, "figures"))[0]
    rmse = uncertain.rmse["unreleased"]["model"]
    assert before.rows[0][1] == f"{rmse.value:.3f} ({rmse.low:.3f} to {rmse.high:.3f})"
    assert "better than both beyond chance" in words(section(found, "figures"))
    (table,) = tables(section(found, "weak"))
    assert len(table.rows) == len(parts) / 2


def test_neither_pandas_nor_scipy_is_needed():
    """A service that shows the card is ready in a fraction of a second."""
    code = (
        "import sys; import movie_platform.rating_model.card; "
        "assert not {'pandas', 'scipy', 'lightgbm', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
