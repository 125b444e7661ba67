"""Every fault that the built-in catalogue can have, and what becomes of a collection, as docs/collection.md says."""

from datetime import date
from typing import Any

import pytest

from movie_platform.tmdb.catalogue import (
    FAULTS,
    catalogue_app,
    catalogue_client,
    parse_faults,
    synthetic_films,
    with_faults,
)
from movie_platform.tmdb.client import AuthenticationError, OutageError, TmdbError
from movie_platform.tmdb.collection import Collection, CollectionError, collect
from movie_platform.tmdb.films import to_films
from movie_platform_tests.tmdb.conftest import VirtualTime

FIRST, LAST = date(2012, 3, 1), date(2022, 2, 28)
FILMS = synthetic_films(date(2026, 1, 5))
EXPECTED = [item for item in FILMS if str(FIRST) <= item["release_date"] <= str(LAST)]

PASSING = ["retryable", *(name for name in FAULTS if name.startswith(("rate-limit", "html-")))]
PASSING += ["internal-error", "no-backend", "maintenance", "offline", "backend-time-out"]
PASSING += ["connection-reset", "truncated-json", "slow", "dead"]
PERMANENT: dict[str, tuple[type[TmdbError], str]] = {
    "invalid-key": (AuthenticationError, "Set TMDB_ACCESS_TOKEN"),
    "not-found": (TmdbError, "TMDB status 34"),
    "invalid-id": (TmdbError, "TMDB status 44"),
    "invalid-page": (TmdbError, "TMDB status 22"),
    "dates-ignored": (CollectionError, "TMDB ignored a filter"),
}
HEALED = {"page-drift": 0.2, "rows-inserted": 1.0, "totals-differ": 0.05}
ROWS = {"unknown-fields": 0.2, "odd-rows": 0.2, "refused-rows": 0.02}


def read(clock: VirtualTime, faults: str, films: list[dict[str, Any]] = FILMS) -> Collection:
    async def run() -> Collection:
        app = with_faults(catalogue_app(films), parse_faults(faults))
        async with catalogue_client(app) as client:
            return await collect(client, first=FIRST, last=LAST, min_vote_count=0, include_adult=False)

    return clock.run(run())


def test_nothing_is_left_out():
    assert {*PASSING, *PERMANENT, *HEALED, *ROWS, "totals-capped", "strays"} == set(FAULTS)


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_changes_nothing_but_the_number_of_requests(virtual_time, name):
    collection = read(virtual_time, f"{name}=0.05,seed=1")
    assert collection.items == EXPECTED
    assert collection.requests == collection.pages + collection.retries.total() > collection.pages
    assert (collection.missing, collection.read_again) == (0, 0)


@pytest.mark.parametrize("name", PASSING)
def test_what_never_passes_is_an_outage_within_the_budget(virtual_time, name):
    begun = virtual_time.now
    with pytest.raises(OutageError, match="TMDB_RETRY_SECONDS is 120"):
        read(virtual_time, name)
    assert virtual_time.now - begun <= 120 + 60, "the budget, and the time-outs of the first request and the last one"


@pytest.mark.parametrize("name", PERMANENT)
def test_what_is_permanent_fails_at_once_and_names_the_cause(virtual_time, name):
    kind, said = PERMANENT[name]
    begun = virtual_time.now
    with pytest.raises(kind, match=said):
        read(virtual_time, f"{name}=0.05,seed=1")
    assert virtual_time.now == begun, "nothing was waited for"


@pytest.mark.parametrize(("name", "share"), HEALED.items())
def test_pages_that_disagree_are_read_again(virtual_time, name, share):
    """Of the row that comes while pages are read, the built-in catalogue has no film: one row moves down for it."""
    collection = read(virtual_time, f"{name}={share},seed=1")
    assert collection.items == EXPECTED
    assert collection.read_again == 1
    assert collection.missing <= collection.announced * 0.005, "no more than is accepted"
    assert collection.requests < 2.5 * len(EXPECTED) / 20


@pytest.mark.parametrize(("name", "share"), ROWS.items())
def test_odd_rows_are_kept_as_they_are_and_judged_by_preprocessing(virtual_time, name, share):
    collection = read(virtual_time, f"{name}={share},seed=1")
    assert [item["id"] for item in collection.items] == [item["id"] for item in EXPECTED]
    changed = sum(item != before for item, before in zip(collection.items, EXPECTED, strict=True))
    assert changed > 10
    refused = to_films(collection.items).refused
    assert len(refused) == (changed if name == "refused-rows" else 0)
    assert all(refusal.reason and refusal.item_id for refusal in refused)


def test_capped_totals_are_cut_until_they_are_not(virtual_time):
    many = [{**film, "id": 10 * film["id"] + copy} for film in EXPECTED for copy in range(5)]
    collection = read(virtual_time, "totals-capped", many)
    assert [item["id"] for item in collection.items] == sorted(film["id"] for film in many)
    assert (collection.announced, collection.gaps) == (len(many), ())
    assert len(collection.queries) > 1


def test_strays_are_set_aside_and_counted(virtual_time):
    collection = read(virtual_time, "strays=0.05,seed=1")
    assert collection.items == EXPECTED
    assert 0 < collection.strays < 0.01 * len(EXPECTED)
    assert collection.missing == 0


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("faults", ["page-drift=0.2,strays=0.05", "page-drift=0.5,strays=0.1,totals-differ=0.05"])
def test_whatever_comes_together_nothing_is_lost_in_silence(virtual_time, faults, seed):
    collection = read(virtual_time, f"{faults},seed={seed}")
    lost = len(EXPECTED) - len(collection.items)
    assert lost <= collection.missing
    assert collection.requests < 2.5 * len(EXPECTED) / 20 + 45
