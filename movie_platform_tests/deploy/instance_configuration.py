"""Dagster's own judgement of a `dagster.yaml`, without a connection to anything that it names.

What belongs here: reading one as Dagster does. What does not: which of them are asked about.
"""

import importlib
from pathlib import Path
from typing import Any

import yaml
from dagster._config import process_config, resolve_to_config_type
from dagster._core.errors import DagsterInvalidConfigError
from dagster._core.instance.ref import InstanceRef
from dagster._serdes import ConfigurableClassData


def as_dagster_reads_it(configuration: dict[str, Any], folder: Path) -> dict[str, dict[str, Any]]:
    """The settings of each class that it names, by the class's name, checked and with its defaults.

    Variables must be set, since Dagster looks them up. Raises `DagsterInvalidConfigError`.
    """
    (folder / "dagster.yaml").write_text(yaml.safe_dump(configuration))
    reference = InstanceRef.from_dir(str(folder))
    read = {}
    for data in reference:
        if isinstance(data, ConfigurableClassData):
            kind = getattr(importlib.import_module(data.module_name), data.class_name)
            result = process_config(resolve_to_config_type(kind.config_type()), data.config_dict)
            if not result.success:
                errors = result.errors or []
                raise DagsterInvalidConfigError(data.class_name, errors, data.config_dict)  # type: ignore[no-untyped-call]
            read[data.class_name] = dict(result.value or {})
    return read
