"""A person has the last word on what is served: rollbacks and releases by hand, killed and beside other writers."""

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from movie_platform.cli import cli
from movie_platform.operations.release import ReleaseRefusedError, carry_out, plan_release
from movie_platform.releases import (
    HISTORY,
    POINTER,
    Champion,
    DamagedError,
    HistoryEntry,
    RollbackRefusedError,
    barred_days,
    champion_of,
    find_released,
    keep_copy,
    last_word,
    newest_released,
    read_history,
    read_pointer,
    release,
    release_by_hand,
    released_days,
    rollback,
    withdraw,
)
from movie_platform.settings import describe_settings
from movie_platform.storage import Storage, StorageError, open_storage
from movie_platform_tests import s3_stub
from movie_platform_tests.serving.service import decide as write_decision

NOW = datetime(2026, 2, 1, 12, tzinfo=UTC)
D7, D8, D9, D10, D11 = (date(2026, 1, n) for n in (7, 8, 9, 10, 11))


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "storage"))


@pytest.fixture(params=["disk", "s3"])
def racing_storage(request: pytest.FixtureRequest, tmp_path: Path, aws_environment: None) -> Iterator[Storage]:
    """Where conditional writes exclude one another: moto would let both of two writers win."""
    if request.param == "disk":
        yield open_storage(str(tmp_path / "storage"))
        return
    with s3_stub.serve() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_S3", server.endpoint)
        yield open_storage("s3://films/x")


def bundle(day: date, content: bytes = b"bundle") -> tuple[bytes, Champion]:
    data = content + str(day).encode()
    return data, champion_of(data, partition=day, code_version="abc", synthetic=False)


def decide(storage: Storage, day: date, *, released: bool = True, content: bytes = b"bundle") -> Champion:
    """What the assets leave behind: the bundle, its decision, and the copy if it was released."""
    data, champion = bundle(day, content)
    storage.put(f"trained_bundle/{day}.zip", data)
    write_decision(storage, champion, released=released)
    if released:
        keep_copy(storage, data, champion)
    return champion


def gate_releases(storage: Storage, *days: date, content: bytes = b"bundle") -> None:
    for day in days:
        release(storage, decide(storage, day, content=content), reasons=["It is better."], now=later(storage))


def later(storage: Storage) -> datetime:
    return NOW + timedelta(minutes=len(storage.list(HISTORY)))


def back(storage: Storage, to: date | None = None) -> None:
    rollback(storage, to=to, reasons=["Rolled back by hand."], now=later(storage))


def by_hand(storage: Storage, day: date) -> bool:
    return carry_out(storage, plan_release(storage, day), reasons=["Released by hand."], now=later(storage))


def in_force(storage: Storage) -> date | None:
    pointer = read_pointer(storage)
    return pointer.partition if pointer else None


def barred(storage: Storage) -> list[date]:
    return list(barred_days(storage))


def events(storage: Storage) -> list[tuple[str, str, date]]:
    return [(entry.event, entry.by, entry.champion.partition) for entry in read_history(storage)]


# --- rolling back ---------------------------------------------------------------------------------


def test_the_bundle_in_force_is_barred_and_the_one_before_takes_its_place(storage):
    gate_releases(storage, D8, D9, D10)
    done = rollback(storage, reasons=["Rolled back by hand: wrong genres"], now=NOW + timedelta(hours=5))

    assert (done.before, done.in_force, list(done.barred)) == (bundle(D10)[1], bundle(D9)[1], [D10])
    assert read_pointer(storage) == bundle(D9)[1]
    assert barred_days(storage) == {D10: NOW + timedelta(hours=5)}
    said = last_word(storage, D10)
    assert (said.event, said.by, said.reasons) == ("rollback", "hand", ["Rolled back by hand: wrong genres"])
    assert newest_released(storage, before=D11) == bundle(D9)[1]


def test_rolling_back_again_goes_one_step_further(storage):
    gate_releases(storage, D8, D9, D10)
    back(storage)
    back(storage)
    assert in_force(storage) == D8
    assert barred(storage) == [D9, D10]


def test_a_withdrawn_day_and_a_refused_one_are_not_gone_back_to(storage):
    gate_releases(storage, D7, D8, D9, D10)
    decide(storage, D9, released=False)
    decide(storage, D8, released=False, content=b"other")
    back(storage)
    assert in_force(storage) == D7


def test_everything_after_a_day_is_barred(storage):
    gate_releases(storage, D7, D8, D9, D10)
    before = storage.list(HISTORY)
    back(storage, to=D8)
    assert in_force(storage) == D8
    assert barred(storage) == [D9, D10]
    assert storage.list(HISTORY)[: len(before)] == before, "entries are never rewritten"
    history = storage.list(HISTORY)
    back(storage, to=D8)
    assert storage.list(HISTORY) == history, "and a repeat does nothing"


def test_without_an_earlier_release_nothing_is_rolled_back(storage):
    with pytest.raises(RollbackRefusedError, match="no bundle is in force"):
        back(storage)
    decide(storage, D8, released=False)
    gate_releases(storage, D9)
    with pytest.raises(RollbackRefusedError, match=r"no day before 2026-01-09.* there is nothing to go back to"):
        back(storage)
    assert in_force(storage) == D9
    assert barred(storage) == []


def test_only_a_released_day_can_be_gone_back_to(storage):
    decide(storage, D7, released=False)
    gate_releases(storage, D8, D9, D10)
    with pytest.raises(RollbackRefusedError, match=r"2026-01-07 is not a released day .*2026-01-08, 2026-01-09"):
        back(storage, to=D7)
    back(storage)
    with pytest.raises(RollbackRefusedError, match=r"2026-01-10 is barred itself.*release --partition 2026-01-10"):
        back(storage, to=D10)


@pytest.mark.parametrize("damage", ["other bytes", "gone"])
def test_a_copy_that_cannot_serve_is_not_put_in_force(storage, damage: str):
    gate_releases(storage, D8, D9, D10)
    path = bundle(D9)[1].path
    storage.put(path, b"damaged") if damage == "other bytes" else storage.delete(path)
    with pytest.raises(RollbackRefusedError, match=r"so 2026-01-09 cannot be put in force.*--to"):
        back(storage)
    assert in_force(storage) == D10
    assert barred(storage) == []
    back(storage, to=D8)
    assert in_force(storage) == D8


# --- what comes after a rollback ------------------------------------------------------------------


def test_a_barred_day_that_passes_its_gate_again_stays_out(storage):
    """With the same bundle or another one, by whoever decided before the rollback."""
    gate_releases(storage, D8, D9, D10)
    back(storage)
    history = storage.list(HISTORY)
    for content in (b"bundle", b"another"):
        gate_releases(storage, D10, content=content)
        assert in_force(storage) == D9
        assert newest_released(storage, before=D11).partition == D9
    assert storage.list(HISTORY) == history


def test_a_later_day_is_released_as_usual(storage):
    gate_releases(storage, D8, D9, D10)
    back(storage)
    gate_releases(storage, D11)
    assert in_force(storage) == D11
    assert barred(storage) == [D10]
    back(storage)
    assert in_force(storage) == D9, "past the barred one"


def test_a_bar_is_lifted_by_a_release_by_hand(storage):
    gate_releases(storage, D8, D9, D10)
    back(storage)
    assert by_hand(storage, D10)
    assert in_force(storage) == D10
    assert barred(storage) == []
    assert newest_released(storage, before=D11).partition == D10
    back(storage)
    assert (in_force(storage), barred(storage)) == (D9, [D10]), "and it can be barred again"


def test_a_barred_day_is_found_for_a_pin(storage):
    """A pin is explicit."""
    gate_releases(storage, D9, D10)
    back(storage)
    assert find_released(storage, D10) == bundle(D10)[1]
    assert released_days(storage) == [D9, D10]


def test_a_withdrawal_does_not_lead_to_a_barred_day(storage):
    """Whose bar came after the gate had looked for the day before."""
    gate_releases(storage, D8, D9, D10)
    back(storage)
    back(storage)
    by_hand(storage, D10)
    decide(storage, D10, released=False, content=b"another bundle")  # of which nobody has said anything
    withdraw(storage, D10, in_force=bundle(D9)[1], reasons=["Worse."], now=later(storage))
    assert in_force(storage) == D8


# --- releasing by hand ----------------------------------------------------------------------------


def test_a_bundle_that_the_gate_refused_is_released_by_hand(storage):
    gate_releases(storage, D8)
    decide(storage, D9, released=False)
    planned = plan_release(storage, D9)
    assert planned.decision.reasons == ["It is worse."]
    assert by_hand(storage, D9)

    assert in_force(storage) == D9
    assert storage.get(bundle(D9)[1].path) == bundle(D9)[0]
    assert find_released(storage, D9) == bundle(D9)[1]
    assert newest_released(storage, before=D10) == bundle(D9)[1], "later days are compared with it"
    entry = read_history(storage)[-1]
    assert (entry.event, entry.by, entry.now_in_force) == ("release", "hand", True)
    assert entry.reasons == ["Released by hand.", "The decision said: It is worse."]


def test_a_newer_bundle_stays_in_force(storage):
    gate_releases(storage, D8, D10)
    decide(storage, D9, released=False)
    assert not by_hand(storage, D9)
    assert in_force(storage) == D10
    assert not read_history(storage)[-1].now_in_force
    back(storage, to=D9)
    assert in_force(storage) == D9


def test_another_bundle_of_a_day_is_judged_by_its_gate(storage):
    """What a person has released is one bundle."""
    gate_releases(storage, D8)
    decide(storage, D9, released=False)
    by_hand(storage, D9)
    decide(storage, D9, released=False, content=b"another")
    assert newest_released(storage, before=D10).partition == D8


def test_a_release_by_hand_is_repeated_without_a_trace(storage):
    gate_releases(storage, D8)
    decide(storage, D9, released=False)
    assert by_hand(storage, D9)
    history = storage.list(HISTORY)
    assert plan_release(storage, D9).done
    assert by_hand(storage, D9)
    assert storage.list(HISTORY) == history
    assert plan_release(storage, D8).done, "released by its gate"


def test_only_a_bundle_that_was_judged_is_released(storage):
    with pytest.raises(ReleaseRefusedError, match=r"nothing has been decided of 2026-01-09.*backfill --from"):
        by_hand(storage, D9)
    decide(storage, D9, released=False)
    storage.put(f"trained_bundle/{D9}.zip", b"another")
    with pytest.raises(ReleaseRefusedError, match="not the one that was judged"):
        by_hand(storage, D9)
    storage.delete(f"trained_bundle/{D9}.zip")
    with pytest.raises(ReleaseRefusedError, match="is not there: materialize trained_bundle"):
        by_hand(storage, D9)
    assert read_history(storage) == []


def test_a_damaged_copy_is_not_released(storage):
    gate_releases(storage, D8, D9)
    back(storage)
    storage.put(bundle(D9)[1].path, b"damaged")
    with pytest.raises(DamagedError):
        by_hand(storage, D9)
    assert (in_force(storage), barred(storage)) == (D8, [D9])


def test_the_newest_word_counts_whatever_the_clocks_say(storage):
    """The machine that released was a day ahead of the one that rolls back."""
    gate_releases(storage, D8)
    champion = decide(storage, D9, released=False)
    keep_copy(storage, *bundle(D9))
    release_by_hand(storage, champion, reasons=["Released by hand."], now=NOW + timedelta(days=1))
    rollback(storage, reasons=["Rolled back by hand."], now=NOW)
    assert (in_force(storage), barred(storage)) == (D8, [D9])


def test_a_history_without_hands_is_still_read(storage):
    """Written by an earlier version."""
    _, champion = bundle(D9)
    entry = HistoryEntry(event="release", champion=champion, reasons=["Better."], at=NOW, now_in_force=True)
    old = entry.model_dump(mode="json", exclude={"by"})
    storage.put(f"{HISTORY}/20260201T120000.000000Z-release-{D9}-{champion.sha256[:12]}.json", json.dumps(old).encode())
    assert read_history(storage) == [entry]
    assert entry.by == "gate"
    assert find_released(storage, D9) == champion
    assert barred(storage) == []


# --- the commands ---------------------------------------------------------------------------------


@pytest.fixture
def commands(storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command with the settings that lead to `storage`."""
    for setting in describe_settings():
        monkeypatch.delenv(setting.name, raising=False)
    monkeypatch.setenv("MOVIE_PLATFORM_STORAGE", str(tmp_path / "storage"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, answer: str | None = None) -> Result:
        return CliRunner().invoke(cli, list(arguments), input=answer)

    return run


def test_the_command_rolls_back_and_says_what_to_do_next(storage, commands):
    gate_releases(storage, D8, D9, D10)
    result = commands("rollback", "--reason", "wrong genres")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("In force: the bundle of 2026-01-09 (")
    assert "instead of that of 2026-01-10" in result.output
    assert "Barred until released by hand: 2026-01-10" in result.output
    assert last_word(storage, D10).reasons == ["Rolled back by hand: wrong genres"]

    result = commands("rollback", "--to", "2026-01-08")
    assert in_force(storage) == D8
    again = commands("rollback", "--to", "2026-01-08")
    assert (again.exit_code, again.output) == (
        0,
        "Nothing to roll back: the bundle of 2026-01-08 is in force already.\n",
    )


def test_the_command_refuses_with_the_reason(storage, commands):
    gate_releases(storage, D8)
    result = commands("rollback")
    assert result.exit_code == 1
    assert "nothing to go back to" in result.stderr
    result = commands("release", "--partition", "2026-01-09")
    assert result.exit_code == 1
    assert "nothing has been decided of 2026-01-09" in result.stderr
    assert commands("rollback", "--reason", "two\nlines").exit_code == 2


def test_the_command_asks_before_it_releases_what_the_gate_refused(storage, commands):
    gate_releases(storage, D8)
    decide(storage, D9, released=False)
    for answer in ("n\n", None):
        result = commands("release", "--partition", "2026-01-09", answer=answer)
        assert result.exit_code == 1
        assert "It is worse." in result.output
        assert in_force(storage) == D8
    result = commands("release", "--partition", "2026-01-09", "--reason", "by chance", answer="y\n")
    assert result.exit_code == 0, result.output
    assert "It is in force." in result.output
    assert in_force(storage) == D9
    assert last_word(storage, D9).reasons[0] == "Released by hand: by chance"
    again = commands("release", "--partition", "2026-01-09")
    assert (again.exit_code, "is released already. It is in force." in again.output) == (0, True)


def test_the_command_lifts_a_bar_without_a_question(storage, commands):
    gate_releases(storage, D8, D9)
    back(storage)
    result = commands("release", "--partition", "2026-01-09")
    assert result.exit_code == 0, result.output
    assert "was rolled back on 2026-02-01; this lifts the bar" in result.output
    assert in_force(storage) == D9


def test_the_command_says_that_a_newer_bundle_stays_in_force(storage, commands):
    gate_releases(storage, D8, D10)
    decide(storage, D9, released=False)
    result = commands("release", "--partition", "2026-01-09", "--yes")
    assert result.exit_code == 0, result.output
    assert "In force is the newer bundle of 2026-01-10." in result.output
    assert "movie-platform rollback --to 2026-01-09" in result.output
    assert in_force(storage) == D10


# --- interrupted ----------------------------------------------------------------------------------


class Killed(BaseException):
    """What a test's storage raises instead of a SIGKILL."""


class Interrupting(Storage):
    """A storage that calls `interrupt` around the call number `at`: before it, or after it took effect."""

    def __init__(self, real: Storage, at: int, *, after: bool, interrupt: Callable[[], Any]) -> None:
        self.real = real
        self.calls = 0
        self._at, self._after, self._interrupt = at, after, interrupt

    def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        now = self.calls == self._at
        if now and not self._after:
            self._interrupt()
        result = getattr(self.real, method)(*arguments, **options)
        if now and self._after:
            self._interrupt()
        return result

    def url(self, key: str) -> str:
        return self.real.url(key)

    def put(self, key: str, data: bytes) -> None:
        self._call("put", key, data)

    def swap(self, key: str, data: bytes, *, expected: str | None) -> None:
        self._call("swap", key, data, expected=expected)

    def get_versioned(self, key: str, **options: Any) -> Any:
        return self._call("get_versioned", key, **options)

    def modified(self, folder: str = "") -> Any:
        return self._call("modified", folder)

    def exists(self, key: str) -> bool:
        return bool(self._call("exists", key))

    def list(self, folder: str = "") -> Any:
        return self._call("list", folder)

    def delete(self, key: str) -> None:
        self._call("delete", key)


def kill() -> None:
    raise Killed


def four_days(storage: Storage) -> None:
    gate_releases(storage, D7, D8, D9, D10)
    decide(storage, D11, released=False)


def copy_of(prepared: Path, folder: Path) -> Storage:
    """Much faster than to write it anew, since each object is written through to the disk."""
    shutil.copytree(prepared, folder)
    return open_storage(str(folder))


ACTIONS: dict[str, Callable[[Storage], Any]] = {
    "rollback": back,
    "rollback --to": lambda storage: back(storage, to=D8),
    "release of the refused day": lambda storage: by_hand(storage, D11),
}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_kill_at_any_point_is_mended_by_a_repeat(tmp_path: Path, action: str, after: bool):
    """Each call of the storage in turn is the last one. The pointer is always one that can be served."""
    prepared = tmp_path / "prepared"
    four_days(open_storage(str(prepared)))
    undisturbed = copy_of(prepared, tmp_path / "undisturbed")
    ACTIONS[action](undisturbed)

    at, ended = 0, False
    while not ended:
        at += 1
        storage = copy_of(prepared, tmp_path / f"killed at {at}")
        try:
            ACTIONS[action](Interrupting(storage, at, after=after, interrupt=kill))
            ended = True
        except Killed:
            assert read_pointer(storage) is not None
        if in_force(storage) == D10:  # the last thing that is done is the move of the pointer
            ACTIONS[action](storage)
        assert in_force(storage) == in_force(undisturbed)
        assert barred(storage) == barred(undisturbed)
        assert events(storage) == events(undisturbed)
    assert at > 5


# --- beside other writers -------------------------------------------------------------------------

OTHERS: dict[str, tuple[Callable[[Storage], Any], Callable[[Storage], Any], set[date]]] = {
    # what is interrupted, what happens meanwhile, and what may be in force in the end
    "the gate releases the day that is rolled back": (lambda s: gate_releases(s, D10), back, {D9}),
    "the gate releases another bundle of it": (lambda s: gate_releases(s, D10, content=b"x"), back, {D9}),
    "a rollback, and the gate releases the day again": (back, lambda s: gate_releases(s, D10, content=b"x"), {D9}),
    "the gate releases a later day": (lambda s: gate_releases(s, D11), lambda s: back(s, to=D8), {D8, D11}),
    "a rollback, and the gate releases a later day": (back, lambda s: gate_releases(s, D11), {D11, D10}),
    "two rollbacks": (back, lambda s: back(s, to=D8), {D7, D8}),
    "a rollback past another one's aim": (lambda s: back(s, to=D9), lambda s: back(s, to=D8), {D8, D9}),
    "the gate withdraws the day meanwhile": (back, lambda s: withdrawn(s, D10), {D8, D9}),
    "the gate withdraws to a day that is barred meanwhile": (
        lambda s: withdrawn(s, D10),
        lambda s: back(s, to=D8),
        {D8},
    ),
    "a release by hand, and a rollback to an earlier day": (
        lambda s: by_hand(s, D11),
        lambda s: back(s, to=D8),
        {D8, D11},
    ),
}


def withdrawn(storage: Storage, day: date) -> None:
    decide(storage, day, released=False)
    before = newest_released(storage, before=day)
    assert before is not None
    withdraw(storage, day, in_force=before, reasons=["It is worse."], now=later(storage))


def test_what_a_person_has_released_is_not_withdrawn_by_its_gate(storage):
    gate_releases(storage, D7)
    withdrawn(storage, D8)
    by_hand(storage, D8)
    withdrawn(storage, D8)
    assert in_force(storage) == D8


def at_every_place(
    folder: Path,
    prepare: Callable[[Storage], Any],
    first: Callable[[Storage], Any],
    other: Callable[[Storage], Any],
) -> Iterator[Storage]:
    """All of what the other one does happens between two calls of the first; each place in turn."""
    prepare(open_storage(str(folder / "prepared")))
    at, reached = 0, True
    while reached:
        at += 1
        storage = copy_of(folder / "prepared", folder / f"{at}")
        interrupting = Interrupting(storage, at, after=False, interrupt=partial(other, storage))
        with suppress(RollbackRefusedError):  # it saw the other one's work, and said so
            first(interrupting)
        reached = interrupting.calls >= at
        if reached:
            yield storage
    assert at > 5


@pytest.mark.parametrize("case", OTHERS)
def test_another_writer_at_any_point_does_not_undo_a_rollback(tmp_path: Path, case: str):
    first, other, expected = OTHERS[case]
    for storage in at_every_place(tmp_path, four_days, first, other):
        assert in_force(storage) not in barred(storage)
        assert in_force(storage) in expected


def test_a_bar_that_moves_no_pointer_is_not_overlooked_either(tmp_path: Path):
    """The day was withdrawn; while its gate releases it again, a person bars it: nobody's swap conflicts."""

    def prepare(storage: Storage) -> None:
        four_days(storage)
        withdrawn(storage, D10)

    def bar(storage: Storage) -> None:
        back(storage, to=D9)

    for storage in at_every_place(tmp_path, prepare, lambda s: gate_releases(s, D10), bar):
        assert in_force(storage) == D9
        assert barred(storage) == [D10]


def test_racing_releases_and_rollbacks_leave_a_pointer_that_is_not_barred(racing_storage):
    """Real threads: the gate makes the days again and again, people roll back."""
    four_days(racing_storage)

    def gate(number: int) -> None:
        for content in (b"bundle", b"again", b"bundle"):
            gate_releases(racing_storage, (D8, D9, D10)[number % 3], content=content)

    def person(to: date | None) -> None:
        with suppress(RollbackRefusedError):  # nothing left to go back to
            back(racing_storage, to)

    with ThreadPoolExecutor(6) as pool:
        tasks = [pool.submit(gate, number) for number in range(3)]
        tasks += [pool.submit(person, to) for to in (None, D8, None)]
        for task in tasks:
            task.result()
    assert in_force(racing_storage) not in barred(racing_storage)
    assert D10 in barred(racing_storage)
    gate_releases(racing_storage, D10)
    assert in_force(racing_storage) != D10


@settings(max_examples=40)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("gate"), st.sampled_from([D7, D8, D9, D10]), st.booleans()),
            st.tuples(st.just("back"), st.sampled_from([None, D7, D8, D9]), st.booleans()),
            st.tuples(st.just("hand"), st.sampled_from([D7, D8, D9, D10]), st.booleans()),
        ),
        max_size=8,
    )
)
def test_whatever_happens_the_pointer_names_the_newest_released_day_that_is_not_barred(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, Any, bool]]
):
    """Days made again and again, refused or not, rolled back, released by hand, in any order."""
    storage = open_storage(str(tmp_path_factory.mktemp("storage")))
    for kind, day, passes in steps:
        try:
            if kind == "gate" and passes:
                gate_releases(storage, day)
            elif kind == "gate" and newest_released(storage, before=day) is not None:
                withdrawn(storage, day)
            elif kind == "back":
                back(storage, day)
            elif kind == "hand":
                by_hand(storage, day)
        except (RollbackRefusedError, ReleaseRefusedError):
            continue
    assert in_force(storage) not in barred(storage)
    if POINTER in storage.list():
        newest = newest_released(storage, before=D11)
        assert newest is not None
        assert read_pointer(storage) == newest


def test_a_pointer_that_never_stands_still_leaves_the_bars(storage, monkeypatch):
    """So that a repeat finishes it."""
    gate_releases(storage, D9, D10)
    real = storage.swap

    def refuse(key: str, data: bytes, *, expected: str | None) -> None:
        if key == POINTER:
            raise StorageError("the disk is full")
        real(key, data, expected=expected)

    monkeypatch.setattr(storage, "swap", refuse)
    with pytest.raises(StorageError, match="disk is full"):
        back(storage)
    monkeypatch.undo()
    assert (in_force(storage), barred(storage)) == (D10, [D10])
    back(storage)
    assert (in_force(storage), barred(storage)) == (D9, [D10])
