"""What leaves the platform for people: alerts to Slack, and the heartbeat for a monitor outside.

How a message looks and how it is sent belongs here; what is worth one is decided in `operations.watch`. The address of
a webhook or of a monitor is a secret, which the libraries beneath put into exceptions and debug logs: none of theirs
gets out of here, and neither does their log.
"""

import base64
import logging
import re
import textwrap
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from pydantic import BaseModel, ConfigDict

from movie_platform.settings import Settings

__all__ = [
    "Alert",
    "HeartbeatError",
    "NotSentError",
    "Notifier",
    "asset_link",
    "beat",
    "in_slack",
    "notifier",
    "run_link",
]

_SECONDS: Final = 10
"""For Slack to answer. A tick of a sensor has 60."""
_LINES: Final = 12
_LONGEST_LINE: Final = 400
_LONGEST_WAIT: Final = 3600.0
_SILENT: Final = logging.Logger("slack", level=logging.CRITICAL + 1)
"""Slack's client would log the webhook."""


class Alert(BaseModel):
    """Something that a person should know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    """What happened, to which asset and day."""
    lines: tuple[str, ...]
    """Why: a sentence each."""
    to_do: str
    """What to do, or that there is nothing to be done."""
    link: str
    """Where to look, as a URL."""

    @property
    def text(self) -> str:
        """For a terminal or a log."""
        return "\n".join([self.title, *self.lines, self.to_do, self.link])


def run_link(settings: Settings, run_id: str) -> str:
    """A run in the UI."""
    return f"{settings.ui_url}/runs/{run_id}"


def asset_link(settings: Settings, asset: str, day: date | None = None, *, view: str = "partitions") -> str:
    """An asset in the UI, and one day of it."""
    partition = "" if day is None else f"&partition={day}"
    return f"{settings.ui_url}/assets/{quote(asset)}?view={view}{partition}"


def in_slack(alert: Alert) -> str:
    """The alert as Slack's text: escaped, and no longer than Slack shows at once."""
    shown = [_shortened(line) for line in alert.lines[:_LINES]]
    if len(alert.lines) > _LINES:
        shown.append(f"... and {len(alert.lines) - _LINES} more")
    title = _escaped(_shortened(alert.title))
    # Stars are bold to Slack unless the text has some itself.
    lines = [title if "*" in title else f"*{title}*", *(_escaped(line) for line in shown)]
    return "\n".join([*lines, _escaped(_shortened(alert.to_do)), _escaped(alert.link)])


def _shortened(line: str) -> str:
    return textwrap.shorten(line, width=_LONGEST_LINE, placeholder=" ...")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class NotSentError(Exception):
    """Slack did not take a message: says why, without a secret."""

    def __init__(self, reason: str, *, wait: float = 0) -> None:
        super().__init__(reason)
        self.wait = wait
        """For how many seconds Slack asks to be left alone."""


Notifier = Callable[[Alert], None]
"""Sends one alert, once. Raises `NotSentError`."""


def notifier(settings: Settings) -> Notifier | None:
    """What sends alerts, by webhook or as a bot; None if neither is set."""
    if settings.slack_webhook_url is not None:
        return lambda alert: _attempt(_by_webhook, settings, in_slack(alert))
    if settings.slack_bot_token is not None:
        return lambda alert: _attempt(_as_bot, settings, in_slack(alert))
    return None


def _attempt(way: Callable[[Settings, str], NotSentError | None], settings: Settings, text: str) -> None:
    failure: NotSentError | None
    try:
        failure = way(settings, text)
    except Exception as error:  # noqa: BLE001 whatever the network leads to; its text may hold the address
        failure = NotSentError(f"Slack does not answer ({_kind(error)})")
    if failure is not None:  # raised outside of the handler, since an exception would keep the handled one
        raise failure


def _by_webhook(settings: Settings, text: str) -> NotSentError | None:
    from slack_sdk.webhook import WebhookClient  # noqa: PLC0415 only for whoever has set it

    assert settings.slack_webhook_url is not None
    client = WebhookClient(
        settings.slack_webhook_url.get_secret_value(), timeout=_SECONDS, logger=_SILENT, retry_handlers=[]
    )
    answer = client.send(text=text, unfurl_links=False, unfurl_media=False)
    if answer.status_code == 200:  # noqa: PLR2004
        return None
    remedy = "see whether SLACK_WEBHOOK_URL is still the one that Slack shows"
    return _refused(answer.status_code, answer.body, answer.headers.get("Retry-After"), remedy)


def _as_bot(settings: Settings, text: str) -> NotSentError | None:
    from slack_sdk import WebClient  # noqa: PLC0415
    from slack_sdk.errors import SlackApiError  # noqa: PLC0415

    assert settings.slack_bot_token is not None
    assert settings.slack_channel is not None
    # dagster_slack's resource makes the same client, but knows neither another address nor a time-out.
    client = WebClient(
        settings.slack_bot_token.get_secret_value(),
        base_url=settings.slack_api_url,
        timeout=_SECONDS,
        logger=_SILENT,
        retry_handlers=[],
    )
    try:
        client.chat_postMessage(channel=settings.slack_channel, text=text, unfurl_links=False, unfurl_media=False)
    except SlackApiError as error:
        answer = error.response
        said = answer.get("error") if isinstance(answer.data, dict) else None
        remedy = "see whether SLACK_BOT_TOKEN may write (chat:write) and is a member of SLACK_CHANNEL"
        return _refused(answer.status_code, said or "", answer.headers.get("Retry-After"), remedy)
    return None


def _refused(status: int, said: str, retry_after: str | None, remedy: str) -> NotSentError:
    code = said if re.fullmatch(r"[a-z_]{1,60}", said) else "no reason"
    wait = min(float(retry_after), _LONGEST_WAIT) if retry_after and retry_after.isdecimal() else 0.0
    return NotSentError(f"Slack answers HTTP {status}, {code}: {remedy}", wait=wait)


def _kind(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    return type(reason if isinstance(reason, BaseException) else error).__name__


class HeartbeatError(Exception):
    """Nobody can see that the platform is alive: says why, without the address."""


def beat(settings: Settings) -> None:
    """Touch the file, or ask the URL, of MOVIE_PLATFORM_HEARTBEAT, if it is set. Raises `HeartbeatError`."""
    if settings.heartbeat is None:
        return
    target, failure = settings.heartbeat.get_secret_value(), None
    try:
        if "://" in target:
            _ask(target)
        else:
            Path(target).touch()
    except urllib.error.HTTPError as error:
        failure = HeartbeatError(f"the monitor at MOVIE_PLATFORM_HEARTBEAT answers HTTP {error.code}")
        error.close()
    except Exception as error:  # noqa: BLE001 its text may hold the address
        remedy = "see whether this process can reach it" if "://" in target else "see whether its folder can be written"
        failure = HeartbeatError(f"MOVIE_PLATFORM_HEARTBEAT: {_kind(error)}: {remedy}")
    if failure is not None:
        raise failure


def _ask(url: str) -> None:
    parts = urlsplit(url)
    request = urllib.request.Request(  # noqa: S310 the settings let only http and https pass
        parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(), headers={"User-Agent": "movie-platform"}
    )
    if parts.username is not None:
        known = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(known.encode()).decode())
    with urllib.request.urlopen(request, timeout=_SECONDS):  # noqa: S310
        pass
