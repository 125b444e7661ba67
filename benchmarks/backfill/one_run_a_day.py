"""The platform with what Dagster does by default: one run a day, and a process for each of its steps."""

import dagster as dg

from benchmarks.backfill.timed_platform import timed_definitions


@dg.definitions
def defs() -> dg.Definitions:
    """The platform's definitions without an executor: then it is Dagster's own."""
    ours = timed_definitions()
    return dg.Definitions(assets=ours.assets, jobs=ours.jobs, loggers=ours.loggers, resources=ours.resources)
