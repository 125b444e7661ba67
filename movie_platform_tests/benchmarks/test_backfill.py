"""The measurement of a backfill: that it makes the days, and tells the work from what is beside it."""

import json

import pytest

from benchmarks.backfill.__main__ import IN_RANGES, main


def test_a_backfill_in_ranges_is_one_run_with_its_work_and_its_overhead(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """The settings of whoever measures are not those of what is measured."""
    monkeypatch.setenv("TMDB_CATALOGUE", "nowhere.jsonl")
    assert main(["--days", "2", "--one-run-a-day-until", "1", "--json", "--config=trees=20"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    (row,) = document["measured"]
    assert (row["contestant"], row["days"], row["runs"]) == (IN_RANGES, 2, 1)
    assert 0 < row["work"] < row["wall"]
    assert row["overhead"] == row["wall"] - row["work"]
    assert row["processors"] > 0
    assert document["times_less"] == {}  # one run a day was not measured
    assert document["config"]["trees"] == 20
    assert document["config"]["folds"] == 2  # quick, but for what was said
    assert document["holds"]["all 9 assets of all 2 days were recorded"]
    assert f"{IN_RANGES}, 2 days: " in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--days", "0"], "'0' is not a number of days from 1 to "),
        (["--days", "many"], "'many' is not a number of days"),
        (["--one-run-a-day-until", "x"], "'x' is not a number of days"),
        (["--config", "tree=3"], "tree: "),
        (["--config", "trees=0"], "trees: "),
    ],
)
def test_what_makes_no_sense_is_refused(options: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    try:
        result: object = main(options)
    except SystemExit as ended:  # argparse's own
        result = ended.code
    out, err = capsys.readouterr()
    assert (result, out) == (2, "")
    assert message in err
