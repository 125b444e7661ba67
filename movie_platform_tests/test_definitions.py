"""What Dagster is told of the platform: assets, lineage, partitions, executor, resources."""

import os
import re
import subprocess
import sys
import warnings
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import JobDataSnap, RepositorySnap

from movie_platform.assets import ASSETS
from movie_platform.automation import DAILY
from movie_platform.code_version import code_version
from movie_platform.definitions import build_definitions
from movie_platform.io_managers import DailyIOManager, JsonIOManager
from movie_platform.operations.planning import DAYS_IN_A_RUN
from movie_platform.rating_model.config import TrainingConfig
from movie_platform.settings import Settings, SettingsError, describe_settings
from movie_platform.storage import open_storage

TOKEN = "eyJhbGciOiJIUzI1NiJ9.secret-secret.sig_nature"
BY_NAME = {asset.key.path[-1]: asset for asset in ASSETS}
SPECS = {name: asset.get_asset_spec() for name, asset in BY_NAME.items()}

each_asset = pytest.mark.parametrize("name", BY_NAME)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Default settings, whatever the person's own are who runs the tests."""
    for setting in describe_settings():
        monkeypatch.delenv(setting.name, raising=False)
    monkeypatch.chdir(tmp_path)


VALIDATE = """
import dagster as dg
from movie_platform.definitions import defs
dg.Definitions.validate_loadable(defs)
(days,) = {asset.partitions_def for asset in defs.resolve_asset_graph().assets_defs}
print(days.get_first_partition_key(), days.timezone)
"""


@pytest.mark.parametrize("first", ["", "2025-06-30"], ids=["default", "another first partition"])
def test_they_load_without_a_warning(first: str, tmp_path: Path):
    """In an empty folder, where nothing is written; the setting moves the first partition."""
    home, folder = tmp_path / "home", tmp_path / "folder"
    home.mkdir()
    folder.mkdir()
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", VALIDATE],
        cwd=folder,
        env={"PATH": os.defpath, "HOME": str(home), "MOVIE_PLATFORM_FIRST_PARTITION": first},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout == f"{first or '2026-01-01'} UTC\n"
    assert list(folder.iterdir()) == []


# --- assets ---------------------------------------------------------------------------------------


def test_the_assets_their_groups_and_kinds():
    """Names are paths in the store and what a person reads in the lineage."""
    assert {name: (spec.group_name, spec.kinds) for name, spec in SPECS.items()} == {
        "raw_movies": ("collected", {"tmdb", "json"}),
        "raw_upcoming_movies": ("collected", {"tmdb", "json"}),
        "preprocessed_movies": ("preprocessed", {"pandas", "parquet"}),
        "preprocessed_upcoming_movies": ("preprocessed", {"pandas", "parquet"}),
        "trained_bundle": ("model", {"lightgbm"}),
        "metrics": ("model", {"pandas", "json"}),
        "champion_bundle": ("model", {"json"}),
        "predicted_ratings": ("predicted", {"lightgbm", "parquet"}),
        "prediction_outcomes": ("predicted", {"pandas", "json"}),
    }


@each_asset
def test_every_asset_says_what_it_is_and_whose(name: str):
    """The description is the first thing that the UI shows."""
    spec = SPECS[name]
    assert spec.owners == ["team:film-data"]
    assert spec.description is not None
    assert len(spec.description) > 80
    assert spec.description.endswith(".")
    assert "\n    " not in spec.description, "indented text would be shown as code"


@each_asset
def test_every_asset_has_the_code_version_of_its_own_sources(name: str):
    """Dagster marks it as outdated when they change; other sources do not matter."""
    assert re.fullmatch("[0-9a-f]{12}", SPECS[name].code_version or "")
    assert SPECS[name].code_version != code_version()


def test_assets_of_different_sources_have_different_code_versions():
    groups = [
        {"raw_movies", "raw_upcoming_movies"},
        {"preprocessed_movies", "preprocessed_upcoming_movies"},
        {"trained_bundle", "metrics"},
        {"champion_bundle"},
        {"predicted_ratings"},
        {"prediction_outcomes"},
    ]
    versions = [{SPECS[name].code_version for name in group} for group in groups]
    assert all(len(of_group) == 1 for of_group in versions)
    assert len(set().union(*versions)) == len(groups)


@each_asset
def test_partitions_are_days_in_utc(name: str):
    """A day's partition exists when the day is over, in UTC."""
    days = SPECS[name].partitions_def
    assert isinstance(days, dg.DailyPartitionsDefinition)
    assert days.timezone == "UTC"
    assert days == SPECS["raw_movies"].partitions_def
    window = days.time_window_for_partition_key("2026-01-05")
    assert (window.start.isoformat(), window.end.isoformat()) == (
        "2026-01-05T00:00:00+00:00",
        "2026-01-06T00:00:00+00:00",
    )


@each_asset
def test_a_month_is_one_run_for_every_asset(name: str):
    """Dagster takes the smallest limit of a selection, so that one smaller one would cut all."""
    policy = BY_NAME[name].backfill_policy
    assert policy is not None
    assert policy.max_partitions_per_run == DAYS_IN_A_RUN == 31


def test_the_lineage():
    """Each day depends on the same day, so that a backfill makes exactly the days that were asked for."""
    assert {name: {dep.asset_key.path[-1] for dep in spec.deps} for name, spec in SPECS.items()} == {
        "raw_movies": set(),
        "raw_upcoming_movies": set(),
        "preprocessed_movies": {"raw_movies"},
        "preprocessed_upcoming_movies": {"raw_upcoming_movies"},
        "trained_bundle": {"preprocessed_movies"},
        "metrics": {"preprocessed_movies", "trained_bundle"},
        "champion_bundle": {"trained_bundle", "metrics"},
        "predicted_ratings": {"preprocessed_upcoming_movies", "champion_bundle"},
        "prediction_outcomes": {"preprocessed_upcoming_movies", "predicted_ratings"},
    }
    assert all(dep.partition_mapping is None for spec in SPECS.values() for dep in spec.deps)


@each_asset
def test_no_other_partition_mapping_is_used(name: str):
    """What is neither a window of days nor the same day would pass unseen through the test above."""
    assert {type(dep.partition_mapping) for dep in SPECS[name].deps} <= {dg.TimeWindowPartitionMapping, type(None)}


# --- jobs and resources ---------------------------------------------------------------------------


def test_the_job_makes_every_asset_in_one_process():
    """A process for each step would cost seconds a step."""
    job = build_definitions().resolve_job_def(DAILY)
    assert job.asset_layer.executable_asset_keys == {asset.key for asset in ASSETS}
    assert job.executor_def.name == "in_process"
    assert job.description


def test_every_asset_has_an_io_manager_over_the_storage_of_the_settings(tmp_path: Path):
    settings = Settings(MOVIE_PLATFORM_STORAGE=str(tmp_path / "elsewhere"))
    resources = build_definitions(settings=settings).resources or {}
    for name, asset in BY_NAME.items():
        manager = resources[asset.get_io_manager_key_for_asset_key(asset.key)]
        assert isinstance(manager, DailyIOManager), name
    assert resources["store"].url("x") == str(tmp_path / "elsewhere" / "x")
    assert resources["min_vote_count"] == settings.min_vote_count


def test_resources_are_replaced_by_key(tmp_path: Path):
    """The others stay as they are; nothing has to be patched in a test."""
    manager = JsonIOManager(open_storage(str(tmp_path)))
    quick = TrainingConfig(trees=1)
    usual = build_definitions().resources or {}
    resources = build_definitions(resources={"json": manager, "training_config": quick}).resources or {}
    assert resources["json"] is manager
    assert resources["training_config"] is quick
    assert resources["training_threads"] == usual["training_threads"]
    assert list(resources) == list(usual)


def test_settings_that_make_no_sense_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TMDB_REQUESTS_PER_SECOND", "400")
    with pytest.raises(SettingsError, match=r"^TMDB_REQUESTS_PER_SECOND: "):
        build_definitions()


def test_another_first_partition_than_that_of_the_assets_is_refused():
    """They were declared with the environment's when they were imported."""
    other = SPECS["raw_movies"].partitions_def
    assert isinstance(other, dg.DailyPartitionsDefinition)
    later = other.start.date() + timedelta(days=1)
    with pytest.raises(SettingsError, match=r"^MOVIE_PLATFORM_FIRST_PARTITION: "):
        build_definitions(settings=Settings(MOVIE_PLATFORM_FIRST_PARTITION=str(later)))


def test_the_token_shows_nowhere(monkeypatch: pytest.MonkeyPatch):
    """Neither in what the web server is told of the definitions, nor in what a person could print."""
    monkeypatch.setenv("TMDB_ACCESS_TOKEN", TOKEN)
    definitions = build_definitions()
    repository = definitions.get_repository_def()
    job = definitions.resolve_job_def(DAILY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Dagster shows schedules with a property that it gave up
        told = dg.serialize_value(RepositorySnap.from_def(repository)) + dg.serialize_value(
            JobDataSnap.from_job_def(job, include_parent_snapshot=False)
        )
        assert TOKEN not in repr(definitions)
    assert "TMDB's films, from: tmdb" in told, "the resource is told of"
    assert TOKEN not in told
    resources = definitions.resources or {}
    assert TOKEN not in repr(resources)
    for resource in resources.values():
        assert TOKEN not in f"{resource!r} {vars(resource) if hasattr(resource, '__dict__') else ''}"
