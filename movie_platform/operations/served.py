"""What the service at SERVING_URL says of itself, asked over its public interface."""

import json
import time
from dataclasses import dataclass
from datetime import date
from typing import Any

import httpx

_SECONDS = 3.0
_LARGEST = 2**16


@dataclass(frozen=True)
class Served:
    """An answer of the service, or what is known without one."""

    partition: date | None = None
    """The day whose bundle answers."""
    sha256: str | None = None
    pinned: bool | None = None
    problem: str | None = None
    """Why it serves nothing, or not what it should, in a sentence."""


def ask_service(url: str) -> Served:
    """Ask which bundle is served, for three seconds at most. Never raises: a service that is down is an answer."""
    try:
        until = time.monotonic() + _SECONDS
        # This address needs no key.
        with httpx.stream("GET", f"{url}/health/ready", timeout=_SECONDS) as answer:
            said = json.loads(_body(answer, until=until))
        if answer.status_code != httpx.codes.OK:
            return Served(problem=f"it answers HTTP {answer.status_code}: {_detail(said)}")
        return Served(
            partition=date.fromisoformat(said["partition"]),
            sha256=said["sha256"],
            pinned=said["pinned"],
            problem=said["problem"],
        )
    except httpx.HTTPError as error:
        return Served(problem=f"it does not answer ({type(error).__name__})")
    except (ValueError, KeyError, TypeError, AttributeError):
        return Served(problem="what answers there is not the service")


def _body(answer: httpx.Response, *, until: float) -> bytes:
    """Httpx's time-out is for each piece; this one is for all of them."""
    body = b""
    for piece in answer.iter_bytes():
        body += piece
        if len(body) > _LARGEST or time.monotonic() > until:
            raise httpx.ReadTimeout("the answer does not end", request=answer.request)
    return body


def _detail(said: Any) -> str:
    return str(said.get("detail") or "no reason") if isinstance(said, dict) else "no reason"
