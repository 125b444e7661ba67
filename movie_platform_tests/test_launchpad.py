"""Hyperparameters that a person changes for one run: they arrive, they are recorded, bad ones are refused by name."""

import json
from pathlib import Path
from typing import Any, Literal

import dagster as dg
import pytest
from dagster import JobExecutionResult
from pydantic import Field

from movie_platform.assets import ASSETS
from movie_platform.definitions import build_definitions
from movie_platform.launchpad import overridable
from movie_platform.rating_model.bundle import Bundle
from movie_platform.rating_model.config import TrainingConfig
from movie_platform.settings import Settings
from movie_platform_tests.platform import QUICK, run_platform

DAY = "2026-01-01"
TRAINING = ["raw_movies", "preprocessed_movies", "trained_bundle", "metrics"]
FIELDS = TrainingConfig.model_fields


class Other(TrainingConfig):
    """Hyperparameters of types that there are none of today."""

    rounds: tuple[int, ...] = (1, 2)
    objective: Literal["mean", "median"] = "mean"
    linear: bool = False
    limit: float | None = Field(default=None, gt=0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def bundle(data: Path) -> Bundle:
    return Bundle.from_bytes((data / f"trained_bundle/{DAY}.zip").read_bytes())


def recorded_configuration(instance: dg.DagsterInstance) -> Any:
    record = instance.get_latest_materialization_event(dg.AssetKey("trained_bundle"))
    return record.asset_materialization.metadata["configuration"].value


def shown(config: TrainingConfig) -> dict[str, dg.Field]:
    """What the launchpad is told, by the name of the hyperparameter."""
    shape = overridable(config).config_schema.as_field().config_type
    assert isinstance(shape, dg.Shape)
    return dict(shape.fields)


def made_of(config: TrainingConfig, given: dict[str, Any]) -> TrainingConfig:
    """The hyperparameters of a real run that was given these."""
    found = []

    @dg.asset
    def asked(training_config: dg.ResourceParam[TrainingConfig]) -> None:
        found.append(training_config)

    run_config = {"resources": {"training_config": {"config": given}}}
    assert dg.materialize([asked], resources={"training_config": overridable(config)}, run_config=run_config).success
    (made,) = found
    return made


def materialize(
    instance: dg.DagsterInstance, data: Path, asset: str, given: dict[str, Any]
) -> dg.ExecuteInProcessResult:
    """Make one asset of the day as its launchpad does, not through the job."""
    definitions = build_definitions(
        settings=Settings(MOVIE_PLATFORM_STORAGE=str(data)), resources={"training_config": overridable(QUICK)}
    )
    return dg.materialize(
        ASSETS,
        selection=[asset],
        resources=definitions.resources,
        instance=instance,
        partition_key=DAY,
        run_config={"resources": {"training_config": {"config": given}}},
    )


def test_what_is_changed_for_a_run_of_the_job_is_what_is_trained_with_and_recorded(instance, data):
    """In the bundle, in its record, and in the figures; the rest stays as it was."""
    assert run_platform(
        instance, str(data), DAY, DAY, assets=TRAINING, hyperparameters={"trees": 70, "leaf_l2": 2}
    ).success

    used = QUICK.model_copy(update={"trees": 70, "leaf_l2": 2.0})
    made = bundle(data)
    assert made.metadata.config == used
    assert made.model.config == used
    assert recorded_configuration(instance) == used.model_dump(mode="json")
    assert json.loads((data / f"metrics/{DAY}.json").read_text())["config"] == used.model_dump(mode="json")


def test_what_is_changed_holds_for_that_run_alone_and_for_one_asset_too(instance, data):
    """First the asset by itself, with another seed; then the job, without a word."""
    assert run_platform(instance, str(data), DAY, DAY, assets=TRAINING).success
    before = bundle(data)
    assert before.metadata.config == QUICK

    assert materialize(instance, data, "trained_bundle", {"seed": 2}).success
    other = bundle(data)
    assert other.metadata.config == QUICK.model_copy(update={"seed": 2})
    assert recorded_configuration(instance)["seed"] == 2
    assert other.model.model_text != before.model.model_text, "it was trained with it, not just labelled"

    assert run_platform(instance, str(data), DAY, DAY, assets=TRAINING).success
    assert bundle(data).to_bytes() == before.to_bytes()


BAD = [
    ({"trees": 0}, "trees: .*greater than or equal to 1, and it is 0"),
    ({"feature_share": 1.5, "seed": -1}, "seed: .*-1.*feature_share: .*less than or equal to 1, and it is 1.5"),
    ({"leaves": "many"}, "training_config:config:leaves.*many"),
    ({"treees": 3}, '"treees"'),
]


@pytest.mark.parametrize(("given", "named"), BAD)
def test_a_bad_value_is_refused_by_name_before_there_is_a_run(instance, data, given, named):
    """From the job and for one asset: nothing is made, nothing is recorded."""

    def launch_job() -> JobExecutionResult:
        return run_platform(instance, str(data), DAY, DAY, hyperparameters=given)

    def launch_asset() -> dg.ExecuteInProcessResult:
        return materialize(instance, data, "trained_bundle", given)

    for launch in (launch_job, launch_asset):
        with pytest.raises(dg.DagsterInvalidConfigError, match=f"(?s){named}"):
            launch()
    assert instance.get_runs_count() == 0
    assert not data.exists()


@pytest.mark.parametrize("name", FIELDS)
def test_the_launchpad_shows_every_hyperparameter_with_its_default_and_meaning(name: str):
    """The defaults are those that a run without a word has."""
    told, field = shown(TrainingConfig())[name], FIELDS[name]
    assert not told.is_required
    assert told.default_value == getattr(TrainingConfig(), name)
    assert (field.description or "") in (told.description or "")
    assert (told.description or "").endswith(".")


def test_the_launchpad_shows_no_other_hyperparameter():
    assert shown(TrainingConfig()).keys() == FIELDS.keys()


def test_the_launchpad_shows_the_limits():
    told = shown(TrainingConfig())
    assert str(told["max_terms"].description).endswith("At least 1 and at most 50,000.")
    assert str(told["feature_share"].description).endswith("may use. More than 0 and at most 1.")


def test_the_defaults_are_those_of_the_given_configuration():
    """Which a test may want smaller."""
    assert shown(QUICK)["trees"].default_value == QUICK.trees
    assert made_of(QUICK, {}) == QUICK


def test_hyperparameters_of_other_types_arrive_and_are_judged():
    """Dagster knows neither tuples nor numbers that may be missing; the configuration does."""
    assert made_of(Other(), {}) == Other()
    given = {"rounds": [3], "objective": "median", "linear": True, "limit": 0.5, "trees": 9}
    assert made_of(Other(), given) == Other(rounds=(3,), objective="median", linear=True, limit=0.5, trees=9)
    for bad in ({"rounds": ["x"]}, {"objective": "mode"}, {"limit": -1}):
        with pytest.raises(dg.DagsterInvalidConfigError, match=f"training_config.config: {next(iter(bad))}"):
            made_of(Other(), bad)
