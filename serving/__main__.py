"""Starts the service: `python -m serving`.

What belongs here: the command line, the server's limits and its end. What does not: what is served (`app`).
"""

import argparse
import logging
import signal
import sys
import textwrap
import threading
from types import FrameType

import uvicorn
from dotenv import load_dotenv

from movie_platform.settings import ServingSettings, SettingsError, describe_settings, load_serving_settings
from serving.app import create_app
from serving.protocol import LimitedProtocol
from serving.telemetry import log_as_json

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_MOST_CONNECTIONS = 1000
_SECONDS_TO_FINISH = 10
_SWITCH_SECONDS = 0.0005


def main() -> None:
    """Serve until told to stop; settings that make no sense end it with a message."""
    _parser().parse_args()
    load_dotenv(".env")  # so that its AWS lines reach boto3 too
    try:
        settings = load_serving_settings()
    except SettingsError as error:
        sys.exit(f"Error: {error}")
    log_as_json()
    if not settings.keys and settings.host not in _LOOPBACK:
        logging.getLogger(__name__).warning(
            f"whoever reaches {settings.host}:{settings.port} may use the service: set SERVING_API_KEYS"
        )
    # While a bundle is loaded or a batch predicted, a request waits for the interpreter this long, not 5 ms.
    sys.setswitchinterval(_SWITCH_SECONDS)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=LimitedProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_SECONDS_TO_FINISH,
    )
    _Server(config, app.state.service.draining, seconds=settings.drain_seconds).run()


class _Server(uvicorn.Server):
    """One that, when it is told to end, first lets load balancers turn away.

    One that closes its socket at once loses what is on its way to it, and nobody can know whether it was taken.
    """

    def __init__(self, config: uvicorn.Config, draining: threading.Event, *, seconds: float) -> None:
        super().__init__(config)
        self._draining, self._seconds = draining, seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig != signal.SIGTERM or not self._seconds or self._draining.is_set():
            super().handle_exit(sig, frame)
            return
        self._draining.set()
        timer = threading.Timer(self._seconds, super().handle_exit, (sig, frame))
        timer.daemon = True
        timer.start()


def _parser() -> argparse.ArgumentParser:
    names = "\n".join(
        f"  {setting.name} ({setting.default or 'not set'})\n"
        + textwrap.fill(setting.description, 100, initial_indent=" " * 6, subsequent_indent=" " * 6)
        for setting in describe_settings(ServingSettings)
    )
    return argparse.ArgumentParser(
        prog="python -m serving",
        description="Serve the newest released bundle over HTTP: predictions, upcoming films, and pages.",
        epilog=f"settings, from the environment or a file named .env:\n{names}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


if __name__ == "__main__":
    main()
