"""`status` and `doctor`: how things stand, and what would keep them from working."""

import json
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from movie_platform.partitions import ranges
from movie_platform.settings import Settings, SettingsError, load_serving_settings, load_settings
from movie_platform.storage import Storage, open_storage

if TYPE_CHECKING:  # importing them takes a second, which --help should not
    from movie_platform.operations.doctor import Finding
    from movie_platform.operations.served import Served
    from movie_platform.operations.status import Status


@click.command("status", epilog="Example: movie-platform status --json | jq .needs")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for scripts.")
def status_command(as_json: bool) -> None:  # noqa: FBT001 an option
    """Show how things stand: days, runs, the bundle in force, the service, the automation.

    Changes nothing. Ends with status 1 if something needs a person, which is then named last.
    """
    found = _read_status(load_settings())
    if as_json:
        click.echo(json.dumps(_document(found), indent=1))
    else:
        _show(found, Console())
    sys.exit(1 if found.needs else 0)


def _read_status(settings: Settings) -> "Status":
    from movie_platform.operations.records import RecordsError, open_records  # noqa: PLC0415
    from movie_platform.operations.served import ask_service  # noqa: PLC0415
    from movie_platform.operations.status import ASSETS, read_automation, read_status  # noqa: PLC0415
    from movie_platform.operations.survey import survey  # noqa: PLC0415

    storage, now = open_storage(settings.storage), datetime.now(UTC)
    upstream: Mapping[str, list[str]] = {asset: [] for asset in ASSETS}
    sensors = _sensors(settings, storage)
    served = None if settings.serving_url is None else ask_service(settings.serving_url)
    try:
        with open_records(settings.dagster_home) as instance:
            return read_status(
                instance,
                storage,
                settings,
                survey=survey(instance, storage, settings, upstream=upstream, now=now),
                automation=read_automation(instance, sensors),
                served=served,
                now=now,
            )
    except RecordsError as error:
        raise click.ClickException(str(error)) from error


def _sensors(settings: Settings, storage: Storage) -> dict[str, bool]:
    """Whether each sensor and schedule is on by default."""
    from movie_platform.automation import build_automation  # noqa: PLC0415
    from movie_platform.operations.status import ASSETS  # noqa: PLC0415

    automatic = build_automation(settings, storage, upstream={asset: [] for asset in ASSETS})
    sensors = {found.name: found.default_status.value == "RUNNING" for found in automatic.sensors}
    return sensors | {found.name: found.default_status.value == "RUNNING" for found in automatic.schedules}


@click.command(epilog="Example: movie-platform doctor && make ui")
def doctor() -> None:
    """Look for what would keep the platform from working, and say what to do.

    Tries the real thing: an object in the storage, a request to TMDB, Dagster's records. Shows no secret. Ends with
    status 1 if there is a problem; a warning alone leaves it at 0.
    """
    problems = 0
    for finding in _findings():
        problems += finding.level == "problem"
        colour = {"ok": "green", "warning": "yellow", "problem": "red"}[finding.level]
        click.echo(f"{click.style(f'{finding.level:8}', fg=colour)} {finding.about}: {finding.said}")
        if finding.remedy:
            click.echo(f"         remedy: {finding.remedy}")
    sys.exit(1 if problems else 0)


def _findings() -> "Iterator[Finding]":
    from movie_platform.operations.doctor import Finding, Level, examine, examine_machine  # noqa: PLC0415

    yield from examine_machine()
    settings: Settings | None = None
    wrong: dict[str, None] = {}
    try:
        settings = load_settings()
    except SettingsError as error:
        wrong |= dict.fromkeys(str(error).splitlines())
    try:
        load_serving_settings()
    except SettingsError as error:
        wrong |= dict.fromkeys(str(error).splitlines())
    for line in wrong:
        name, _, problem = line.partition(": ")
        said, _, remedy = problem.rpartition("; ")
        yield Finding(name, Level.PROBLEM, said or problem, remedy if said else "")
    if settings is None:
        yield Finding("the rest", Level.WARNING, "not looked at: it depends on the settings", "correct those first")
        return
    if not wrong:
        yield Finding("settings", Level.OK, "all make sense")
    storage = open_storage(settings.storage)
    sensors = _sensors(settings, storage)
    yield from examine(settings, storage, sensors=sensors, now=datetime.now(UTC))


def _show(found: "Status", console: Console) -> None:
    survey = found.survey
    first = survey.days[0].day if survey.days else None
    title = f"Days from {first} to {survey.newest}" if first else "No day is due yet"
    table = Table(title=title, title_justify="left", box=box.SIMPLE, pad_edge=False)
    table.add_column("asset", no_wrap=True)
    table.add_column("newest complete", no_wrap=True)
    table.add_column("missing")
    for asset, newest in found.newest_complete.items():
        table.add_row(asset, str(newest or "none"), _missing(found, asset))
    console.print(table)

    facts = Table.grid(padding=(0, 2))
    facts.add_column(no_wrap=True)
    facts.add_column()
    for name, text in _facts(found):
        facts.add_row(name, Text(text))  # a reason may hold what looks like markup
    console.print(facts)
    console.print()
    if not found.needs:
        console.print("All is well: nothing needs a person.")
    for need in found.needs:
        console.print(Text(f"Needs a person: {need}", style="bold"))


def _missing(found: "Status", asset: str) -> str:
    lacking = [state.day for state in found.survey.days if asset in state.missing]
    return ranges(lacking, at_most=2) if lacking else ""


def _facts(found: "Status") -> Iterator[tuple[str, str]]:
    from movie_platform.operations.survey import DayStatus  # noqa: PLC0415

    survey, automation = found.survey, found.automation
    for run, days in found.runs.items():
        yield "being made", f"{ranges(days)}, by {run if run.startswith('a ') else f'run {run}'}"
    if due := [state.day for state in survey.with_status(DayStatus.DUE)]:
        yield "due now", ranges(due, at_most=3)
    for state in survey.with_status(DayStatus.WAITING):
        yield "waiting", f"{state.day}, tried again at {_time(state.retry_at)}: {state.reason}"
    for state in survey.with_status(DayStatus.GIVEN_UP):
        yield "given up", f"{state.day}, after {state.failures} failures: {state.reason}"
    if survey.older_gaps:
        yield "older gaps", ranges(survey.older_gaps, at_most=3)
    if found.release is None:
        yield "in force", "no bundle"
    else:
        champion = found.release.champion
        yield (
            "in force",
            f"{champion.partition} ({champion.sha256[:12]}) since {_time(found.release.since)}, code version "
            f"{champion.code_version}{', trained on SYNTHETIC films' if champion.synthetic else ''}",
        )
    for day, since in found.barred.items():
        yield "barred", f"{day}, rolled back at {_time(since)}"
    if found.served is not None:
        yield "served", _served(found.served)
    others = [f"{name} {'on' if on else 'off'}" for name, on in automation.sensors.items()]
    yield "automation", f"{'on' if automation.on else 'off'} ({', '.join(others)})"
    yield "daemon", "never ran" if automation.alive_at is None else f"last alive at {_time(automation.alive_at)}"


def _served(served: "Served") -> str:
    if served.partition is None:
        return str(served.problem)
    digest = f" ({served.sha256[:12]})" if served.sha256 else ""
    problem = f": {served.problem}" if served.problem else ""
    return f"{served.partition}{digest}{', pinned' if served.pinned else ''}{problem}"


def _time(moment: datetime | None) -> str:
    return "an unknown time" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _document(found: "Status") -> dict[str, Any]:
    """The same for scripts: days as YYYY-MM-DD, times in UTC."""
    release, served, automation = found.release, found.served, found.automation
    return {
        "at": _moment(found.now),
        "newest_due": str(found.survey.newest),
        "newest_complete": {asset: day and str(day) for asset, day in found.newest_complete.items()},
        "days": [
            {
                "day": str(state.day),
                "status": state.status.value,
                "missing": list(state.missing),
                "failures": state.failures,
                "retry_at": _moment(state.retry_at),
                "reason": state.reason,
            }
            for state in found.survey.days
            if state.missing
        ],
        "older_gaps": [str(day) for day in found.survey.older_gaps],
        "runs": {run: [str(day) for day in days] for run, days in found.runs.items()},
        "in_force": release and {**release.champion.model_dump(mode="json"), "since": _moment(release.since)},
        "barred": {str(day): _moment(since) for day, since in found.barred.items()},
        "served": served
        and {
            "partition": served.partition and str(served.partition),
            "sha256": served.sha256,
            "pinned": served.pinned,
            "problem": served.problem,
        },
        "automation": {"sensors": dict(automation.sensors), "daemon_alive_at": _moment(automation.alive_at)},
        "needs": found.needs,
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds")
