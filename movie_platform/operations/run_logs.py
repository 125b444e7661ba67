"""What a run's log says of how it failed: the one reader of it, for what becomes of the days and for the alerts.

What follows from a failure does not belong here: `survey` decides about the days, `facts` about what is worth telling.
"""

from dataclasses import dataclass
from typing import Any, Final

import dagster as dg

from movie_platform.daily import FailureReport, one_line
from movie_platform.storage import StorageError
from movie_platform.tmdb.client import AuthenticationError, OutageError

__all__ = ["SURROUNDINGS", "RunLog", "StepFailure", "read_run_log"]

SURROUNDINGS: Final = frozenset(error.__name__ for error in (AuthenticationError, OutageError, StorageError))
"""The exceptions that say nothing of the day that met them."""

_INTERRUPTED: Final = frozenset({"DagsterExecutionInterruptedError", "KeyboardInterrupt"})
"""What a step fails with when its run is ended from outside: the run's end has the reason."""

_TELLING: Final = {
    dg.DagsterEventType.STEP_START,
    dg.DagsterEventType.STEP_SUCCESS,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.RUN_FAILURE,
}


@dataclass(frozen=True)
class StepFailure:
    """A step that failed by itself."""

    step: str
    """The asset's name, or the op's."""
    report: FailureReport | None
    """Which days did not succeed; None if it failed outside of its days."""
    cause: str
    """The name of the exception at the root; of days that failed for reasons of their own, Dagster's."""
    reason: str
    """What that exception says, on one line."""


@dataclass(frozen=True)
class RunLog:
    """How a run failed."""

    failures: tuple[StepFailure, ...]
    """In the order in which they happened."""
    cut_off: tuple[str, ...]
    """Steps that were begun and did not end by themselves."""
    end: str
    """Why the run ended, on one line; nothing if it does not say."""


def read_run_log(instance: dg.DagsterInstance, run_id: str) -> RunLog:
    """Read it, whichever of the step's and the run's end was recorded first."""
    begun: dict[str, None] = {}
    failures: list[StepFailure] = []
    end = ""
    for entry in instance.all_logs(run_id, of_type=_TELLING):
        event = entry.get_dagster_event()
        step = str(event.step_key)
        if event.event_type is dg.DagsterEventType.STEP_START:
            begun[step] = None
        elif event.event_type is dg.DagsterEventType.STEP_SUCCESS:
            begun.pop(step, None)
        elif event.event_type is dg.DagsterEventType.RUN_FAILURE:
            # A run that is ended from outside has a message only.
            error = _root(event.job_failure_data.error if event.event_specific_data is not None else None)
            end = end or one_line(error.message.strip() if error else event.message or "")
        else:
            error = _root(event.step_failure_data.error)
            cause = (error and error.cls_name) or "without a reason"
            report = FailureReport.of_event(event)
            if report is not None or cause not in _INTERRUPTED:
                begun.pop(step, None)
                reason = one_line(error.message.strip()) if error else "failed without a reason"
                failures.append(StepFailure(step, report, cause, reason))
    return RunLog(tuple(failures), tuple(begun), end)


def _root(error: Any) -> Any:
    while error is not None and error.cause is not None:
        error = error.cause
    return error
