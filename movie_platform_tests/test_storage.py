"""What disk and S3 promise alike, and how each of them fails."""

import fcntl
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from movie_platform.storage import (
    Conflict,
    DiskStorage,
    ObjectNotFound,
    ObjectTooLargeError,
    S3Storage,
    Storage,
    StorageError,
    Versioned,
    open_storage,
)
from movie_platform_tests import s3_stub

POINTER = "champion.json"


@pytest.fixture
def storage(storage_url: str) -> Storage:
    return open_storage(storage_url)


@pytest.fixture
def disk(tmp_path: Path) -> DiskStorage:
    return DiskStorage(tmp_path / "storage")


@pytest.fixture
def stub(aws_environment: None, monkeypatch: pytest.MonkeyPatch):
    with s3_stub.serve() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.endpoint)
        yield server


def run_python(source: str, *arguments: object, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start another interpreter that can import the package."""
    return subprocess.Popen(
        [sys.executable, "-c", source, *map(str, arguments)],
        cwd=cwd,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finished(process: subprocess.Popen[str]) -> str:
    """Wait for an interpreter that must succeed, and return what it printed."""
    with process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    return output


# --- the contract of both -------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"old", bytes(range(256)) * 10_000], ids=["empty", "small", "large"])
def test_get_returns_what_put_wrote(storage: Storage, data: bytes):
    """Byte for byte, also over an older object that was longer."""
    storage.put("raw_movies/2026-01-05.jsonl.gz", b"longer than before" * 200_000)
    storage.put("raw_movies/2026-01-05.jsonl.gz", data)
    assert storage.get("raw_movies/2026-01-05.jsonl.gz") == data


def test_a_missing_object_is_not_found(storage: Storage, storage_url: str):
    """The error is a FileNotFoundError and names the whole URL."""
    for key in ("missing", "folder/missing.json"):
        with pytest.raises(ObjectNotFound, match=f"{storage_url}/{key}$") as missing:
            storage.get(key)
        assert isinstance(missing.value, FileNotFoundError)
        assert storage.get_versioned(key) is None
        assert not storage.exists(key)


def test_exists_means_an_object_of_exactly_this_name(storage: Storage):
    """Neither a folder nor a longer name counts."""
    storage.put("a/b.json", b"")
    assert storage.exists("a/b.json")
    assert not storage.exists("a")
    assert not storage.exists("a/b")
    assert not storage.exists("a/b.json/c")
    with pytest.raises(ObjectNotFound):
        storage.get("a")
    with pytest.raises(ObjectNotFound):
        storage.get("a/b.json/c")


def test_list_is_sorted_and_recursive(storage: Storage):
    """A folder is a whole name: others that begin alike are not in it."""
    assert list(storage.list()) == []
    assert list(storage.list("days")) == []
    for key in ("days/2026-01-02", "days/2026-01-01", "days/more/2025-12-31", "days_of_old/x", "days.json"):
        storage.put(key, b"")
    in_days = ["days/2026-01-01", "days/2026-01-02", "days/more/2025-12-31"]
    assert list(storage.list("days")) == in_days
    assert list(storage.list("days/more")) == ["days/more/2025-12-31"]
    assert list(storage.list("days/more/2025-12-31")) == []
    assert list(storage.list()) == sorted(["days.json", *in_days, "days_of_old/x"])


def test_list_is_complete(storage: Storage, monkeypatch: pytest.MonkeyPatch):
    """S3 names 1,000 objects at once, and 5 here."""
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "5")
    keys = [f"days/{n:02}" for n in range(11)]
    for key in keys:
        storage.put_new(key, b"")
    assert list(storage.list("days")) == keys


def test_modified_says_when_each_listed_object_was_written(storage: Storage):
    assert storage.modified("days") == {}
    before = datetime.now(UTC) - timedelta(seconds=2)  # S3 keeps whole seconds
    for key in ("days/2026-01-02", "days/2026-01-01", "days_of_old/x"):
        storage.put(key, b"")
    after = datetime.now(UTC) + timedelta(seconds=2)
    assert list(storage.modified()) == list(storage.list())
    times = storage.modified("days")
    assert list(times) == ["days/2026-01-01", "days/2026-01-02"]
    assert all(before < time < after for time in times.values())


def test_nothing_is_half_written_after_a_write(storage: Storage):
    storage.put("a/b", b"1")
    assert storage.half_written() == {}
    storage.discard_half_written("a/b")
    storage.discard_half_written("never/was")
    assert storage.get("a/b") == b"1"


def test_delete_is_final_and_may_be_repeated(storage: Storage):
    """An object that is not there is not missed, nor is its folder."""
    storage.put("a/b", b"1")
    storage.delete("a/b")
    storage.delete("a/b")
    storage.delete("never/was")
    assert not storage.exists("a/b")
    assert list(storage.list()) == []


def test_put_new_never_rewrites(storage: Storage):
    """The first one stays."""
    assert storage.put_new("released/1.zip", b"first")
    assert not storage.put_new("released/1.zip", b"second")
    assert storage.get("released/1.zip") == b"first"


def test_swap_writes_only_over_what_was_read(storage: Storage):
    """Created, changed or deleted in the meantime: each is a conflict, and changes nothing."""
    storage.swap(POINTER, b"1", expected=None)
    first = storage.get_versioned(POINTER)
    assert first is not None
    assert first.data == b"1"
    with pytest.raises(Conflict, match=POINTER):
        storage.swap(POINTER, b"x", expected=None)
    storage.swap(POINTER, b"2", expected=first.version)
    with pytest.raises(Conflict, match="read it again"):
        storage.swap(POINTER, b"x", expected=first.version)
    assert storage.get(POINTER) == b"2"
    storage.delete(POINTER)
    with pytest.raises(Conflict):
        storage.swap(POINTER, b"x", expected=first.version)
    assert not storage.exists(POINTER)


def test_what_has_not_changed_is_what_is_known(storage: Storage):
    storage.put("a", b"one")
    known = storage.get_versioned("a")
    assert storage.get_versioned("a", known=known) is known
    storage.put("a", b"two")
    changed = storage.get_versioned("a", known=known)
    assert changed is not None
    assert changed.data == b"two"
    assert storage.get_versioned("a", known=changed) is changed
    storage.delete("a")
    assert storage.get_versioned("a", known=changed) is None


def test_a_known_version_is_enough_to_learn_that_nothing_changed(storage: Storage):
    """Who looks at many large objects need not hold them all."""
    storage.put("a", b"one")
    first = storage.get_versioned("a")
    assert first is not None
    known = Versioned(b"", first.version)
    assert storage.get_versioned("a", known=known) is known


def test_an_object_that_is_too_large_is_not_read(storage: Storage, storage_url: str):
    storage.put("a", b"four")
    assert storage.get("a", at_most=4) == b"four"
    for read in (storage.get, storage.get_versioned):
        with pytest.raises(ObjectTooLargeError, match=f"{storage_url}/a has 4 bytes, more than 3"):
            read("a", at_most=3)


def test_url_is_what_a_person_can_open(storage: Storage, storage_url: str):
    """A path, or what `aws s3 cp` takes."""
    assert storage.url("metrics/2026-01-05.json") == f"{storage_url}/metrics/2026-01-05.json"


def test_two_storages_of_one_url_are_the_same_place(storage: Storage, storage_url: str):
    """A slash at the end does not matter."""
    storage.put("a", b"1")
    assert open_storage(f"{storage_url}/").get("a") == b"1"


# --- keys and URLs --------------------------------------------------------------------------------

BAD_KEYS = ["", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", ".hidden", "a/.hidden", "a\\b", "a b", "a\n"]
BAD_KEYS += ["a\0", "é", "~", "a:b", "a?b", "a%2e", "a" * 201]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_malformed_keys_are_refused_by_every_method(disk: DiskStorage, key: str):
    """Before anything is read or written."""
    for use in (disk.url, disk.get, disk.get_versioned, disk.exists, disk.delete):
        with pytest.raises(ValueError, match="is not a key: write names of"):
            use(key)
    for write in (disk.put, disk.put_new):
        with pytest.raises(ValueError, match="is not a key"):
            write(key, b"")
    with pytest.raises(ValueError, match="is not a key"):
        disk.swap(key, b"", expected=None)
    if key:
        with pytest.raises(ValueError, match="is not a key"):
            disk.list(key)
    with pytest.raises(ValueError, match="is not a key"):
        S3Storage("films", "prefix").url(key)


@given(st.text(st.sampled_from("ab0-_.+=/\\~ \n\0é"), max_size=12) | st.text(max_size=12))
def test_a_key_that_is_accepted_is_a_plain_path_below_the_root(key: str):
    """Nothing that is accepted can lead outside, be hidden, or be written in two ways."""
    try:
        url = DiskStorage(Path("/root")).url(key)
    except ValueError:
        return
    assert url == os.path.normpath(url) == f"/root/{key}"
    assert key.isascii()
    assert key.isprintable()
    assert all(part and not part.startswith(".") for part in key.split("/"))


@pytest.mark.parametrize(
    "url",
    ["", " ", "s3://", "s3:///prefix", "gs://films", "file:///srv", "s3://key:secret@films", "s3://films?x=secret"],
)
def test_other_urls_are_refused(url: str):
    """The text does not repeat the URL, which may hold a password."""
    with pytest.raises(ValueError, match="neither a local folder nor like s3://bucket/prefix") as refused:
        open_storage(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("prefix", ["/a", "a//b", "../a", ".hidden"])
def test_prefixes_are_keys(prefix: str):
    """What is not a key cannot begin one."""
    with pytest.raises(ValueError, match="is not a key"):
        open_storage(f"s3://films/{prefix}")


def test_a_relative_path_is_below_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where it was opened, not where it is used."""
    monkeypatch.chdir(tmp_path)
    storage = open_storage("data")
    monkeypatch.chdir("/")
    assert storage.url("a") == str(tmp_path / "data" / "a")


def test_opening_touches_nothing(tmp_path: Path):
    """Neither a folder nor a connection is made, and boto3 is not even imported."""
    source = """
import sys
from movie_platform.storage import open_storage
print(open_storage("s3://films").url("a"), open_storage(sys.argv[1]).url("a"), "boto3" in sys.modules)
"""
    output = finished(run_python(source, tmp_path / "storage"))
    assert output.split() == ["s3://films/a", str(tmp_path / "storage" / "a"), "False"]
    assert not (tmp_path / "storage").exists()


# --- disk: whole or not at all --------------------------------------------------------------------


def files(folder: Path) -> list[str]:
    """Name everything below a folder, hidden or not."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def test_disk_keeps_nothing_but_the_objects(disk: DiskStorage, tmp_path: Path):
    """No partial file is left, whether a write succeeded, lost or was pointless."""
    disk.put("a/b", b"1")
    disk.put_new("a/b", b"2")
    with pytest.raises(Conflict):
        disk.swap("a/b", b"3", expected="another version")
    disk.delete("a/never")
    assert files(tmp_path / "storage") == ["a/b"]


def test_disk_lists_only_well_formed_names(disk: DiskStorage, tmp_path: Path):
    """What other programs leave beside the objects is none."""
    disk.put("a/b", b"")
    for name in (".hidden", "a/.b.partial", "a/b~", "a/c d", ".git/config"):
        path = tmp_path / "storage" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    assert list(disk.list()) == ["a/b"]


def test_what_a_killed_writer_left_is_found_and_can_be_discarded(disk: DiskStorage, tmp_path: Path):
    """What a living writer is at work on is not half-written; the object itself stays as it was."""
    disk.put("a/b", b"old")
    left, held = tmp_path / "storage/a/.b.partial", tmp_path / "storage/a/.c.partial"
    left.write_bytes(b"ne")
    os.utime(left, (0, 86_400))
    with held.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert disk.half_written("a") == disk.half_written() == {"a/b": datetime(1970, 1, 2, tzinfo=UTC)}
    assert disk.half_written("other") == {}
    disk.discard_half_written("a/b")
    assert not left.exists()
    assert disk.get("a/b") == b"old"


def test_what_a_killed_writer_left_is_taken_over(disk: DiskStorage, tmp_path: Path):
    """The next write of the object uses its partial file, however long it had become."""
    disk.put("a/b", b"old")
    leftover = tmp_path / "storage" / "a" / ".b.partial"
    leftover.write_bytes(b"x" * 1_000_000)
    assert disk.get("a/b") == b"old"
    disk.put("a/b", b"new")
    assert disk.get("a/b") == b"new"
    leftover.write_bytes(b"x")
    disk.delete("a/b")
    assert files(tmp_path / "storage") == []


WRITE_FOREVER = """
import sys
from pathlib import Path
from movie_platform.storage import DiskStorage
storage = DiskStorage(Path(sys.argv[1]))
storage.get("a/b")
print("ready", flush=True)
while True:
    for letter in b"xyz":
        storage.put("a/b", bytes([letter]) * 20_000_000)
"""


def test_a_killed_writer_leaves_the_old_or_the_new_object(disk: DiskStorage, tmp_path: Path):
    """SIGKILL at any moment of a write of 20 MB."""
    disk.put("a/b", b"x" * 20_000_000)
    moments = random.Random(7)
    for _ in range(12):
        with run_python(WRITE_FOREVER, tmp_path / "storage") as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            threading.Event().wait(moments.uniform(0, 0.15))
            process.send_signal(signal.SIGKILL)
        data = disk.get("a/b")
        assert len(data) == 20_000_000
        assert data == data[:1] * len(data)
        assert list(disk.list()) == ["a/b"]
        assert set(files(tmp_path / "storage")) <= {"a/b", "a/.b.partial"}
    disk.put("a/b", b"last")
    assert files(tmp_path / "storage") == ["a/b"]


INCREMENT = """
import sys
from pathlib import Path
from movie_platform.storage import Conflict, DiskStorage
storage = DiskStorage(Path(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    while True:
        current = storage.get_versioned("counter")
        count = int(current.data) if current else 0
        try:
            storage.swap("counter", str(count + 1).encode(), expected=current.version if current else None)
        except Conflict:
            continue
        break
"""


def test_racing_swaps_on_disk_lose_no_increment(disk: DiskStorage, tmp_path: Path):
    """Six processes count together, from an object that does not exist yet."""
    for process in [run_python(INCREMENT, tmp_path / "storage", 50) for _ in range(6)]:
        finished(process)
    assert disk.get("counter") == b"300"
    assert files(tmp_path / "storage") == ["counter"]


PUT_AND_DELETE = """
import sys
from pathlib import Path
from movie_platform.storage import DiskStorage
storage = DiskStorage(Path(sys.argv[1]))
for n in range(60):
    storage.put("a/b", sys.argv[2].encode() * 300_000)
    if n % 3 == 0:
        storage.delete("a/b")
"""


def test_racing_writers_on_disk_never_mix(disk: DiskStorage, tmp_path: Path):
    """Whoever reads meanwhile sees one writer's whole object, or none."""
    writers = [run_python(PUT_AND_DELETE, tmp_path / "storage", letter) for letter in "xyz"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        found = disk.get_versioned("a/b")
        if found is not None:
            assert found.data == found.data[:1] * 300_000
            seen.add(found.data[:1])
    for writer in writers:
        finished(writer)
    assert seen <= {b"x", b"y", b"z"}
    assert set(files(tmp_path / "storage")) <= {"a/b"}


def test_only_one_of_many_creates_an_object(disk: DiskStorage):
    """Threads exclude each other like processes do."""
    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(lambda n: disk.put_new("a", str(n).encode()), range(64)))
    assert written.count(True) == 1
    assert disk.get("a") == str(written.index(True)).encode()


# --- disk: what goes wrong ------------------------------------------------------------------------


@pytest.mark.parametrize("write", [DiskStorage.put, DiskStorage.put_new, lambda disk, key, _: disk.delete(key)])
def test_a_folder_in_the_way_is_an_error(disk: DiskStorage, tmp_path: Path, write):
    """The message says what is in the way; nothing is left behind."""
    disk.put("a/b", b"1")
    with pytest.raises(StorageError, match=r"storage/a: Is a directory: a folder has the object's name; move it away"):
        write(disk, "a", b"")
    assert files(tmp_path / "storage") == ["a/b"]


def test_a_file_in_the_way_is_an_error(disk: DiskStorage, tmp_path: Path):
    """The same, the other way round, for the root too."""
    disk.put("a", b"1")
    with pytest.raises(
        StorageError, match=r"cannot write .*storage/a/b: .*: a file has the name of one of the folders"
    ):
        disk.put("a/b", b"")
    with pytest.raises(StorageError, match="a file has the name of one of the folders"):
        DiskStorage(tmp_path / "storage" / "a").put("b", b"")
    disk.delete("a/b")
    assert disk.get("a") == b"1"


LIMITED = """
import resource, sys
from pathlib import Path
from movie_platform.storage import DiskStorage, StorageError
storage = DiskStorage(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    storage.put("a/b", b"new" * 100_000)
except StorageError as error:
    print(error)
"""


def test_a_write_that_does_not_fit_leaves_the_old_object(disk: DiskStorage, tmp_path: Path):
    """A limit on the size of files stands for a full disk: writing stops in the middle of the data."""
    disk.put("a/b", b"old")
    output = finished(run_python(LIMITED, tmp_path / "storage"))
    assert "storage/a/b: File too large: raise the limit" in output
    assert disk.get("a/b") == b"old"
    assert files(tmp_path / "storage") == ["a/b"]


READ_ONLY = """
import os
from pathlib import Path
from movie_platform.storage import DiskStorage, StorageError
if os.geteuid() == 0:  # whom no permission stops
    os.setuid(65534)
storage = DiskStorage(Path("storage"))
print(storage.get("a/b"))
for write in (storage.put, storage.put_new, lambda key, _: storage.delete(key)):
    try:
        write("a/b", b"new")
    except StorageError as error:
        print(error)
"""


def test_a_read_only_folder_can_be_read_but_not_written(disk: DiskStorage, tmp_path: Path):
    """As the current folder's child, so that an unprivileged user reaches it wherever the tests run."""
    disk.put("a/b", b"old")
    tmp_path.chmod(0o755)
    folders = (tmp_path / "storage", tmp_path / "storage" / "a")
    for folder in folders:
        folder.chmod(0o555)
    try:
        output = finished(run_python(READ_ONLY, cwd=tmp_path)).splitlines()
    finally:
        for folder in folders:
            folder.chmod(0o755)
    remedy = "storage/a/b: Permission denied: give this user the right to it, or use another folder"
    assert output == ["b'old'", f"cannot write {remedy}", f"cannot write {remedy}", f"cannot delete {remedy}"]
    assert files(tmp_path / "storage") == ["a/b"]


# --- S3 -------------------------------------------------------------------------------------------


def test_s3_puts_objects_where_the_url_says(s3_url: str):
    """Whatever else lies in the bucket is left alone and not listed."""
    storage = open_storage(s3_url)
    client = boto3.session.Session().client("s3")
    for name in ("some/prefix-of-others", "some/prefix/", "some/prefix/.hidden", "some/prefix/a//b", "elsewhere"):
        client.put_object(Bucket="films", Key=name, Body=b"")
    storage.put("a/b", b"1")
    assert client.get_object(Bucket="films", Key="some/prefix/a/b")["Body"].read() == b"1"
    assert list(storage.list()) == ["a/b"]
    client.close()


def test_s3_needs_no_prefix(s3_url: str):
    """The whole bucket is a storage too."""
    storage = open_storage("s3://films")
    storage.put("a/b", b"1")
    assert storage.url("a/b") == "s3://films/a/b"
    assert list(storage.list()) == list(storage.list("a")) == ["a/b"]


@pytest.mark.parametrize(
    "use",
    [
        lambda storage: storage.put("a", b""),
        lambda storage: storage.put_new("a", b""),
        lambda storage: storage.swap("a", b"", expected='"0"'),
        lambda storage: storage.get("a"),
        lambda storage: storage.exists("a"),
        lambda storage: storage.list(),
        lambda storage: storage.list("a"),
    ],
    ids=["put", "put_new", "swap", "get", "exists", "list", "list-folder"],
)
def test_a_missing_bucket_is_not_a_missing_object(s3_url: str, use):
    """Every method says so, with the remedy."""
    with pytest.raises(StorageError, match=r"s3://nowhere/x/.*NoSuchBucket .*: create the bucket, or name another one"):
        use(open_storage("s3://nowhere/x"))


def test_racing_swaps_on_s3_lose_no_increment(stub: s3_stub.S3Stub):
    """Four clients count together, from an object that does not exist yet."""

    def count_up(_: int) -> None:
        storage = open_storage("s3://films/x")
        for _ in range(15):
            while True:
                current = storage.get_versioned("counter")
                count = int(current.data) if current else 0
                try:
                    storage.swap("counter", str(count + 1).encode(), expected=current.version if current else None)
                except Conflict:
                    continue
                break

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count_up, range(4)))
    assert stub.objects == {"/films/x/counter": b"60"}


def test_only_one_of_many_creates_an_object_on_s3(stub: s3_stub.S3Stub):
    """One client may be shared by threads."""
    storage = open_storage("s3://films")
    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(lambda n: storage.put_new("a", str(n).encode()), range(64)))
    assert written.count(True) == 1
    assert storage.get("a") == str(written.index(True)).encode()


def test_a_conflicting_request_is_tried_again(stub: s3_stub.S3Stub):
    """S3 answers 409 while another conditional write is under way, and asks to try again."""
    storage = open_storage("s3://films")
    stub.answers.extend([(409, "ConditionalRequestConflict")] * 2)
    storage.swap("a", b"1", expected=None)
    assert storage.get("a") == b"1"


def test_a_request_that_always_conflicts_is_a_conflict(stub: s3_stub.S3Stub):
    """It is not tried for ever."""
    stub.answers.extend([(409, "ConditionalRequestConflict")] * 20)
    with pytest.raises(Conflict, match="s3://films/a"):
        open_storage("s3://films").swap("a", b"1", expected=None)
    assert stub.objects == {}


def test_a_moment_of_trouble_is_sat_out(stub: s3_stub.S3Stub):
    """boto3's own retries are at work."""
    stub.answers.append((503, "SlowDown"))
    storage = open_storage("s3://films")
    storage.put("a", b"1")
    assert storage.get("a") == b"1"


@pytest.mark.parametrize(
    ("status", "code", "remedy"),
    [
        (403, "AccessDenied", "allow s3:ListBucket"),
        (403, "InvalidAccessKeyId", "set AWS_ACCESS_KEY_ID"),
        (403, "SignatureDoesNotMatch", "set AWS_ACCESS_KEY_ID"),
        (400, "AuthorizationHeaderMalformed", "set AWS_DEFAULT_REGION"),
        (418, "Teapot", "see whether the AWS variables are right"),
    ],
)
def test_refusals_of_s3_name_the_remedy(stub: s3_stub.S3Stub, status: int, code: str, remedy: str):
    """For reading as for writing."""
    storage = open_storage("s3://films/x")
    uses: list[tuple[str, Callable[[], object]]] = [
        ("read", lambda: storage.get("a")),
        ("write", lambda: storage.put("a", b"")),
        ("write", lambda: storage.swap("a", b"", expected=None)),
    ]
    for action, use in uses:
        stub.answers.append((status, code))
        with pytest.raises(StorageError) as refused:
            use()
        assert f"cannot {action} s3://films/x/a: {code} (said the stub): {remedy}" in str(refused.value)


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "NoCredentialsError: set AWS_ACCESS_KEY_ID"),
        ({"AWS_SECRET_ACCESS_KEY": None}, "PartialCredentialsError: set AWS_ACCESS_KEY_ID"),
        ({"AWS_PROFILE": "nobody"}, "ProfileNotFound: correct AWS_PROFILE"),
        ({"AWS_DEFAULT_REGION": "no region"}, "InvalidRegionError: set AWS_DEFAULT_REGION"),
        ({"AWS_ENDPOINT_URL_S3": "hunter2 is no endpoint"}, "ValueError: correct AWS_ENDPOINT_URL_S3"),
        ({"AWS_ENDPOINT_URL_S3": "http://me:hunter2@127.0.0.1:{port}"}, "EndpointConnectionError: see whether"),
    ],
    ids=["credentials", "half", "profile", "region", "endpoint", "connection"],
)
def test_wrong_aws_variables_are_explained(
    aws_environment: None, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str | None], reason: str
):
    """Without showing a secret, not even in the traceback."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{unused_port()}")
    for name, value in environment.items():
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value.format(port=unused_port()))
    with pytest.raises(StorageError) as refused:
        open_storage("s3://films/x").get("a")
    assert f"cannot read s3://films/x/a: {reason}" in str(refused.value)
    assert "hunter2" not in "".join(traceback.format_exception(refused.value))
