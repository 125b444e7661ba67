"""The measurement of how training grows: with which films, in which process, and what it tells."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.invented import varied_films
from benchmarks.training_scale import films_of_size, main
from movie_platform_tests.benchmarks.test_model_quality import FILMS

OPTIONS = ["--config=trees=20", "--config=min_rows_in_leaf=10", "--config=calibration_min_films=60"]


@pytest.fixture
def real() -> pd.DataFrame:
    return varied_films(300, seed=9, first_id=50).assign(synthetic=False)


def test_real_films_come_first_and_invented_ones_fill_up(real: pd.DataFrame):
    films = films_of_size(1_000, real)
    assert films.real == 300
    assert set(real["id"]) < set(films.table["id"])
    assert films.table["id"].is_unique
    assert len(films.table) == 1_000
    assert films.table["synthetic"].all()


def test_without_invented_films_none_is_marked(real: pd.DataFrame):
    films = films_of_size(200, real.assign(overview=""))
    assert (films.real, films.without_overview) == (200, 200)
    assert set(films.table["id"]) < set(real["id"])
    assert not films.table["synthetic"].any()


def test_each_size_has_a_row_with_figures_of_its_own_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The memory is that of the training alone, whatever the process has that asks for it."""
    catalogue = tmp_path / "films.jsonl"
    catalogue.write_text("".join(f"{json.dumps(item)}\n" for item in FILMS[:400]))
    ours = np.ones(2**26)
    assert main([f"--catalogue={catalogue}", "--sizes", "300", "500", "--json", *OPTIONS]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    rows = document["sizes"]
    assert [(row["films"], row["real"], row["invented"]) for row in rows] == [(300, 300, 0), (500, 400, 100)]
    for row in rows:
        assert row["seconds"] == row["train_seconds"] + row["bundle_seconds"] > 0
        assert 50 < row["table_memory"] <= row["most_memory"] < ours.nbytes / 2**20
        assert row["bundle_size"] > 0
        assert row["terms"] > 0
    assert document["within_limits"] == {}  # those are of one size, which is not among them
    assert document["config"]["trees"] == 20
    assert "400 films of the catalogues have at least 10 votes" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sizes", "99"], "'99' is not a number of films that can be trained on, 100 or more"),
        (["--sizes", "many"], "'many' is not a number of films"),
        (["--catalogue", "nowhere.jsonl"], "'nowhere.jsonl' is not a file"),
        (["--config", "tree=3"], "tree: "),
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
