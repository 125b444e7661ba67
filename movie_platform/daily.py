"""How a run of one day or of many becomes days: the protocol between assets and IO managers.

An asset says how to make *one* day (`DayOutput`) and which checks that day must pass (`DayCheck`);
`materialize_days` goes through the days of the run, in date order, and hands each one, checked, to the IO
manager, which stores it before the next one is begun. What a day *is* belongs to the assets, what a good day is
to `checks`, how it is stored to `io_managers`; nothing here knows films or files.

What happens to a day:

- it passes: it is stored, published if the asset asks for it, and recorded in Dagster at once, so that a run which
  dies on day k leaves k - 1 finished days behind;
- a blocking check refuses it: it is kept under `rejected/`, nothing stands under its final name, the other days go on;
- it cannot be made (`DayFailed`): the other days go on;
- anything else goes wrong (no network, no disk, a defect): the asset stops there, since the next day would meet it too.
  What usually passes (`Retries`) is tried again within the run, without the days that it has stored already.

A run in which any day did not succeed ends as failed, after everything that can be done has been done.
"""

import random
import textwrap
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import dagster as dg

from movie_platform.dagster_internals import OWN_EVENTS, days_made_by
from movie_platform.liveness import show_alive
from movie_platform.partitions import parse_day

# One process for a whole run: a step of its own process costs seconds. An asset goes on with the days that are there
# even if another day of the asset before it failed; the run still ends as failed.
EXECUTOR = dg.in_process_executor.configured({"step_dependency_config": {"require_upstream_step_success": False}})


_FAILURE: Final = "failed days"
_LONGEST_REASON: Final = 500


@dataclass(frozen=True)
class Retries:
    """What an asset's step tries again by itself, and how often.

    Not a retry policy of Dagster's: that one also repeats a step whose run is being terminated.
    """

    exceptions: tuple[type[Exception], ...]
    pause: float
    """Seconds before the first retry; twice as many before each further one, give or take a quarter."""
    at_most: int = 2


class DayFailed(Exception):  # noqa: N818 says what happened
    """This day cannot be made, for a reason of its own: the other days of the run can."""


@dataclass(frozen=True, kw_only=True)
class FailureReport:
    """Which days of an asset did not succeed in a run, and why: kept with the failure, for those who react to it."""

    asset: str
    days: Mapping[date, str]
    """The reason of each, on one line."""
    fatal: str | None
    """The name of the exception that ended the run, if one did: then the newest day of `days` met it, and later days
    were not begun. None if each day failed for a reason of its own."""

    def to_metadata(self) -> Mapping[str, dg.MetadataValue[Any]]:
        """For `dagster.Failure`."""
        days = {day.isoformat(): reason for day, reason in self.days.items()}
        return {_FAILURE: dg.MetadataValue.json({"asset": self.asset, "days": days, "fatal": self.fatal})}

    @classmethod
    def of_event(cls, event: dg.DagsterEvent) -> "FailureReport | None":
        """The report in a step's failure; None if it failed in another way."""
        data = event.step_failure_data.user_failure_data
        found = data.metadata.get(_FAILURE) if data is not None else None
        if not isinstance(found, dg.JsonMetadataValue) or not isinstance(found.value, dict):
            return None
        days = {date.fromisoformat(day): str(reason) for day, reason in found.value["days"].items()}
        return cls(asset=found.value["asset"], days=days, fatal=found.value["fatal"])


@dataclass(frozen=True, kw_only=True)
class DayOutput:
    """What an asset made of one day."""

    value: Any
    """What the IO manager stores, in the type that it documents."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What a person sees beside the day in Dagster."""
    facts: Any = None
    """What only the checks need to know, such as how many films the API announced."""
    attachments: Mapping[str, bytes] = field(default_factory=dict)
    """Files to keep in a folder beside the day's own, by name."""
    publish: Callable[[], Mapping[str, Any] | None] | None = None
    """Called when the day is stored and before it is recorded; must do no harm when called again. What it returns is
    added to the metadata."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a check found, in a sentence for a person, with the evidence."""

    passed: bool
    summary: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DayCheck:
    """A check of one day: `examine` returns a verdict; an exception in it is a failed check, not a crash."""

    name: str
    description: str
    examine: Callable[[date, DayOutput], Verdict]
    blocking: bool = True
    """Blocking checks guard integrity: a day that fails one is refused. The others warn."""

    def evaluate(self, day: date, output: DayOutput) -> "CheckedVerdict":
        """Examine the day."""
        try:
            verdict = self.examine(day, output)
        except Exception as error:  # noqa: BLE001 a check that breaks has not passed, and says why
            verdict = Verdict(passed=False, summary=f"The check itself failed: {type(error).__name__}: {error}")
        return CheckedVerdict(check=self, verdict=verdict)


@dataclass(frozen=True)
class CheckedVerdict:
    """A verdict and the check that gave it."""

    check: DayCheck
    verdict: Verdict

    @property
    def refuses(self) -> bool:
        """Whether the day must not be stored under its final name."""
        return self.check.blocking and not self.verdict.passed


@dataclass(frozen=True)
class CheckedDay:
    """A day on its way to the store."""

    day: date
    output: DayOutput
    verdicts: Sequence[CheckedVerdict]

    @property
    def refused(self) -> bool:
        """Whether a blocking check refused it."""
        return any(verdict.refuses for verdict in self.verdicts)


def check_specs(
    asset: str, checks: Iterable[DayCheck], partitions_def: dg.PartitionsDefinition[Any]
) -> list[dg.AssetCheckSpec]:
    """The specifications of an asset's checks, for Dagster."""
    with warnings.catch_warnings():
        # Check results with a partition are marked as preview; dagster is pinned exactly and the tests cover them.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(
                check.name,
                asset=asset,
                description=check.description,
                blocking=check.blocking,
                partitions_def=partitions_def,
            )
            for check in checks
        ]


class DayStream:
    """The days of a run, made one at a time while the IO manager asks for them; remembers which failed."""

    def __init__(
        self,
        *,
        asset: str,
        days: Sequence[date],
        make: Callable[[date], DayOutput],
        checks: Sequence[DayCheck],
        log: Any,
        stored_before: int = 0,
        retries: Retries | None = None,
        retry_number: int = 0,
    ) -> None:
        self.asset = asset
        self.stored_before = stored_before
        """Days that an earlier attempt of the same step has stored, which are not among `days`."""
        self._retries = retries
        self._retry_number = retry_number
        self._days = days
        self._make = make
        self._checks = checks
        self._log = log
        self._failures: dict[date, str] = {}
        self._fatal: Exception | None = None

    def __iter__(self) -> Iterator[CheckedDay]:
        """Make the days, in date order."""
        begun = time.monotonic()
        for number, day in enumerate(self._days, start=1):
            try:
                output = self._make(day)
            except DayFailed as error:
                self._fail(day, str(error))
                continue
            except Exception as error:  # noqa: BLE001 raised by raise_failures, when the finished days are recorded
                self.stop(day, error)
                break
            checked = CheckedDay(day, output, [check.evaluate(day, output) for check in self._checks])
            if checked.refused:
                reasons = [v.verdict.summary for v in checked.verdicts if v.refuses]
                self._fail(day, "refused by its checks: " + " ".join(reasons))
            refused = checked.refused
            yield checked
            del output, checked  # before the next one is made: one day is in memory at a time
            if not refused:  # the IO manager asks for the next day when this one is safe
                total, spent = len(self._days), time.monotonic() - begun
                left = spent / number * (total - number)
                self._log.info(f"{self.asset} {day}: stored, day {number} of {total}, about {left:.0f} s left")

    def stop(self, day: date, error: Exception) -> None:
        """Remember what ends the step at this day; for the IO manager, which cannot store it."""
        self._fail(day, f"{type(error).__name__}: {error}")
        self._fatal = error

    def _fail(self, day: date, reason: str) -> None:
        self._failures[day] = reason
        self._log.error(f"{self.asset} {day}: {reason}")

    def raise_failures(self) -> None:
        """Raise one failure that names every day that did not succeed, if there is one."""
        if not self._failures:
            return
        lines = [f"{self.asset} {day}: {reason}" for day, reason in self._failures.items()]
        if self._fatal is not None:
            not_begun = [day for day in self._days if day > max(self._failures)]
            if not_begun:
                lines.append(
                    f"{self.asset}: {len(not_begun)} more days were not begun ({not_begun[0]} to {not_begun[-1]})"
                )
        report = FailureReport(
            asset=self.asset,
            days={day: one_line(reason) for day, reason in self._failures.items()},
            fatal=None if self._fatal is None else type(self._fatal).__name__,
        )
        failure = dg.Failure("\n".join(lines), metadata=report.to_metadata(), allow_retries=False)
        failure.__cause__ = self._fatal
        if self._retries is None or not self.is_tried_again:
            raise failure
        pause = self._retries.pause * 2**self._retry_number * random.uniform(0.75, 1.25)  # noqa: S311 no secret
        self._log.warning(f"{self.asset}: tried again in {pause:.0f} s")
        raise dg.RetryRequested(max_retries=self._retries.at_most, seconds_to_wait=pause) from failure

    @property
    def is_tried_again(self) -> bool:
        """Whether the step has met something that usually passes, and is not at its last attempt."""
        return (
            self._retries is not None
            and isinstance(self._fatal, self._retries.exceptions)
            and self._retry_number < self._retries.at_most
        )


def one_line(reason: str) -> str:
    """A reason without line breaks, and no longer than a message wants it."""
    return textwrap.shorten(reason, width=_LONGEST_REASON, placeholder=" ...")


def days_of_run(context: dg.AssetExecutionContext) -> list[date]:
    """The days that the run was asked for, in date order."""
    return sorted(parse_day(key) for key in context.partition_keys)


def materialize_days(
    context: dg.AssetExecutionContext,
    make: Callable[[date], DayOutput],
    checks: Sequence[DayCheck],
    *,
    retries: Retries | None = None,
) -> Iterator[dg.Output[Any]]:
    """The body of every asset: make, check and store each day of the run; fail at the end if any day failed.

    Yields the day stream for the IO manager. The IO manager records each day and its checks in Dagster while it
    goes (Dagster itself would record every day of the range, failed ones too, and only after the last one).
    """
    output_name, *check_outputs = (definition.name for definition in context.op_execution_context.op_def.output_defs)
    try:
        show_alive(Path(context.instance.root_directory), context.run.run_id)
    except OSError as error:  # no reason to fail the run: if it dies, its longest duration ends it
        context.log.warning(f"cannot show that this run is alive: {error}")
    wanted = days_of_run(context)
    stored = days_made_by(context.instance, context.run.run_id, context.asset_key) if context.retry_number else set()
    stream = DayStream(
        asset=context.asset_key.path[-1],
        days=[day for day in wanted if day not in stored],
        make=make,
        checks=checks,
        log=context.log,
        stored_before=len(stored),
        retries=retries,
        retry_number=context.retry_number,
    )
    yield dg.Output(stream, output_name=output_name, metadata=OWN_EVENTS)
    for name in check_outputs:
        yield dg.Output(None, output_name=name)
    stream.raise_failures()
