"""What is worth an alert, and when it is over: a step from what was known and what is seen to messages.

A *problem* is open from its alert until it is over; while it is open it is not told again. What makes two failures the
same problem is `Trouble.key`: a wrong token is one, whichever asset and day meets it; a day that a check refuses is one
for each asset and day. A problem of days is over when its days are complete. It has *healed* when the first of them is:
then whatever meets the same is news. A day that has since failed for another reason, or was given up, is no longer of
it. Nothing is read or sent here; what is known between two looks is a small document, which the sensor keeps as its
cursor.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from movie_platform.alerts import Alert, asset_link, run_link
from movie_platform.operations.facts import Facts, FailedRun, Trouble, Wanted
from movie_platform.operations.status import serves
from movie_platform.operations.survey import DayState, DayStatus, due_at, local_time
from movie_platform.partitions import ranges
from movie_platform.releases import Champion
from movie_platform.settings import Settings
from movie_platform.storage import StorageError

__all__ = [
    "REFUSED_IN_A_ROW",
    "Problem",
    "Unserved",
    "Watched",
    "of_lost",
    "read_watched",
    "wanted_of",
    "watch",
    "with_unsent",
    "without_storage",
]

REFUSED_IN_A_ROW: Final = 7
"""Days without a release that are worth an alert: one refusal is normal, a week of them is a trend."""

_SETTLING: Final = timedelta(hours=1)
"""After a start or an outage, days are not called late for so long: they are being caught up with."""
_OUTAGE: Final = timedelta(minutes=15)
"""A longer pause between two looks means that the platform was down."""
_AWAY: Final = timedelta(minutes=10)
"""For so long the storage may be away without a word: most of it passes by itself."""
_UNSENT_AT_MOST: Final = 30

_LATE, _GIVEN_UP, _OLDER = "late", "given up", "older gaps"
_GATE, _SERVICE, _STORAGE = "gate", "service", "storage"


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Problem(_Document):
    """What an alert has told, and what it is over with."""

    days: tuple[date, ...] = ()
    job: str | None = None
    """Of a run without days: over when the job succeeds."""
    healed: bool = False
    """One of its days is complete again, so the cause was gone: the same failure would be news."""


class Unserved(_Document):
    """Since when the bundle in force is not served."""

    sha256: str
    since: AwareDatetime


class Watched(_Document):
    """What is known between two looks."""

    version: Literal[1] = 1
    newest_failure: int
    up_since: AwareDatetime
    looked_at: AwareDatetime
    problems: dict[str, Problem] = {}
    """The open ones, by key."""
    lacking: tuple[date, ...] = ()
    """Of their days, those that were seen to lack something: only such a day can become complete again."""
    unserved: Unserved | None = None
    digest_of: date | None = None
    """The newest day whose warnings were looked at."""
    digest_on: date | None = None
    """The day on which the last digest was sent."""
    unsent: tuple[Alert, ...] = ()
    """Alerts that Slack has not taken yet, the oldest first."""
    lost: int = 0
    """How many more there were, for which there was no place."""
    away_since: AwareDatetime | None = None
    """Since when the storage cannot be read."""
    not_before: AwareDatetime | None = None
    """When Slack may be asked again."""


def read_watched(cursor: str | None) -> Watched | None:
    """What is known, from the cursor; None if there is none or it is another version's, and all begins anew."""
    try:
        return Watched.model_validate_json(cursor) if cursor else None
    except ValidationError:
        return None


def wanted_of(known: Watched | None, now: datetime) -> Wanted:
    """What the next look has to find out."""
    if known is None:
        return Wanted(refusals=REFUSED_IN_A_ROW)
    return Wanted(
        failures_after=known.newest_failure,
        jobs=frozenset(problem.job for problem in known.problems.values() if problem.job is not None),
        refusals=REFUSED_IN_A_ROW,
        warnings_after=None if known.digest_on == now.date() else known.digest_of or date.min,
    )


def watch(facts: Facts, known: Watched | None, settings: Settings) -> tuple[list[Alert], Watched]:
    """The alerts that follow from what is seen, in order, and what is known afterwards.

    The first look tells of no run that failed before it, only of what is wrong now.
    """
    look = _Look(facts, known or _fresh(facts), settings)
    look.tell_what_is_over()
    look.tell_failures()
    look.tell_given_up()
    look.tell_older_gaps()
    look.tell_late()
    look.tell_gate()
    look.tell_service()
    look.tell_warnings()
    return look.alerts, look.known_afterwards()


def with_unsent(known: Watched, alerts: Iterable[Alert]) -> Watched:
    """The same, with these alerts waiting to be sent; of too many, the newest are only counted."""
    waiting = (*known.unsent, *alerts)
    kept = waiting[:_UNSENT_AT_MOST]
    return known.model_copy(update={"unsent": kept, "lost": known.lost + len(waiting) - len(kept)})


def of_lost(known: Watched, settings: Settings) -> Alert | None:
    """What to say of the alerts that were only counted; None if there were none."""
    if not known.lost:
        return None
    return Alert(
        title=f"{known.lost} more messages were not kept while Slack took none",
        lines=("What is wrong now, movie-platform status says; what failed meanwhile, the list of runs.",),
        to_do="Look at both.",
        link=f"{settings.ui_url}/runs",
    )


def without_storage(known: Watched, error: StorageError, settings: Settings, now: datetime) -> Watched:
    """What is known after a look that could not read the storage: after a while that is worth an alert of its own."""
    away = known.away_since or now
    known = known.model_copy(update={"away_since": away})
    if now - away < _AWAY or _STORAGE in known.problems:
        return known
    alert = Alert(
        title="The storage cannot be read",
        lines=(f"{error}.", "Until it can, no day is made, and nothing else is looked at."),
        to_do="movie-platform doctor tries to read and write it.",
        link=f"{settings.ui_url}/automation",
    )
    return with_unsent(known.model_copy(update={"problems": {**known.problems, _STORAGE: Problem()}}), [alert])


def _fresh(facts: Facts) -> Watched:
    complete = [state.day for state in facts.survey.with_status(DayStatus.COMPLETE)]
    return Watched(
        newest_failure=facts.newest_failure,
        up_since=facts.now,
        looked_at=facts.now,
        digest_of=max(complete, default=None),
    )


class _Look:
    """One step of `watch`."""

    def __init__(self, facts: Facts, known: Watched, settings: Settings) -> None:
        self._facts = facts
        self._known = known
        self._settings = settings
        self._problems = dict(known.problems)
        self._lacking = set(known.lacking)
        self._unserved: Unserved | None = None
        self._digest = (known.digest_of, known.digest_on)
        self._up_since = facts.now if facts.now - known.looked_at > _OUTAGE else known.up_since
        self._incomplete = {s.day: s for s in facts.survey.days if s.status is not DayStatus.COMPLETE}
        self._gaps = set(facts.survey.older_gaps)
        self.alerts: list[Alert] = []

    def known_afterwards(self) -> Watched:
        named = self._named()
        return self._known.model_copy(
            update={
                "newest_failure": self._facts.newest_failure,
                "up_since": self._up_since,
                "looked_at": self._facts.now,
                "problems": self._problems,
                "lacking": tuple(sorted(named & (self._lacking | {day for day in named if self._lacks(day)}))),
                "unserved": self._unserved,
                "digest_of": self._digest[0],
                "digest_on": self._digest[1],
                "away_since": None,
            }
        )

    def tell_what_is_over(self) -> None:
        """Close what is over; the days of a run that goes on are told together."""
        named = self._named()
        over = {day for day in named if not self._lacks(day)}
        if any(self._incomplete[day].status is DayStatus.RUNNING for day in named if day in self._incomplete):
            over = set()
        for key, problem in list(self._problems.items()):
            left = tuple(day for day in problem.days if day not in over)
            if problem.days and not left:
                del self._problems[key]
            elif left != problem.days:
                self._problems[key] = Problem(days=left, healed=True)
        again = over & self._lacking
        self._lacking -= over
        if again:
            days = ranges(again)
            self._alert(
                f"Complete again: {days}",
                [f"{days} {'is' if len(again) == 1 else 'are'} complete again."],
                "Nothing to be done.",
                asset_link(self._settings, "predicted_ratings", max(again)),
            )
        if self._problems.pop(_STORAGE, None) is not None:
            self._alert(
                "The storage can be read again",
                ["What is missing is made by itself."],
                "Nothing to be done.",
                f"{self._settings.ui_url}/automation",
            )
        for key, problem in list(self._problems.items()):
            if problem.job in self._facts.succeeding_jobs:
                del self._problems[key]
                self._alert(
                    f"{problem.job} works again",
                    [f"The newest run of {problem.job} succeeded."],
                    "Nothing to be done.",
                    f"{self._settings.ui_url}/runs",
                )

    def tell_failures(self) -> None:
        """One alert for each run that met something new."""
        for run in self._facts.failed:
            failed_for: dict[date, set[str]] = {}
            for trouble in run.troubles:
                for day in trouble.days:
                    failed_for.setdefault(day, set()).add(trouble.key)
            self._take_from_others(failed_for)
            new = [trouble for trouble in run.troubles if self._is_new(run, trouble)]
            if new:
                self._tell_failure(run, new)

    def _is_new(self, run: FailedRun, trouble: Trouble) -> bool:
        known = self._problems.get(trouble.key)
        still_open = (
            known is not None and not known.healed and (not known.days or any(self._lacks(day) for day in known.days))
        )
        days = {*(known.days if known else ()), *self._lacking_of(trouble.days)}
        self._problems[trouble.key] = Problem(days=tuple(sorted(days)), job=None if days else run.job)
        return not still_open

    def _take_from_others(self, failed_for: Mapping[date, Collection[str]]) -> None:
        """What a day failed for last is what it is about: otherwise the former failure of many days never ends.

        Of a day that was given up, too, if it is tried again by itself: so it would be left to a person once more.
        """
        for other, problem in list(self._problems.items()):
            taken = {day for day, keys in failed_for.items() if other not in keys}
            if other == _GIVEN_UP:
                taken = {day for day in taken if self._is_tried_by_itself(day)}
            left = tuple(day for day in problem.days if day not in taken)
            if other in {_LATE, _OLDER} or left == problem.days:
                continue
            if left:
                self._problems[other] = problem.model_copy(update={"days": left})
            else:
                del self._problems[other]

    def _tell_failure(self, run: FailedRun, troubles: list[Trouble]) -> None:
        days = {day for trouble in troubles for day in trouble.days}
        lacking = self._lacking_of(days)
        assets = ", ".join(dict.fromkeys(trouble.asset for trouble in troubles if trouble.asset))
        if not assets:
            title = f"A run of {run.job} failed" + (f": {ranges(lacking)}" if lacking else "")
        elif all(trouble.refused for trouble in troubles):
            title = f"Refused by checks: {assets} {ranges(lacking)}"
        else:
            title = f"Failed: {assets} {ranges(lacking)}" if lacking else f"Failed: {assets} in {run.job}"
        lines = [f"{_subject(trouble)}: {trouble.reason}" for trouble in troubles]
        kept = [trouble for trouble in troubles if trouble.refused and trouble.asset]
        look_at = f"What was refused is kept under rejected/{kept[0].asset}/. " if kept else ""
        self._alert(title, lines, look_at + self._next_try(lacking), run_link(self._settings, run.run_id))

    def _lacking_of(self, days: Iterable[date]) -> set[date]:
        """Of the days that a run failed for, those that it did not make after all; all, if that is none."""
        days = set(days)
        return {day for day in days if self._lacks(day)} or days

    def _next_try(self, days: Collection[date]) -> str:
        if not days:
            return "Mend the cause; the next run, by itself or from the UI, shows whether it is."
        states = [self._incomplete[day] for day in sorted(days) if day in self._incomplete]
        by = {status: [state for state in states if state.status is status] for status in DayStatus}
        if by[DayStatus.RUNNING]:
            return "It is being tried again already; you will be told when it is complete."
        if by[DayStatus.DUE]:
            return "It is tried again by itself within minutes; mend the cause if you see one."
        if by[DayStatus.WAITING]:
            at = min(state.retry_at for state in by[DayStatus.WAITING] if state.retry_at is not None)
            then = local_time(at, self._settings.time_zone)
            return f"It is tried again by itself at {then}; mend the cause if it will not pass by itself."
        if not any(self._lacks(day) for day in days):
            return "The days are complete all the same: only what this run was for needs another look."
        return f"It is not tried again by itself. Mend the cause, then: {_backfill(days)}"

    def tell_given_up(self) -> None:
        """Days that the automation leaves to a person."""
        found = [state for state in self._incomplete.values() if state.status is DayStatus.GIVEN_UP]
        if new := self._open(_GIVEN_UP, [state.day for state in found]):
            self._take_from_others({day: {_GIVEN_UP} for day in new})
            lines = [f"{s.day}: {s.failures} failures; {s.reason}" for s in found if s.day in new]
            to_do = f"Mend the cause, then: {_backfill(new)}. The other days go on."
            self._alert(f"Left for you: {ranges(new)}", lines, to_do, self._link_of_day(min(new)))

    def tell_older_gaps(self) -> None:
        """Days that are too old for the automation; those that an alert named before are no news."""
        named = self._named()
        new = self._open(_OLDER, [day for day in self._facts.survey.older_gaps if day not in named])
        if new:
            gaps = self._facts.survey.older_gaps
            lines = [
                f"{ranges(gaps, at_most=10)}: {len(gaps)} in all. The automation reaches back "
                f"{self._settings.catch_up_days} days (MOVIE_PLATFORM_CATCH_UP_DAYS)."
            ]
            self._alert(
                f"Older days are not complete: {ranges(new, at_most=5)}",
                lines,
                f"If you want them: {_backfill(gaps)}",
                asset_link(self._settings, "predicted_ratings"),
            )

    def tell_late(self) -> None:
        """Days past their deadline, but for those that an alert has named or that are being made."""
        named = {day for problem in self._problems.values() if not problem.healed for day in problem.days}
        deadline = timedelta(hours=self._settings.deadline_hours)
        if self._facts.now < self._up_since + _SETTLING:
            return
        new = self._open(
            _LATE,
            [
                day
                for day, state in self._incomplete.items()
                if state.status is not DayStatus.RUNNING
                and day not in named
                and due_at(day, self._settings) + deadline <= self._facts.now
            ],
        )
        if new:
            states = [self._incomplete[day] for day in sorted(new)]
            lines = [f"{state.day}, {state.status.value}: {_why(state)}" for state in states]
            self._alert(
                f"Not complete {self._settings.deadline_hours:g} hours after it was due: {ranges(new)}",
                lines,
                "See whether the sensor catch_up is on and what it says (Automation in the UI), and whether a run or a "
                "backfill hangs.",
                f"{self._settings.ui_url}/automation",
            )

    def tell_gate(self) -> None:
        """A week without a release."""
        refusals = self._facts.refusals
        if len(refusals) >= REFUSED_IN_A_ROW:
            if _GATE not in self._problems:
                self._problems[_GATE] = Problem()
                newest = refusals[0]
                in_force = newest.champion_in_force
                lines = [
                    *newest.reasons,
                    f"In force is the bundle of {in_force.partition}." if in_force else "No bundle is in force.",
                ]
                self._alert(
                    f"No bundle was good enough {len(refusals)} days in a row, up to {newest.partition}",
                    lines,
                    "Look at metrics of these days: films that changed, or a champion that was lucky. Predictions go "
                    "on with the bundle in force.",
                    asset_link(self._settings, "champion_bundle", newest.partition),
                )
        elif self._problems.pop(_GATE, None) is not None and not refusals:
            self._alert(
                "A bundle was released again",
                ["The newest bundle passed the gate."],
                "Nothing to be done.",
                asset_link(self._settings, "champion_bundle"),
            )

    def tell_service(self) -> None:
        """A bundle in force that the service does not serve. One that is pinned serves what it is told to."""
        served, champion = self._facts.served, self._facts.champion
        if served is None or champion is None:
            self._problems.pop(_SERVICE, None)
            return
        link = f"{self._settings.serving_url}/model"
        if served.partition is not None and (served.pinned or serves(served, champion)):
            if self._problems.pop(_SERVICE, None) is not None:
                pinned = ", which it is pinned to" if served.pinned else ""
                lines = [f"The service serves the bundle of {served.partition}{pinned}."]
                self._alert(f"Served again: {served.partition}", lines, "Nothing to be done.", link)
            return
        self._unserved = self._since(champion)
        within = timedelta(minutes=self._settings.served_within_minutes)
        if _SERVICE not in self._problems and self._facts.now - self._unserved.since >= within:
            self._problems[_SERVICE] = Problem()
            instead = f"it serves the bundle of {served.partition}" if served.partition else None
            why = "; ".join(reason for reason in (instead, served.problem) if reason)
            self._alert(
                f"Not served: the bundle of {champion.partition}, which is in force",
                [f"The service at {self._settings.serving_url}: {why or 'it serves nothing'}."],
                "See its log and /health/ready, and whether it reads the same MOVIE_PLATFORM_STORAGE.",
                link,
            )

    def _since(self, champion: Champion) -> Unserved:
        known = self._known.unserved
        same = known is not None and (known.sha256 == champion.sha256 or _SERVICE in self._problems)
        return known if known is not None and same else Unserved(sha256=champion.sha256, since=self._facts.now)

    def tell_warnings(self) -> None:
        """What the checks warn of on the newest day, once a day."""
        found = self._facts.warnings
        if found is None:
            return
        self._digest = (found.day, self._digest[1])
        if found.lines:
            self._digest = (found.day, self._facts.now.date())
            self._alert(
                f"Warnings of {found.day}",
                found.lines,
                "Nothing is stopped by it. If it stays for days, look at the model card and the films of that day.",
                asset_link(self._settings, "predicted_ratings", found.day, view="checks"),
            )

    def _open(self, key: str, days: Iterable[date]) -> set[date]:
        """Add days to a problem; those that are new to it."""
        known = self._problems.get(key, Problem()).days
        new = set(days).difference(known)
        if new:
            self._problems[key] = Problem(days=tuple(sorted({*known, *new})))
        return new

    def _alert(self, title: str, lines: Iterable[str], to_do: str, link: str) -> None:
        self.alerts.append(Alert(title=title, lines=tuple(lines), to_do=to_do, link=link))

    def _named(self) -> set[date]:
        return {day for problem in self._problems.values() for day in problem.days}

    def _lacks(self, day: date) -> bool:
        """Whether a day is incomplete; of one that is not due yet, a failure says so."""
        return day in self._incomplete or day in self._gaps or day > self._facts.survey.newest

    def _is_tried_by_itself(self, day: date) -> bool:
        return day in self._incomplete and self._incomplete[day].status in {DayStatus.DUE, DayStatus.WAITING}

    def _link_of_day(self, day: date) -> str:
        missing = self._incomplete[day].missing
        return asset_link(self._settings, missing[0] if missing else "predicted_ratings", day)


def _subject(trouble: Trouble) -> str:
    days = ranges(trouble.days) if trouble.days else ""
    return f"{trouble.asset or 'The run'} {days}".strip()


def _why(state: DayState) -> str:
    return state.reason or f"{', '.join(state.missing)} not made"


def _backfill(days: Collection[date]) -> str:
    return f"movie-platform backfill --from {min(days)} --to {max(days)}"
