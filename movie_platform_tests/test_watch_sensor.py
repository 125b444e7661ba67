"""The sensor `watch` on real records of real runs, with Slack, TMDB and the service as servers on loopback."""

import logging
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from movie_platform.automation.watch import watch_sensor
from movie_platform.dagster_internals import run_tags
from movie_platform.daily import EXECUTOR, DayCheck, DayOutput, Verdict, check_specs, materialize_days
from movie_platform.definitions import build_definitions
from movie_platform.io_managers import JsonIOManager
from movie_platform.operations.facts import refused_in_a_row
from movie_platform.operations.watch import read_watched
from movie_platform.releases import DECISIONS, Champion
from movie_platform.settings import Settings
from movie_platform.storage import Storage, StorageError, open_storage
from movie_platform.tmdb.catalogue import synthetic_films
from movie_platform_tests.serving.service import bundle_of, decide, release_bundle, service_process, wait_until
from movie_platform_tests.slack import SECRET, Slack, running_slack
from movie_platform_tests.slack import TOKEN as BOT_TOKEN
from movie_platform_tests.stand_in import StandIn
from movie_platform_tests.tiny_graph import DAYS, tiny_graph, write_plan

TINY: dict[str, list[str]] = {"numbers": [], "doubled": ["numbers"], "summed": ["doubled"]}
DAY = date(2026, 1, 7)
"""Its training window is thin, so it is collected quickly."""
NOW = datetime(2026, 1, 8, 4, tzinfo=UTC)
"""The day is due for an hour."""
MINUTE = timedelta(minutes=1)
TMDB_TOKEN = "eyJhbGciOiJIUzI1NiJ9.a-secret-that-must-not-show"
RAW: dict[str, list[str]] = {"raw_movies": [], "raw_upcoming_movies": []}


class Ticks:
    """The sensor as the daemon evaluates it, with a clock of its own."""

    def __init__(
        self,
        instance: dg.DagsterInstance,
        folder: Path,
        *,
        upstream: Mapping[str, Collection[str]] = TINY,
        **settings: Any,
    ) -> None:
        self.instance, self.folder, self.now = instance, folder, NOW
        folder.mkdir(exist_ok=True)
        self.storage = open_storage(str(folder))
        self.cursor: str | None = None
        self.sensor = watch_sensor(
            Settings(MOVIE_PLATFORM_STORAGE=str(folder), **settings),
            self.storage,
            upstream=upstream,
            clock=lambda: self.now,
        )

    def tick(self, *, after: timedelta = MINUTE) -> str:
        """What the tick says in the UI."""
        self.now += after
        data = self.sensor.evaluate_tick(dg.build_sensor_context(self.instance, cursor=self.cursor))
        self.cursor = data.cursor
        assert data.run_requests == []
        return data.skip_message or ""

    def make(self, first: int, last: int, **wrong: list[int]) -> str:
        """Run the tiny graph on days of January, as the automation does; returns the run's id."""
        write_plan(self.folder, **{how: [f"2026-01-{n:02}" for n in found] for how, found in wrong.items()})
        result = dg.execute_job(
            dg.build_reconstructable_job(
                "movie_platform_tests.tiny_graph", "tiny_graph", reconstructable_args=(str(self.folder),)
            ),
            instance=self.instance,
            tags={
                **run_tags(date(2026, 1, first), date(2026, 1, last)),
                "movie_platform/made_by": "automation",
            },
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        return result.run_id


@pytest.fixture
def slack() -> Iterator[Slack]:
    with running_slack() as found:
        yield found


@pytest.fixture
def ticks(instance: dg.DagsterInstance, tmp_path: Path, slack: Slack) -> Ticks:
    """A watch that has begun when six days were complete."""
    found = Ticks(instance, tmp_path / "data", **slack.by_webhook, SERVING_URL=None)
    found.make(1, 6)
    assert found.tick() == "0 alerts; 0 problems are open."
    return found


def tmdb_films() -> list[dict[str, Any]]:
    return [{key: value for key, value in film.items() if key != "synthetic"} for film in synthetic_films(DAY)]


def collect(instance: dg.DagsterInstance, settings: Settings) -> bool:
    """Collect the day, as the automation does; whether it worked."""
    job = build_definitions(settings=settings).resolve_job_def("daily")
    result = job.execute_in_process(
        instance=instance,
        tags=run_tags(DAY, DAY) | {"movie_platform/made_by": "automation"},
        asset_selection=[dg.AssetKey(asset) for asset in RAW],
        raise_on_error=False,
    )
    return result.success


def test_a_wrong_token_alerts_once_and_the_day_is_told_when_it_is_complete(instance, tmp_path, slack, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    heartbeat = f"{slack.url}/beat/kept-to-itself"
    settings: dict[str, Any] = {
        "MOVIE_PLATFORM_STORAGE": str(tmp_path / "data"),
        "TMDB_ACCESS_TOKEN": TMDB_TOKEN,
        "TMDB_REQUESTS_PER_SECOND": 40,
    }
    ticks = Ticks(instance, tmp_path / "data", upstream=RAW, MOVIE_PLATFORM_HEARTBEAT=heartbeat, **slack.as_bot)
    ticks.tick()
    with StandIn(tmdb_films(), token="another") as api:
        for _ in range(3):
            assert not collect(instance, Settings(TMDB_BASE_URL=api.url, **settings))
            for _ in range(3):
                ticks.tick()
    assert slack.titles == [f"Failed: raw_movies {DAY}"]
    assert "AuthenticationError" in slack.messages[0]
    assert "tried again by itself at" in slack.messages[0]
    run_id = slack.messages[0].rpartition("/runs/")[2]
    assert instance.get_run_by_id(run_id) is not None

    with StandIn(tmdb_films(), token=TMDB_TOKEN) as api:
        assert collect(instance, Settings(TMDB_BASE_URL=api.url, **settings))
    for _ in range(3):
        ticks.tick()
    assert slack.titles[1:] == [f"Complete again: {DAY}"]
    assert slack.beats == 13, "each tick that worked"

    shown = "".join([*slack.messages, str(ticks.cursor), caplog.text, *capfd.readouterr()])
    for secret in (TMDB_TOKEN, BOT_TOKEN, heartbeat):
        assert secret not in shown


def test_days_that_a_check_refuses_are_one_alert_and_what_follows_is_no_news(ticks, slack):
    run_id = ticks.make(7, 7, refuse=[7])
    ticks.tick()
    assert slack.messages == [
        "*Refused by checks: numbers 2026-01-07*\n"
        "numbers 2026-01-07: refused by its checks: 7 was looked at.\n"
        f"{slack.messages[0].splitlines()[2]}\n"
        f"http://127.0.0.1:3000/runs/{run_id}"
    ]
    assert "rejected/numbers/. It is tried again by itself at" in slack.messages[0]
    ticks.make(7, 7, refuse=[7])
    ticks.tick()
    ticks.make(7, 7)
    ticks.tick()
    assert slack.titles[1:] == ["Complete again: 2026-01-07"]


def test_a_run_that_stops_and_days_of_their_own_are_told_apart(ticks, slack):
    ticks.now = datetime(2026, 1, 12, 4, tzinfo=UTC)
    ticks.make(7, 11, cannot=[7, 8], crash=[10])
    ticks.tick()
    (message,) = slack.messages
    assert message.splitlines()[:4] == [
        "*Failed: numbers 2026-01-07 to 2026-01-08, 2026-01-10 to 2026-01-11*",
        "numbers 2026-01-07: there is no number today",
        "numbers 2026-01-08: there is no number today",
        "numbers 2026-01-10 to 2026-01-11: RuntimeError: the network is gone",
    ]
    ticks.make(10, 11, crash=[10])
    ticks.tick()
    assert len(slack.messages) == 1


def test_a_day_that_fails_again_and_again_is_left_for_a_person(ticks, slack):
    for _ in range(6):
        ticks.make(7, 7, cannot=[7])
        ticks.tick()
    assert slack.titles == ["Failed: numbers 2026-01-07", "Left for you: 2026-01-07"]
    assert "6 failures; there is no number today" in slack.messages[1]
    assert "movie-platform backfill --from 2026-01-07 --to 2026-01-07" in slack.messages[1]


def test_a_run_that_was_ended_is_told_and_one_that_a_person_ends_is_not(ticks, slack):
    for end in ("canceled", "failed"):
        run = ticks.instance.create_run_for_job(tiny_graph(str(ticks.folder)), tags=run_tags(DAY, DAY))
        if end == "canceled":
            ticks.instance.report_run_canceled(run)
        else:
            ticks.instance.report_run_failed(run, "Exceeded maximum runtime of 7200 seconds.")
        ticks.tick()
    (message,) = slack.messages
    assert message.splitlines()[:2] == [
        "*A run of tiny failed: 2026-01-07*",
        "The run 2026-01-07: Exceeded maximum runtime of 7200 seconds.",
    ]


def test_a_second_run_of_a_day_that_is_ended_is_no_news_and_one_of_another_day_is(ticks, slack):
    for day in (DAY, DAY, DAY - timedelta(days=1)):
        run = ticks.instance.create_run_for_job(tiny_graph(str(ticks.folder)), tags=run_tags(day, day))
        ticks.instance.report_run_failed(run, "Exceeded maximum runtime of 7200 seconds.")
        ticks.tick()
    assert slack.titles == ["A run of tiny failed: 2026-01-07", "A run of tiny failed: 2026-01-06"]


def test_a_failure_of_another_job_is_told_until_it_works(ticks, slack):
    disk = iter(["read-only", "read-only", None])

    @dg.op
    def purge() -> None:
        if problem := next(disk):
            raise OSError(f"the disk is {problem}")

    @dg.job
    def retention() -> None:
        purge()

    for _ in range(3):
        retention.execute_in_process(instance=ticks.instance, raise_on_error=False)
        ticks.tick()
    assert slack.titles == ["Failed: purge in retention", "retention works again"]
    assert "OSError: the disk is read-only" in slack.messages[0]


def test_the_first_tick_tells_of_nothing_that_failed_before(instance, tmp_path, slack):
    ticks = Ticks(instance, tmp_path / "data", **slack.by_webhook)
    ticks.make(1, 6, cannot=[3])
    ticks.make(7, 7, crash=[7])
    for _ in range(3):
        ticks.tick()
    assert slack.messages == []
    ticks.tick(after=timedelta(hours=20))
    assert slack.messages == []
    for _ in range(6):
        ticks.tick(after=10 * MINUTE)
    assert slack.titles == ["Not complete 12 hours after it was due: 2026-01-03, 2026-01-07"]


def test_an_alert_that_slack_does_not_take_is_sent_later_in_order_and_meanwhile_there_is_no_heartbeat(
    ticks, slack, tmp_path
):
    ticks = Ticks(ticks.instance, ticks.folder, MOVIE_PLATFORM_HEARTBEAT=str(tmp_path / "alive"), **slack.by_webhook)
    ticks.tick()
    (tmp_path / "alive").unlink()
    slack.refusals = [(500, "rollback_error", {}), (429, "rate_limited", {"Retry-After": "90"})]
    ticks.make(7, 7, crash=[7])
    assert ticks.tick() == (
        "1 alerts wait to be sent: Slack answers HTTP 500, rollback_error: see whether SLACK_WEBHOOK_URL is still the "
        "one that Slack shows"
    )
    ticks.make(7, 7)
    assert "HTTP 429" in ticks.tick()
    assert "left alone until" in ticks.tick()
    assert slack.messages == []
    assert not (tmp_path / "alive").exists()
    for _ in range(3):
        ticks.tick()
    assert slack.titles == ["Failed: numbers 2026-01-07", "Complete again: 2026-01-07"]
    assert (tmp_path / "alive").exists()
    assert SECRET not in str(ticks.cursor)


def test_the_count_of_alerts_that_were_not_kept_waits_as_long_as_slack_wants(ticks, slack):
    known = read_watched(ticks.cursor)
    assert known is not None
    ticks.cursor = known.model_copy(update={"lost": 3}).model_dump_json()
    slack.refusals = [(429, "rate_limited", {"Retry-After": "90"})]
    assert ticks.tick().startswith("1 alerts wait to be sent: Slack answers HTTP 429")
    assert "left alone until" in ticks.tick()
    assert slack.messages == []
    ticks.tick()
    assert slack.titles == ["3 more messages were not kept while Slack took none"]


def test_without_slack_nothing_is_told_and_the_heartbeat_goes_on(instance, tmp_path, slack):
    ticks = Ticks(instance, tmp_path / "data", MOVIE_PLATFORM_HEARTBEAT=f"{slack.url}/beat/x")
    ticks.make(1, 7, crash=[7])
    slack.refusals = [(503, "down", {})]
    assert "HTTP 503" in ticks.tick()
    assert ticks.tick() == "Slack is not set: nobody is told of anything."
    assert slack.beats == 1
    assert not ticks.cursor


def test_a_storage_that_cannot_be_read_means_no_heartbeat_and_slack_is_told(ticks, slack, tmp_path):
    """What waits is sent all the same."""
    ticks = Ticks(ticks.instance, ticks.folder, MOVIE_PLATFORM_HEARTBEAT=str(tmp_path / "alive"), **slack.by_webhook)
    ticks.tick()
    (tmp_path / "alive").unlink()
    slack.refusals = [(500, "rollback_error", {})]
    ticks.make(7, 7, crash=[7])
    assert "wait to be sent" in ticks.tick()
    (ticks.folder / "champion.json").write_text("not a pointer")
    for _ in range(12):
        assert ticks.tick().startswith("The storage cannot be read: ")
    assert slack.titles == ["Failed: numbers 2026-01-07", "The storage cannot be read"]
    assert "champion.json" in slack.messages[1]
    assert not (tmp_path / "alive").exists()

    (ticks.folder / "champion.json").unlink()
    ticks.tick()
    assert slack.titles[2:] == ["The storage can be read again"]
    assert (tmp_path / "alive").exists()


def test_a_first_look_needs_the_storage(ticks, slack):
    ticks = Ticks(ticks.instance, ticks.folder, **slack.by_webhook)
    (ticks.folder / "champion.json").write_text("not a pointer")
    with pytest.raises(Exception, match=r"champion\.json"):
        ticks.tick()


def test_one_job_does_not_hide_what_another_one_meets(ticks, slack):
    @dg.op
    def purge() -> None:
        raise StorageError("read-only")

    @dg.job
    def retention() -> None:
        purge()

    retention.execute_in_process(instance=ticks.instance, raise_on_error=False)
    ticks.tick()
    (ticks.folder / "numbers/2026-01-07.json").mkdir()
    ticks.make(7, 7)
    ticks.tick()
    assert slack.titles == ["Failed: purge in retention", "Failed: numbers 2026-01-07"]
    assert "StorageError" in slack.messages[1]


def put_decision(storage: Storage, n: int, *, released: bool) -> None:
    candidate = Champion(
        partition=date(2026, 1, n), sha256="0" * 64, path="released/none.zip", code_version="abc", synthetic=True
    )
    decide(storage, candidate, released=released)


def test_refusals_are_counted_back_to_the_newest_release(tmp_path):
    storage = open_storage(str(tmp_path))
    assert refused_in_a_row(storage, at_most=7) == ()
    for n in range(1, 13):
        put_decision(storage, n, released=n == 3)
    storage.put(f"{DECISIONS}/2026-01-12/plot.png", b"")
    assert [d.partition.day for d in refused_in_a_row(storage, at_most=7)] == [12, 11, 10, 9, 8, 7, 6]
    assert [d.partition.day for d in refused_in_a_row(storage, at_most=20)] == [12, 11, 10, 9, 8, 7, 6, 5, 4]


def test_warnings_of_the_newest_day_are_a_digest(instance, tmp_path, slack):
    """Of the checks as the harness records them, one evaluation for each day of a range."""
    ticks = Ticks(instance, tmp_path / "data", upstream={"predicted_ratings": []}, **slack.by_webhook)
    ticks.make(1, 6)

    def predict(first: int, last: int, *, drifted: bool) -> None:
        job = drifting_graph(str(ticks.folder), drifted=drifted)
        job.execute_in_process(instance=instance, tags=run_tags(date(2026, 1, first), date(2026, 1, last)))

    predict(1, 6, drifted=True)
    ticks.tick()
    predict(7, 7, drifted=True)
    ticks.tick()
    ticks.tick()
    assert slack.titles == ["Warnings of 2026-01-07"]
    assert slack.messages[0].splitlines()[1] == "predicted_ratings drift: genres moved"
    ticks.now += timedelta(days=2)
    predict(8, 9, drifted=False)
    ticks.tick()
    assert len(slack.messages) == 1


def drifting_graph(folder: str, *, drifted: bool) -> dg.JobDefinition:
    verdict = Verdict(passed=not drifted, summary="genres moved")
    checks = [DayCheck(name="drift", description="", examine=lambda *_: verdict, blocking=False)]

    @dg.asset(partitions_def=DAYS, check_specs=check_specs("predicted_ratings", checks, DAYS))
    def predicted_ratings(context: dg.AssetExecutionContext) -> Iterator[dg.Output[Any]]:
        yield from materialize_days(context, lambda day: DayOutput(value={"n": day.day}), checks)

    return dg.Definitions(
        assets=[predicted_ratings],
        jobs=[dg.define_asset_job("predict", selection=dg.AssetSelection.all())],
        resources={"io_manager": JsonIOManager(open_storage(folder))},
        executor=EXECUTOR,
    ).resolve_job_def("predict")


def test_a_bundle_that_a_real_service_does_not_serve_is_told_and_so_is_its_recovery(instance, tmp_path, slack):
    storage = open_storage(str(tmp_path / "data"))
    first = release_bundle(storage, bundle_of(date(2026, 1, 5)))
    where: dict[str, Any] = {
        "MOVIE_PLATFORM_STORAGE": str(tmp_path / "data"),
        "SERVING_API_KEYS": "0123456789abcdef",  # which the platform does not need
    }
    (tmp_path / "again").mkdir()
    with service_process(tmp_path, SERVING_POLL_SECONDS="0.2", **where) as service:
        ticks = Ticks(instance, tmp_path / "data", SERVING_URL=service.url, **slack.by_webhook)
        ticks.make(1, 7)
        ticks.tick()
        # Another bundle of the same day, damaged: only its digest tells them apart.
        other = release_bundle(storage, bundle_of(date(2026, 1, 5), seed=1))
        good = storage.get(other.path)
        storage.put(other.path, b"damaged")
        wait_until(lambda: "refused" in str(service.log_lines()) or other.sha256[:12] in str(service.log_lines()))
        ticks.tick()
        ticks.tick(after=11 * MINUTE)
        assert slack.titles == ["Not served: the bundle of 2026-01-05, which is in force"]
        storage.put(other.path, good)
        assert first.sha256 != other.sha256
    ticks.tick()
    assert len(slack.messages) == 1, "a service that is down serves it no more than one that refuses it"
    with service_process(tmp_path / "again", **where) as service:
        found = Ticks(instance, tmp_path / "data", SERVING_URL=service.url, **slack.by_webhook)
        found.cursor, found.now = ticks.cursor, ticks.now
        found.tick()
    assert slack.titles[1:] == ["Served again: 2026-01-05"]
