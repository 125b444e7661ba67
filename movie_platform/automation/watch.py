"""The sensor that tells people what is wrong, and a monitor outside that the platform is alive."""

import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Final

import dagster as dg

from movie_platform.alerts import Alert, HeartbeatError, Notifier, NotSentError, beat, notifier
from movie_platform.operations.facts import look
from movie_platform.operations.survey import survey
from movie_platform.operations.watch import (
    Watched,
    of_lost,
    read_watched,
    wanted_of,
    watch,
    with_unsent,
    without_storage,
)
from movie_platform.settings import Settings
from movie_platform.storage import Storage, StorageError

_SECONDS: Final = 60
_SENDING_SECONDS: Final = 20.0
"""For all messages of a tick; Dagster ends one of 60 seconds."""


def watch_sensor(
    settings: Settings, storage: Storage, *, upstream: Mapping[str, Collection[str]], clock: Callable[[], datetime]
) -> dg.SensorDefinition:
    """The sensor `watch`, over these settings, this store and this clock."""
    send = notifier(settings)

    @dg.sensor(
        name="watch",
        minimum_interval_seconds=_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if settings.automation else dg.DefaultSensorStatus.STOPPED,
        description="Tells Slack what is wrong, once, and when it is over; says to a monitor that the platform lives.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        now = clock()
        if send is None:
            # Whoever sets Slack later is told what is wrong then, not what was.
            context.update_cursor("")
            if settings.heartbeat is not None:  # which says that the records and the store can be read, too
                survey(context.instance, storage, settings, upstream=upstream, now=now)
            return _beaten(context, settings, "Slack is not set: nobody is told of anything.")

        known = read_watched(context.cursor)
        alerts: list[Alert] = []
        away: StorageError | None = None
        try:
            facts = look(context.instance, storage, settings, upstream=upstream, now=now, wanted=wanted_of(known, now))
        except StorageError as error:
            if known is None:
                raise
            away, known = error, without_storage(known, error, settings, now)
        else:
            alerts, known = watch(facts, known, settings)
            known = with_unsent(known, alerts)
        known, problem = _send(send, known, settings, now)
        context.update_cursor(known.model_dump_json())
        # Without a heartbeat, if nobody can be told, or too little is known to say that all is well.
        if problem is not None:
            return dg.SkipReason(f"{len(known.unsent) + (known.lost > 0)} alerts wait to be sent: {problem}")
        if away is not None:
            return dg.SkipReason(f"The storage cannot be read: {away}")
        return _beaten(context, settings, f"{len(alerts)} alerts; {len(known.problems)} problems are open.")

    return sensor


def _send(send: Notifier, known: Watched, settings: Settings, now: datetime) -> tuple[Watched, NotSentError | None]:
    """Send what waits, in order; what Slack does not take waits for the next tick, or as long as Slack wants."""
    waiting, begun = list(known.unsent), time.monotonic()
    lost = of_lost(known, settings)
    not_before, problem = known.not_before, None
    if (waiting or lost is not None) and not_before is not None and now < not_before:
        return known, NotSentError(f"Slack wants to be left alone until {not_before:%H:%M:%S} UTC")
    not_before = None
    while (waiting or lost is not None) and problem is None:
        if time.monotonic() - begun > _SENDING_SECONDS:
            problem = NotSentError("Slack is slow; the others follow with the next tick")
            break
        try:
            if waiting:
                send(waiting[0])
                waiting.pop(0)
            elif lost is not None:
                send(lost)
                lost = None
        except NotSentError as error:
            problem = error
            not_before = now + timedelta(seconds=error.wait) if error.wait else None
    left = {"unsent": tuple(waiting), "lost": known.lost if lost is not None else 0, "not_before": not_before}
    return known.model_copy(update=left), problem


def _beaten(context: dg.SensorEvaluationContext, settings: Settings, said: str) -> dg.SkipReason:
    try:
        beat(settings)
    except HeartbeatError as error:
        context.log.warning(str(error))
        return dg.SkipReason(f"{said} {error}")
    return dg.SkipReason(said)
