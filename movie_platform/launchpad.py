"""What a person can change for one run, in Dagster's launchpad: the hyperparameters.

Their names, defaults, meanings and limits are those of `TrainingConfig`; here is only how Dagster is told of them. What
is set for every run belongs to `settings`.
"""

from collections.abc import Mapping
from typing import Any, Final

import dagster as dg
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from movie_platform.rating_model.config import TrainingConfig

__all__ = ["overridable"]

_TYPES: Final[Mapping[Any, Any]] = {int: dg.Int, float: dg.Float, bool: dg.Bool, str: dg.String}
"""How Dagster calls them. It takes any value for other types; the configuration itself judges those."""

_LIMITS: Final = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
"""How pydantic calls them, and how a person does."""


def overridable(config: TrainingConfig) -> dg.ResourceDefinition:
    """The resource `training_config`: `config`, but for what a run's own configuration says otherwise.

    In a run's configuration: `resources: {training_config: {config: {seed: 2}}}`. A value that the model of `config`
    refuses raises `DagsterInvalidConfigError`, which names it, before there is a run.
    """
    kind, defaults = type(config), config.model_dump(mode="json")
    schema = {
        name: dg.Field(
            _TYPES.get(field.annotation, dg.Any),
            default_value=defaults[name],
            is_required=False,
            description=_described(field),
        )
        for name, field in kind.model_fields.items()
    }

    def validated(values: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return kind.model_validate(values).model_dump(mode="json")
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}, and it is {problem['input']!r}"
                for problem in error.errors(include_url=False)
            )
        raise dg.DagsterInvalidConfigError(  # type: ignore[no-untyped-call]
            f"resources.training_config.config: {problems}. Correct it, or leave it out for the default.", [], values
        )

    def make(context: dg.InitResourceContext) -> TrainingConfig:
        return kind.model_validate(context.resource_config)

    # Dagster maps the configuration before there is a run, so whoever launches one is told at once what is refused;
    # the resource itself is only made in the run.
    return dg.ResourceDefinition(make, config_schema=dict).configured(
        validated, config_schema=schema, description="The hyperparameters of the training, as the run shall have them."
    )


def _described(field: FieldInfo) -> str:
    """What it means, and its limits, which the launchpad shows nowhere else."""
    limits = [
        f"{words} {limit:,}"
        for constraint in field.metadata
        for name, words in _LIMITS.items()
        if (limit := getattr(constraint, name, None)) is not None
    ]
    return " ".join(filter(None, [field.description, f"{' and '.join(limits).capitalize()}." if limits else ""]))
