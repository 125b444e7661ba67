"""Alerts and the heartbeat over real sockets: what arrives, and what an error says and does not say."""

import logging
import socket
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from movie_platform.alerts import Alert, HeartbeatError, NotSentError, asset_link, beat, in_slack, notifier, run_link
from movie_platform.partitions import parse_day
from movie_platform.settings import Settings
from movie_platform_tests.slack import SECRET, TOKEN, Slack, running_slack

ALERT = Alert(
    title="Failed: raw_movies 2026-01-05",
    lines=("raw_movies 2026-01-05: AuthenticationError: TMDB refused the token & <said> so",),
    to_do="It is tried again by itself.",
    link="http://127.0.0.1:3000/assets/raw_movies?view=partitions&partition=2026-01-05",
)


@pytest.fixture
def slack() -> Iterator[Slack]:
    with running_slack() as found:
        yield found


@pytest.fixture(params=["webhook", "bot"])
def way(request: pytest.FixtureRequest, slack: Slack) -> dict[str, Any]:
    return slack.by_webhook if request.param == "webhook" else slack.as_bot


def send(alert: Alert, way: dict[str, Any]) -> None:
    """Send it, as these settings say."""
    found = notifier(Settings(**way))
    assert found is not None
    found(alert)


def told(error: BaseException) -> str:
    """Everything that a log could show of an error."""
    return "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))


def test_an_alert_arrives_with_what_slack_would_interpret_escaped(slack, way):
    send(ALERT, way)
    assert slack.messages == [
        "*Failed: raw_movies 2026-01-05*\n"
        "raw_movies 2026-01-05: AuthenticationError: TMDB refused the token &amp; &lt;said&gt; so\n"
        "It is tried again by itself.\n"
        "http://127.0.0.1:3000/assets/raw_movies?view=partitions&amp;partition=2026-01-05"
    ]


def test_without_a_setting_there_is_no_notifier():
    assert notifier(Settings()) is None


@given(st.text(max_size=2000), st.lists(st.text(max_size=2000), max_size=40), st.text(max_size=2000))
def test_whatever_it_says_it_is_bounded_and_mentions_nobody(title, lines, to_do):
    text = in_slack(Alert(title=title, lines=tuple(lines), to_do=to_do, link="http://127.0.0.1:3000/runs"))
    assert "<" not in text
    assert len(text) < 40_000, "Slack cuts longer texts"
    assert len(text.splitlines()) <= 17


@pytest.mark.parametrize(
    ("refusal", "says", "wait"),
    [
        ((429, "rate_limited", {"Retry-After": "120"}), "HTTP 429", 120),
        ((429, "rate_limited", {"Retry-After": "a while"}), "HTTP 429", 0),
        ((500, "rollback_error", {}), "HTTP 500", 0),
        ((403, "action_prohibited", {}), "action_prohibited", 0),
        ((404, "<html>no such page</html>", {}), "no reason", 0),
    ],
)
def test_a_refusal_is_said_and_not_repeated_at_once(slack, way, refusal, says, wait):
    slack.refusals = [refusal]
    with pytest.raises(NotSentError, match=says) as caught:
        send(ALERT, way)
    assert caught.value.wait == wait
    assert slack.messages == []
    send(ALERT, way)
    assert len(slack.messages) == 1


def test_what_is_wrong_with_a_token_or_a_channel_is_said(slack):
    with pytest.raises(NotSentError, match="invalid_auth: see whether SLACK_BOT_TOKEN"):
        send(ALERT, slack.as_bot | {"SLACK_BOT_TOKEN": "xoxb-another"})
    with pytest.raises(NotSentError, match="channel_not_found"):
        send(ALERT, slack.as_bot | {"SLACK_CHANNEL": "#none"})


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.mark.parametrize("way_in", ["SLACK_WEBHOOK_URL", "SLACK_BOT_TOKEN"])
@pytest.mark.parametrize("trouble", ["closed", "redirect", "unresolvable"])
def test_no_secret_gets_out_with_an_error(slack, way_in, trouble, caplog):
    caplog.set_level(logging.DEBUG)
    url = {
        "closed": f"http://127.0.0.1:{closed_port()}",
        "redirect": slack.url,
        "unresolvable": "https://slack.invalid",
    }[trouble]
    slack.refuses = (302, "moved", {"Location": f"ftp://nowhere/{SECRET}"})
    if way_in == "SLACK_WEBHOOK_URL":
        way = {"SLACK_WEBHOOK_URL": f"{url}/services/{SECRET}"}
    else:
        way = {"SLACK_BOT_TOKEN": TOKEN, "SLACK_CHANNEL": "#films", "SLACK_API_URL": f"{url}/api/"}
    with pytest.raises(NotSentError) as caught:
        send(ALERT, way)
    for secret in (SECRET, TOKEN, "kept-to-itself"):
        assert secret not in told(caught.value)
        assert secret not in caplog.text
    assert caught.value.__context__ is None


def test_links_are_those_of_the_ui():
    settings = Settings(MOVIE_PLATFORM_UI_URL="https://films.example.org/dagster/")
    assert run_link(settings, "abc") == "https://films.example.org/dagster/runs/abc"
    assert asset_link(settings, "raw_movies", parse_day("2026-01-05")) == (
        "https://films.example.org/dagster/assets/raw_movies?view=partitions&partition=2026-01-05"
    )


def test_the_heartbeat_touches_a_file(tmp_path):
    beat(Settings())
    beat(Settings(MOVIE_PLATFORM_HEARTBEAT=str(tmp_path / "alive")))
    assert (tmp_path / "alive").exists()
    with pytest.raises(HeartbeatError, match=r"FileNotFoundError.*folder"):
        beat(Settings(MOVIE_PLATFORM_HEARTBEAT=str(tmp_path / "none" / "alive")))


def test_the_heartbeat_asks_a_url(slack):
    beat(Settings(MOVIE_PLATFORM_HEARTBEAT=f"{slack.url}/beat/kept-to-itself"))
    beat(Settings(MOVIE_PLATFORM_HEARTBEAT=f"{slack.url}/beat/x".replace("http://", "http://me:p%40ss@")))
    assert slack.authorizations == [None, "Basic bWU6cEBzcw=="]


@pytest.mark.parametrize("trouble", ["refused", "closed"])
def test_a_heartbeat_that_fails_does_not_say_where(slack, trouble, caplog):
    caplog.set_level(logging.DEBUG)
    slack.refuses = (503, "down", {})
    base = slack.url if trouble == "refused" else f"http://127.0.0.1:{closed_port()}"
    with pytest.raises(
        HeartbeatError, match="HTTP 503" if trouble == "refused" else "ConnectionRefusedError"
    ) as caught:
        beat(Settings(MOVIE_PLATFORM_HEARTBEAT=f"{base}/beat/{TOKEN}"))
    assert TOKEN not in told(caught.value) + caplog.text
