"""What is worth an alert, and when it is over: steps of the state machine, without Dagster."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from movie_platform.alerts import Alert
from movie_platform.operations.facts import Facts, FailedRun, Trouble, Warnings
from movie_platform.operations.served import Served
from movie_platform.operations.survey import DayState, DayStatus, Survey, due_at
from movie_platform.operations.watch import (
    REFUSED_IN_A_ROW,
    Watched,
    of_lost,
    read_watched,
    wanted_of,
    watch,
    with_unsent,
    without_storage,
)
from movie_platform.releases import Champion, Decision
from movie_platform.settings import Settings
from movie_platform.storage import StorageError

SETTINGS = Settings(SERVING_URL="http://127.0.0.1:8000")
FIRST = date(2026, 1, 1)
NEWEST = date(2026, 1, 10)
NOW = due_at(NEWEST, SETTINGS)
MINUTE = timedelta(minutes=1)


def day(n: int) -> date:
    return FIRST + timedelta(days=n - 1)


def surveyed(
    states: Iterable[DayState] = (), *, older_gaps: Collection[date] = (), newest: date = NEWEST, first: date = FIRST
) -> Survey:
    """Every day is complete, but for these."""
    lacking = {state.day: state for state in states}
    all_days = [first + timedelta(days=n) for n in range((newest - first).days + 1)]
    found = tuple(lacking.get(day, DayState(day, DayStatus.COMPLETE)) for day in all_days)
    return Survey(newest=newest, days=found, older_gaps=tuple(older_gaps))


def waiting(n: int, reason: str = "AuthenticationError: the token is refused") -> DayState:
    return DayState(day(n), DayStatus.WAITING, ("raw_movies",), 1, NOW + timedelta(hours=1), reason)


def given_up(n: int) -> DayState:
    return DayState(day(n), DayStatus.GIVEN_UP, ("raw_movies",), 6, None, "refused by its checks: too few")


def running(n: int) -> DayState:
    return DayState(day(n), DayStatus.RUNNING, ("raw_movies",))


def due(n: int) -> DayState:
    return DayState(day(n), DayStatus.DUE, ("raw_movies", "preprocessed_movies"))


def token_refused(*days: int) -> Trouble:
    reason = "AuthenticationError: the token is refused"
    return Trouble(key="AuthenticationError", reason=reason, days=tuple(map(day, days)), asset="raw_movies")


def refused(n: int, asset: str = "raw_movies") -> Trouble:
    reason = "refused by its checks: Too few films."
    return Trouble(key=f"{asset} {day(n)} refused", reason=reason, days=(day(n),), asset=asset)


def failed(*troubles: Trouble, job: str = "daily") -> FailedRun:
    return FailedRun(run_id="abc", job=job, troubles=troubles)


def champion(n: int) -> Champion:
    return Champion(partition=day(n), sha256=f"{n:064}", path=f"released/{n}", code_version="abc", synthetic=True)


class Clock:
    """A watch that looks once a minute."""

    def __init__(self, settings: Settings = SETTINGS, *, now: datetime = NOW) -> None:
        self.settings = settings
        self.now = now
        self.known: Watched | None = None

    def look(
        self, *states: DayState, after: timedelta = MINUTE, survey: Survey | None = None, **facts: Any
    ) -> list[Alert]:
        """The alerts of a look that sees these days incomplete."""
        self.now += after
        nothing: dict[str, Any] = {
            "failed": (),
            "newest_failure": 0,
            "succeeding_jobs": frozenset(),
            "refusals": (),
            "warnings": None,
            "champion": None,
            "served": None,
        }
        seen = Facts(now=self.now, survey=survey or surveyed(states), **nothing | facts)
        alerts, known = watch(seen, self.known, self.settings)
        self.known = read_watched(known.model_dump_json())
        assert self.known == known, "what is known survives being kept as text"
        return alerts


@pytest.fixture
def clock() -> Clock:
    """A watch that has begun while all was well."""
    begun = Clock()
    assert begun.look() == []
    return begun


def titles(alerts: Iterable[Alert]) -> list[str]:
    return [alert.title for alert in alerts]


def test_a_wrong_token_is_told_once_whichever_asset_and_day_meets_it(clock):
    (alert,) = clock.look(waiting(10), failed=(failed(token_refused(10)),))
    assert alert.title == "Failed: raw_movies 2026-01-10"
    assert alert.lines == ("raw_movies 2026-01-10: AuthenticationError: the token is refused",)
    assert alert.to_do.startswith("It is tried again by itself at 2026-01-11 04:00 UTC")
    assert alert.link == "http://127.0.0.1:3000/runs/abc"

    for _ in range(5):  # tried again
        assert clock.look(waiting(10), failed=(failed(token_refused(10)),), after=timedelta(hours=6)) == []
    next_day = surveyed([waiting(10), waiting(11)], newest=day(11))
    other = replace(token_refused(10, 11), asset="raw_upcoming_movies")
    assert clock.look(survey=next_day, failed=(failed(other),)) == []
    (over,) = clock.look(survey=surveyed(newest=day(11)))
    assert over.title == "Complete again: 2026-01-10 to 2026-01-11"

    again = surveyed([waiting(12)], newest=day(12))
    assert titles(clock.look(survey=again, failed=(failed(token_refused(12)),))) == ["Failed: raw_movies 2026-01-12"]


def test_an_outage_that_is_over_does_not_hide_the_next_one(clock):
    """One of its days is complete again, so the cause was gone."""
    clock.look(waiting(8), waiting(9), failed=(failed(token_refused(8, 9)),))
    assert titles(clock.look(waiting(9))) == ["Complete again: 2026-01-08"]
    again = failed(token_refused(9, 10))
    assert titles(clock.look(waiting(9), waiting(10), failed=(again,))) == [
        "Failed: raw_movies 2026-01-09 to 2026-01-10"
    ]
    assert clock.look(waiting(9), waiting(10), failed=(again,)) == []
    assert titles(clock.look()) == ["Complete again: 2026-01-09 to 2026-01-10"]


@pytest.mark.parametrize("left", ["refused", "given up"])
def test_a_day_that_fails_for_another_reason_since_does_not_keep_its_outage_open(clock, left):
    clock.look(waiting(5), failed=(failed(token_refused(5)),))
    if left == "refused":
        assert titles(clock.look(waiting(5), failed=(failed(refused(5)),))) == [
            "Refused by checks: raw_movies 2026-01-05"
        ]
    else:
        assert titles(clock.look(given_up(5))) == ["Left for you: 2026-01-05"]
    state = waiting(5) if left == "refused" else given_up(5)
    assert titles(clock.look(state, waiting(10), failed=(failed(token_refused(10)),))) == [
        "Failed: raw_movies 2026-01-10"
    ]
    assert titles(clock.look()) == ["Complete again: 2026-01-05, 2026-01-10"]


def test_what_two_assets_meet_on_the_same_day_is_told_once_however_often_it_is_tried(clock):
    """As when TMDB changes what both collected assets read."""
    run = failed(refused(5), refused(5, "raw_upcoming_movies"))
    assert titles(clock.look(waiting(5), failed=(run,))) == [
        "Refused by checks: raw_movies, raw_upcoming_movies 2026-01-05"
    ]
    for _ in range(5):
        assert clock.look(waiting(5), failed=(run,), after=timedelta(hours=1)) == []
    assert clock.look(waiting(5), failed=(failed(refused(5)),)) == []
    assert titles(clock.look()) == ["Complete again: 2026-01-05"]


def test_a_run_that_a_day_fails_in_for_another_reason_than_its_neighbour_tells_both_apart(clock):
    clock.look(waiting(5), waiting(6), failed=(failed(token_refused(5, 6)),))
    run = failed(refused(5), token_refused(6))
    assert titles(clock.look(waiting(5), waiting(6), failed=(run,))) == ["Refused by checks: raw_movies 2026-01-05"]
    assert clock.known.problems["AuthenticationError"].days == (day(6),)


def test_days_that_failed_for_their_own_reasons_are_one_alert_that_lists_them(clock):
    run = failed(refused(4), refused(5), refused(7))
    states = [waiting(n, "refused") for n in (4, 5, 7)]
    (alert,) = clock.look(*states, failed=(run,))
    assert alert.title == "Refused by checks: raw_movies 2026-01-04 to 2026-01-05, 2026-01-07"
    assert alert.lines[0] == "raw_movies 2026-01-04: refused by its checks: Too few films."
    assert alert.to_do.startswith("What was refused is kept under rejected/raw_movies/.")
    assert len(alert.lines) == 3
    assert clock.look(*states, failed=(run,)) == []

    assert titles(clock.look(states[2])) == ["Complete again: 2026-01-04 to 2026-01-05"]
    assert clock.look(states[2]) == []
    assert titles(clock.look()) == ["Complete again: 2026-01-07"]


def test_a_day_that_is_given_up_is_left_for_a_person_with_the_command(clock):
    clock.look(waiting(5), failed=(failed(refused(5)),))
    (alert,) = clock.look(given_up(5), failed=(failed(refused(5)),))
    assert alert.title == "Left for you: 2026-01-05"
    assert "movie-platform backfill --from 2026-01-05 --to 2026-01-05" in alert.to_do
    assert "partition=2026-01-05" in alert.link
    assert clock.look(given_up(5)) == []
    assert clock.look(running(5)) == []
    assert clock.look(given_up(5)) == []
    assert titles(clock.look()) == ["Complete again: 2026-01-05"]


def test_days_of_one_run_are_told_to_be_complete_together(clock):
    clock.look(waiting(5), waiting(6), failed=(failed(token_refused(5, 6)),))
    assert clock.look(running(6)) == []
    assert titles(clock.look()) == ["Complete again: 2026-01-05 to 2026-01-06"]


def test_a_failure_while_a_recovery_waits_to_be_told_is_a_new_one(clock):
    clock.look(waiting(5), failed=(failed(token_refused(5)),))
    clock.look(waiting(9, "refused"), failed=(failed(refused(9)),))
    assert clock.look(running(9)) == [], "the fifth is complete, the ninth still being made"
    found = clock.look(waiting(10), running(9), failed=(failed(token_refused(10)),))
    assert titles(found) == ["Failed: raw_movies 2026-01-10"]


def test_a_day_that_stays_missing_is_told_when_its_deadline_is_over(clock):
    deadline = due_at(NEWEST, SETTINGS) + timedelta(hours=SETTINGS.deadline_hours)
    while clock.now < deadline - 10 * MINUTE:
        assert clock.look(due(10), after=9 * MINUTE) == []
    (alert,) = clock.look(due(10), after=deadline - clock.now)
    assert alert.title == "Not complete 12 hours after it was due: 2026-01-10"
    assert alert.lines == ("2026-01-10, due: raw_movies, preprocessed_movies not made",)
    assert clock.look(due(10)) == []
    assert titles(clock.look()) == ["Complete again: 2026-01-10"]


def test_a_day_that_is_being_made_is_not_called_late(clock):
    for _ in range(30):
        assert clock.look(running(10), after=timedelta(hours=1)) == []
    for _ in range(6):
        clock.look(running(10), after=10 * MINUTE)
    assert titles(clock.look(due(10))) == ["Not complete 12 hours after it was due: 2026-01-10"]


def test_nobody_is_woken_for_a_deadline_of_what_a_failure_has_told(clock):
    clock.look(waiting(10), failed=(failed(token_refused(10)),))
    for _ in range(20):
        assert clock.look(waiting(10), after=timedelta(hours=1)) == []


def test_after_an_outage_days_have_an_hour_to_be_caught_up_with(clock):
    missed = surveyed([due(n) for n in range(11, 15)], newest=day(14))
    assert clock.look(survey=missed, after=timedelta(days=5)) == []
    for _ in range(5):
        assert clock.look(survey=missed, after=timedelta(minutes=10)) == []
    (alert,) = clock.look(survey=missed, after=timedelta(minutes=10))
    assert alert.title.endswith("2026-01-11 to 2026-01-14")


def test_older_gaps_are_one_alert_and_another_one_when_they_grow(clock):
    gaps = [day(-20), day(-19), day(-5)]
    (alert,) = clock.look(survey=surveyed(older_gaps=gaps))
    assert alert.title == "Older days are not complete: 2025-12-11 to 2025-12-12, 2025-12-26"
    assert "movie-platform backfill --from 2025-12-11 --to 2025-12-26" in alert.to_do
    assert clock.look(survey=surveyed(older_gaps=gaps)) == []
    assert titles(clock.look(survey=surveyed(older_gaps=gaps[1:]))) == ["Complete again: 2025-12-11"]
    (alert,) = clock.look(survey=surveyed(older_gaps=[*gaps[1:], day(-4)]))
    assert alert.title == "Older days are not complete: 2025-12-27"


def test_a_day_that_was_given_up_and_grows_old_is_not_told_again(clock):
    clock.look(given_up(1))
    assert clock.look(survey=surveyed(first=day(2), older_gaps=[day(1)])) == []
    assert titles(clock.look(survey=surveyed(first=day(2)))) == ["Complete again: 2026-01-01"]


def test_the_first_look_tells_what_is_wrong_now_and_not_what_failed_before():
    clock = Clock()
    found = clock.look(survey=surveyed([waiting(3), given_up(4), due(9)], older_gaps=[day(-3)]), newest_failure=17)
    assert titles(found) == ["Left for you: 2026-01-04", "Older days are not complete: 2025-12-28"]
    assert wanted_of(clock.known, clock.now).failures_after == 17
    assert wanted_of(None, clock.now).failures_after is None


def test_a_run_that_makes_a_complete_day_anew_and_fails_is_told_and_nothing_is_complete_again(clock):
    (alert,) = clock.look(failed=(failed(token_refused(5)),))
    assert "complete all the same" in alert.to_do
    assert clock.look() == []


def test_a_failure_of_another_job_is_told_until_it_works(clock):
    trouble = Trouble(key="purge StorageError", reason="StorageError: read-only", days=(), asset="purge")
    (alert,) = clock.look(failed=(failed(trouble, job="retention"),))
    assert alert.title == "Failed: purge in retention"
    assert clock.look(failed=(failed(trouble, job="retention"),)) == []
    assert wanted_of(clock.known, clock.now).jobs == {"retention"}
    assert titles(clock.look(succeeding_jobs=frozenset({"retention"}))) == ["retention works again"]
    assert clock.look(succeeding_jobs=frozenset({"retention"})) == []


def decision(n: int) -> Decision:
    return Decision(
        partition=day(n),
        released=False,
        reasons=[f"RMSE of {n} is no better."],
        candidate=champion(n),
        compared_with=None,
        compared_films=0,
        rmse={},
        champion_in_force=champion(1),
        synthetic=True,
    )


def test_a_gate_that_refuses_for_days_is_told_with_the_newest_reasons(clock):
    refusals = tuple(decision(n) for n in range(REFUSED_IN_A_ROW, 0, -1))
    assert clock.look(refusals=refusals[1:]) == []
    (alert,) = clock.look(refusals=refusals)
    assert alert.title == "No bundle was good enough 7 days in a row, up to 2026-01-07"
    assert alert.lines == ("RMSE of 7 is no better.", "In force is the bundle of 2026-01-01.")
    assert clock.look(refusals=refusals) == []
    assert titles(clock.look(refusals=())) == ["A bundle was released again"]


def test_warnings_are_at_most_one_message_a_day(clock):
    assert wanted_of(clock.known, clock.now).warnings_after == NEWEST, "what is there at the first look is no news"
    (alert,) = clock.look(warnings=Warnings(day=day(11), lines=("predicted_ratings drift: genres",)))
    assert alert.title == "Warnings of 2026-01-11"
    assert alert.link.endswith("/assets/predicted_ratings?view=checks&partition=2026-01-11")
    assert wanted_of(clock.known, clock.now).warnings_after is None
    assert wanted_of(clock.known, clock.now + timedelta(days=1)).warnings_after == day(11)
    clock.now += timedelta(days=1)
    assert clock.look(warnings=Warnings(day=day(12), lines=())) == []
    assert wanted_of(clock.known, clock.now).warnings_after == day(12)


def test_a_released_bundle_that_is_not_served_is_told_after_a_while(clock):
    old = Served(partition=day(1), sha256=champion(1).sha256, pinned=False)
    assert clock.look(champion=champion(2), served=old) == []
    assert clock.look(champion=champion(2), served=old, after=9 * MINUTE) == []
    (alert,) = clock.look(champion=champion(2), served=old)
    assert alert.title == "Not served: the bundle of 2026-01-02, which is in force"
    assert "serves the bundle of 2026-01-01" in alert.lines[0]
    assert clock.look(champion=champion(3), served=old, after=60 * MINUTE) == []
    new = Served(partition=day(3), sha256=champion(3).sha256)
    assert titles(clock.look(champion=champion(3), served=new)) == ["Served again: 2026-01-03"]
    assert clock.look(champion=champion(3), served=new) == []


def test_a_service_that_does_not_answer_serves_nothing_and_a_short_pause_is_nothing(clock):
    served = Served(partition=day(1), sha256=champion(1).sha256)
    down = Served(problem="it does not answer (ConnectError)")
    for _ in range(20):
        assert clock.look(champion=champion(1), served=down, after=2 * MINUTE) == []
        assert clock.look(champion=champion(1), served=served) == []
    clock.look(champion=champion(1), served=down)
    (alert,) = clock.look(champion=champion(1), served=down, after=10 * MINUTE)
    assert "it does not answer (ConnectError)" in alert.lines[0]


def test_a_pinned_service_serves_what_it_is_told_to(clock):
    pinned = Served(partition=day(1), sha256=champion(1).sha256, pinned=True)
    for _ in range(3):
        assert clock.look(champion=champion(2), served=pinned, after=timedelta(hours=1)) == []


def test_an_unreadable_cursor_is_begun_anew():
    assert read_watched(None) is None
    assert read_watched("") is None
    assert read_watched("not JSON") is None
    assert read_watched('{"version": 0}') is None


def test_too_many_unsent_alerts_do_not_fill_the_cursor_and_are_counted(clock):
    known = clock.known
    for number in range(50):
        known = with_unsent(known, [Alert(title=f"{number}", lines=(), to_do="", link="")])
    assert titles(known.unsent) == [f"{number}" for number in range(30)]
    assert of_lost(known, SETTINGS).title == "20 more messages were not kept while Slack took none"
    assert of_lost(clock.known, SETTINGS) is None


def test_a_storage_that_stays_away_is_told_once_and_when_it_is_back(clock):
    known, error = clock.known, StorageError("cannot read s3://films/champion.json: no network")
    for minutes in range(9):
        known = without_storage(known, error, SETTINGS, NOW + minutes * MINUTE)
    assert known.unsent == (), "most of it passes by itself"
    for minutes in range(10, 60):
        known = without_storage(known, error, SETTINGS, NOW + minutes * MINUTE)
    (alert,) = known.unsent
    assert alert.title == "The storage cannot be read"
    assert alert.lines[0] == f"{error}."

    clock.known = known
    assert titles(clock.look()) == ["The storage can be read again"]
    assert clock.look() == []
    assert without_storage(clock.known, error, SETTINGS, clock.now).away_since == clock.now


def test_a_day_that_is_given_up_a_second_time_is_told_again(clock):
    """A person has made what it failed at, and now it fails at what follows."""
    clock.look(waiting(5), failed=(failed(refused(5)),))
    assert titles(clock.look(given_up(5))) == ["Left for you: 2026-01-05"]
    assert clock.look(due(5)) == []
    failing = failed(refused(5, "metrics"))
    assert titles(clock.look(waiting(5), failed=(failing,))) == ["Refused by checks: metrics 2026-01-05"]
    assert clock.look(waiting(5), failed=(failing,)) == []
    assert titles(clock.look(given_up(5), failed=(failing,))) == ["Left for you: 2026-01-05"]
    assert titles(clock.look()) == ["Complete again: 2026-01-05"]


def test_a_day_that_stays_given_up_is_not_left_to_a_person_again(clock):
    """Who has tried it by hand is told how that ended, and no more."""
    clock.look(given_up(5))
    assert titles(clock.look(given_up(5), failed=(failed(refused(5)),))) == ["Refused by checks: raw_movies 2026-01-05"]
    assert clock.look(running(5)) == []
    assert clock.look(given_up(5), failed=(failed(refused(5)),)) == []
    assert clock.look(due(5)) == []
    assert titles(clock.look()) == ["Complete again: 2026-01-05"]


KINDS = st.sampled_from(["complete", "waiting", "running", "due", "given up"])
LOOKS = st.lists(
    st.tuples(
        st.lists(KINDS, min_size=6, max_size=6),  # what the days are
        st.sets(st.integers(1, 6)),  # the days of a run that failed
        st.sampled_from(["token", "refused", "none"]),
        st.integers(1, 800),  # minutes since the last look
    ),
    max_size=30,
)


@given(LOOKS)
def test_no_open_problem_is_told_twice_and_each_recovery_was_opened(looks):
    """Whatever the days and runs do, seen from the alerts alone."""
    clock = Clock()
    made = {"waiting": waiting, "running": running, "due": due, "given up": given_up}
    told: set[date] = set()  # days that alerts have named, and that are not told to be complete since
    left: set[date] = set()
    for kinds, failing, how, pause in looks:
        states = {n: made[kind](n) for n, kind in enumerate(kinds, start=1) if kind != "complete"}
        newest = surveyed(states.values(), newest=day(6))
        trouble = [token_refused(*sorted(failing))] if how == "token" else [refused(n) for n in sorted(failing)]
        runs = (failed(*trouble),) if failing and how != "none" else ()
        tried_again = {day(n) for n in failing if kinds[n - 1] in {"waiting", "due"}} if runs else set()
        left -= tried_again  # by itself, so a person has mended something, and it can be given up once more
        alerts = clock.look(survey=newest, failed=runs, after=timedelta(minutes=pause))
        note(f"{kinds} {failing} {how} {pause}: {titles(alerts)}")
        for alert in alerts:
            named = days_in(alert.title)
            if alert.title.startswith("Complete again"):
                assert named <= told, "only what was told is told to be over, and once"
                assert not named & {day(n) for n in states}, "and it is complete"
                told -= named
                left -= named
            elif alert.title.startswith("Left for you"):
                assert not named & left, "given up is told once"
                left |= named
                told |= named
            elif alert.title.startswith("Not complete"):
                assert not named & told, "nobody is woken for a deadline of what was told"
                told |= named
            else:
                told |= named
        open_days = {d for problem in clock.known.problems.values() for d in problem.days}
        told |= {day(n) for n in failing if runs} & open_days  # covered by an alert that is open already
        assert open_days <= told
        told &= open_days  # a day that was never seen to lack anything is not told to be complete again
        lacking = {day(n) for n in states}
        assert {day(n) for n in failing if runs} & lacking <= open_days

    clock.look(survey=surveyed(newest=day(6)))
    assert clock.look(survey=surveyed(newest=day(6))) == []
    assert clock.known.problems == {}, "all is over when all is complete"


@given(st.lists(st.tuples(st.integers(1, 6), st.booleans()), max_size=40))
def test_a_day_that_fails_and_recovers_is_told_so_each_time(changes):
    clock = Clock()
    clock.look()
    lacking: set[int] = set()
    for n, fails in changes:
        expected: list[str] = []
        runs: tuple[FailedRun, ...] = ()
        if fails:
            expected = [] if n in lacking else [f"Refused by checks: raw_movies {day(n)}"]
            lacking.add(n)
            runs = (failed(refused(n)),)
        elif n in lacking:
            expected = [f"Complete again: {day(n)}"]
            lacking.discard(n)
        assert titles(clock.look(*(waiting(m) for m in lacking), failed=runs)) == expected


def days_in(title: str) -> set[date]:
    """The days that a title names."""
    found: set[date] = set()
    words = title.replace(",", "").split()
    dates = [(i, date.fromisoformat(word)) for i, word in enumerate(words) if word[:2] == "20"]
    for (i, first), following in zip(dates, [*dates[1:], None], strict=True):
        found.add(first)
        if following is not None and words[i + 1] == "to":
            found |= {first + timedelta(days=n) for n in range((following[1] - first).days + 1)}
    return found
