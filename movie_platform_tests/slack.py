"""Slack's two ways in, and a monitor of heartbeats, as one server on loopback, written from their descriptions.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks, https://docs.slack.dev/apis/web-api/rate-limits
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from movie_platform_tests.loopback import serving

SECRET = "T0/B0/kept-to-itself"
TOKEN = "xoxb-kept-to-itself"
CHANNEL = "#films"


@dataclass
class Slack:
    """What was sent, and what is answered: `refusals` in turn (status, what is said, headers), then acceptance."""

    url: str = ""
    messages: list[str] = field(default_factory=list)
    beats: int = 0
    refusals: list[tuple[int, str, dict[str, str]]] = field(default_factory=list)
    refuses: tuple[int, str, dict[str, str]] | None = None
    """What is answered for ever."""
    authorizations: list[str | None] = field(default_factory=list)

    @property
    def webhook(self) -> str:
        return f"{self.url}/services/{SECRET}"

    @property
    def by_webhook(self) -> dict[str, Any]:
        """The settings for it."""
        return {"SLACK_WEBHOOK_URL": self.webhook}

    @property
    def as_bot(self) -> dict[str, Any]:
        return {"SLACK_BOT_TOKEN": TOKEN, "SLACK_CHANNEL": CHANNEL, "SLACK_API_URL": f"{self.url}/api"}

    @property
    def titles(self) -> list[str]:
        """The first line of each message, without its stars."""
        return [message.splitlines()[0].strip("*") for message in self.messages]

    def _refusal(self) -> tuple[int, str, dict[str, str]] | None:
        return self.refusals.pop(0) if self.refusals else self.refuses

    async def take_webhook(self, request: Request) -> Response:
        if refusal := self._refusal():
            return PlainTextResponse(refusal[1], refusal[0], refusal[2])
        if request.path_params["secret"] != SECRET:
            return PlainTextResponse("no_service", 404)
        self.messages.append((await request.json())["text"])
        return PlainTextResponse("ok")

    async def take_message(self, request: Request) -> Response:
        if refusal := self._refusal():
            return JSONResponse({"ok": False, "error": refusal[1]}, refusal[0], refusal[2])
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return JSONResponse({"ok": False, "error": "invalid_auth"})
        sent = await request.json() if "json" in request.headers["content-type"] else dict(await request.form())
        if sent["channel"] != CHANNEL:
            return JSONResponse({"ok": False, "error": "channel_not_found"})
        self.messages.append(str(sent["text"]))
        return JSONResponse({"ok": True, "channel": "C0", "ts": "1.0"})

    async def take_beat(self, request: Request) -> Response:
        if refusal := self._refusal():
            return PlainTextResponse(refusal[1], refusal[0], refusal[2])
        self.authorizations.append(request.headers.get("authorization"))
        self.beats += 1
        return PlainTextResponse("OK")


@contextmanager
def running_slack() -> Iterator[Slack]:
    """Serve it while the block lasts."""
    slack = Slack()
    app = Starlette(
        routes=[
            Route("/services/{secret:path}", slack.take_webhook, methods=["POST"]),
            Route("/api/chat.postMessage", slack.take_message, methods=["POST"]),
            Route("/beat/{secret}", slack.take_beat),
        ]
    )
    with serving(app) as url:
        slack.url = url.removesuffix("/3")
        yield slack
