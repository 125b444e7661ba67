"""Release a day's bundle by hand, in two steps: say what it would mean, then do it.

How releases and bars are kept belongs to `releases`; what a person is asked and told, to the command line.
"""

from dataclasses import dataclass
from datetime import date, datetime

from movie_platform.releases import (
    Champion,
    Decision,
    barred_days,
    find_released,
    keep_copy,
    last_word,
    read_decision,
    read_pointer,
    read_released,
    release_by_hand,
)
from movie_platform.storage import Storage


class ReleaseRefusedError(Exception):
    """The day has no bundle that could be released: says why, and what to do. Nothing has changed."""


@dataclass(frozen=True)
class PlannedRelease:
    """What a release by hand would do."""

    decision: Decision
    """What the gate said of the bundle, and of which."""
    barred_since: datetime | None
    """When the day was rolled back, if it is barred."""
    newer: Champion | None
    """What is in force, if it is of a newer day: it stays in force."""
    done: bool
    """It is released already, and a bundle as new is in force."""

    @property
    def champion(self) -> Champion:
        """The bundle."""
        return self.decision.candidate


def plan_release(storage: Storage, partition: date) -> PlannedRelease:
    """Look at a day whose bundle a person wants to release. Raises `ReleaseRefusedError` when it has none."""
    decision = read_decision(storage, partition)
    if decision is None:
        raise ReleaseRefusedError(
            f"nothing has been decided of {partition}, so there is no bundle that was checked and measured: make the "
            f"day first (movie-platform backfill --from {partition} --to {partition})"
        )
    barred = barred_days(storage).get(partition)
    current = read_pointer(storage)
    word = last_word(storage, partition)
    by_hand = word is not None and word.event == "release" and word.champion.sha256 == decision.candidate.sha256
    released = barred is None and (by_hand or (decision.released and find_released(storage, partition) is not None))
    return PlannedRelease(
        decision=decision,
        barred_since=barred,
        newer=current if current is not None and current.partition > partition else None,
        done=released and current is not None and current.partition >= partition,
    )


def carry_out(storage: Storage, planned: PlannedRelease, *, reasons: list[str], now: datetime) -> bool:
    """Release it; returns whether it is in force now. Safe to repeat after a crash at any point.

    Raises `ReleaseRefusedError` when the bundle that was judged is not there any more, and `StorageError` when its
    released copy is damaged.
    """
    champion = planned.champion
    key = f"trained_bundle/{champion.partition}.zip"
    if not storage.exists(champion.path):
        found = storage.get_versioned(key)
        try:
            keep_copy(storage, b"" if found is None else found.data, champion)
        except ValueError as error:
            problem = f"{storage.url(key)} is not there" if found is None else str(error)
            raise ReleaseRefusedError(
                f"{problem}: materialize trained_bundle, metrics and champion_bundle of {champion.partition} again"
            ) from error
    read_released(storage, champion)
    refused = [] if planned.decision.released else [f"The decision said: {said}" for said in planned.decision.reasons]
    return release_by_hand(storage, champion, reasons=[*reasons, *refused], now=now)
