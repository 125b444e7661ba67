"""Released bytes that are no bundle, or a forged one: the service neither crashes nor hangs, and the old one goes on.

Their SHA-256 is always the released one, so that it is the reader which refuses them. What is risky happens in another
process (`damaged_worker`), which must answer in time.
"""

import io
import json
import re
import select
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from movie_platform_tests.rating_model.test_bundle import NAMES, members, zipped
from movie_platform_tests.serving.service import bundle_of

SECONDS = 20
MOST_MEMORY = 400
"""MiB: a service takes 100, and a container is rarely given less than this."""

GOOD = bundle_of().to_bytes()
HUGE = [
    "0",
    "-1",
    "1e999",
    "-1e308",
    "1e308",
    "nan",
    "inf",
    "2147483648",
    "999999999",
    "99999999999999999999",
    "1" * 5000,
]
HUGE += ["null", "true", '"1"', "[]", "{}", "1.5", "-0", "0x10", "1_0", ""]
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
FEW = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Worker:
    """The other process, and a new one after it has failed."""

    def __init__(self, folder: Path) -> None:
        self._good = folder / "good.zip"
        self._good.write_bytes(GOOD)
        self._process: subprocess.Popen[bytes] | None = None

    def offer(self, data: bytes) -> dict[str, Any]:
        """Let the service be offered these bytes; fails the test if it crashes, hangs or predicts no rating."""
        process = self._started()
        process.stdin.write(struct.pack("<Q", len(data)) + data)
        process.stdin.flush()
        answered, _, _ = select.select([process.stdout], [], [], SECONDS)
        line = process.stdout.readline() if answered else b""
        if not line:
            self.stop()
            pytest.fail(f"crashed ({process.returncode})" if answered else f"no answer within {SECONDS} s")
        answer: dict[str, Any] = json.loads(line)
        if answer["memory"] > MOST_MEMORY:
            self.stop()
            pytest.fail(f"took {answer['memory']:.0f} MiB")
        return answer

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _started(self) -> Any:
        if self._process is None:
            command = [sys.executable, "-m", "movie_platform_tests.serving.damaged_worker", str(self._good)]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self._process


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    made = Worker(tmp_path_factory.mktemp("worker"))
    yield made
    made.stop()


def test_the_worker_tells_good_from_bad(worker: Worker):
    """Else all that follows would prove nothing."""
    assert worker.offer(GOOD)["problem"] is None
    assert worker.offer(bundle_of(seed=1).to_bytes())["accepted"]
    bad = worker.offer(b"rubbish")
    assert not bad["accepted"]
    assert "not a whole zip file" in bad["problem"]


@FEW
@given(st.data())
def test_damaged_bytes_are_refused_or_mean_the_same(worker: Worker, data: st.DataObject):
    """Cut short, with bits flipped, bytes inserted or removed."""
    damaged = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        # The directory is at the end, and what lies in it matters most.
        place = data.draw(st.integers(0, len(damaged)) | st.integers(max(len(damaged) - 300, 0), len(damaged)))
        kind = data.draw(st.sampled_from(["flip", "flip", "replace", "cut", "append"]))
        if kind == "flip" and place < len(damaged):
            damaged[place] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "replace":
            damaged[place : place + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
        elif kind == "cut":
            del damaged[place:]
        else:
            damaged += data.draw(st.binary(max_size=30))
    answer = worker.offer(bytes(damaged))
    if answer["accepted"]:
        with zipfile.ZipFile(io.BytesIO(bytes(damaged))) as archive:
            assert {name: archive.read(name) for name in NAMES} == members(GOOD)


@FEW
@given(st.data())
def test_forged_numbers_are_refused_or_predict_ratings(worker: Worker, data: st.DataObject):
    """With right check sums: any number of any member may be any other thing."""
    contents = members(GOOD)
    name = data.draw(st.sampled_from(NAMES))
    forged = contents[name]
    for _ in range(data.draw(st.integers(1, 3))):
        numbers = list(NUMBER.finditer(forged))
        # Half of them in the first kilobyte, where the sizes are.
        first = [number for number in numbers if number.start() < 1000]
        number = data.draw(st.sampled_from(numbers) | st.sampled_from(first))
        value = data.draw(st.sampled_from(HUGE) | st.floats().map(repr) | st.integers().map(str)).encode()
        forged = forged[: number.start()] + value + forged[number.end() :]
    worker.offer(zipped(contents | {name: forged}))


@FEW
@given(st.data())
def test_forged_lines_are_refused_or_predict_ratings(worker: Worker, data: st.DataObject):
    """Lines of the model or of the metadata that are missing, doubled, swapped or of another place."""
    contents = members(GOOD)
    name = data.draw(st.sampled_from(["model.txt", "metadata.json"]))
    lines = contents[name].split(b"\n")
    for _ in range(data.draw(st.integers(1, 3))):
        one, other = (data.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        kind = data.draw(st.sampled_from(["remove", "double", "swap", "copy"]))
        if kind == "remove" and len(lines) > 1:
            del lines[one]
        elif kind == "double":
            lines.insert(one, lines[one])
        elif kind == "swap":
            lines[one], lines[other] = lines[other], lines[one]
        else:
            lines[one] = lines[other]
        lines = lines or [b""]
    worker.offer(zipped(contents | {name: b"\n".join(lines)}))


# --- tricks with zip files -------------------------------------------------------------------------

_CENTRAL = struct.Struct("<4s4B4HL2L5H2L")
_END = struct.Struct("<4s4H2LH")


def entry(  # one of the central directory
    name: bytes, *, crc: int = 0, packed: int = 0, size: int = 0, offset: int = 0, flags: int = 0, extra: bytes = b""
) -> bytes:
    fixed = (b"PK\1\2", 45, 3, 45, 0, flags, 0, 0, 33, crc, packed, size)
    return _CENTRAL.pack(*fixed, len(name), len(extra), 0, 0, 0, 0, offset) + name + extra


def with_directory(entries: list[bytes], *, count: int | None = None) -> bytes:
    """The good members under another directory."""
    start = GOOD.index(b"PK\1\2")
    directory = b"".join(entries)
    number = len(entries) if count is None else count
    return GOOD[:start] + directory + _END.pack(b"PK\5\6", 0, 0, number, number, len(directory), start, 0)


def infos() -> list[zipfile.ZipInfo]:
    with zipfile.ZipFile(io.BytesIO(GOOD)) as archive:
        return archive.infolist()


def entries_of(**changes: Any) -> list[bytes]:
    """The good directory, with something else said of each member."""
    return [
        entry(
            info.filename.encode(),
            **{"crc": info.CRC, "packed": info.file_size, "size": info.file_size, "offset": info.header_offset}
            | changes,
        )
        for info in infos()
    ]


def zip64_that_lies() -> bytes:
    extra = struct.pack("<HHQQ", 1, 16, 2**40, 2**40)
    return with_directory(entries_of(size=0xFFFFFFFF, packed=0xFFFFFFFF, extra=extra))


def bomb() -> bytes:
    return zipped(dict.fromkeys(NAMES, bytes(60_000_000)), zipfile.ZIP_DEFLATED)


def bomb_that_says_it_is_stored() -> bytes:
    data = bytearray(zipped(dict.fromkeys(NAMES, bytes(10_000_000)), zipfile.ZIP_DEFLATED))
    for signature, at in ((b"PK\1\2", 10), (b"PK\3\4", 8)):
        place = data.find(signature)
        while place >= 0:
            data[place + at : place + at + 2] = b"\0\0"
            place = data.find(signature, place + 1)
    return bytes(data)


def twice(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, pytest.MonkeyPatch.context() as patched:
        patched.setattr("warnings.warn", lambda *arguments, **options: None)
        for name in names:
            archive.writestr(name, members(GOOD)[name])
    return file.getvalue()


def renamed(name: str, other: str) -> bytes:
    return zipped({other if old == name else old: content for old, content in members(GOOD).items()})


TRICKS: dict[str, Callable[[], bytes]] = {
    "compressed bomb": bomb,
    "bomb said to be stored": bomb_that_says_it_is_stored,
    "sizes of 4 GB": lambda: with_directory(entries_of(size=0xFFFFFFFE, packed=0xFFFFFFFE)),
    "zip64 sizes that lie": zip64_that_lies,
    "zip64 marks without sizes": lambda: with_directory(entries_of(size=0xFFFFFFFF, packed=0xFFFFFFFF)),
    "sizes that differ": lambda: with_directory(entries_of(size=10)),
    "sizes too small": lambda: with_directory(entries_of(size=10, packed=10)),
    "encrypted": lambda: with_directory(entries_of(flags=1)),
    "strongly encrypted": lambda: with_directory(entries_of(flags=0x41)),
    "patched data": lambda: with_directory(entries_of(flags=0x20)),
    "all at one place": lambda: with_directory(entries_of(offset=0)),
    "outside of the file": lambda: with_directory(entries_of(offset=0xFFFFFFF0)),
    "wrong check sums": lambda: with_directory(entries_of(crc=1)),
    "no entries": lambda: with_directory([]),
    "one member twice": lambda: twice("model.txt", "encoder.json", "metadata.json", "model.txt"),
    "one member instead of another": lambda: twice("model.txt", "model.txt", "metadata.json"),
    "path upwards": lambda: renamed("model.txt", "../model.txt"),
    "absolute path": lambda: renamed("model.txt", "/model.txt"),
    "folder": lambda: renamed("model.txt", "model.txt/"),
    "name that ends early": lambda: with_directory(
        [entry(b"model.txt\0.exe"), *entries_of()[1:]],
    ),
    "backslash": lambda: renamed("model.txt", ".\\model.txt"),
    "capitals": lambda: renamed("model.txt", "MODEL.TXT"),
    "nothing": lambda: b"",
    "end record alone": lambda: b"PK\5\6" + bytes(18),
    "zip of a zip": lambda: zipped({"bundle.zip": GOOD}),
}


@pytest.mark.parametrize("make", TRICKS.values(), ids=TRICKS)
def test_a_trick_with_the_zip_file_is_refused(worker: Worker, make: Callable[[], bytes]):
    answer = worker.offer(make())
    assert not answer["accepted"]
    assert answer["problem"]
    assert "unexpectedly" not in answer["problem"]


AROUND = {
    "something before": b"#!/bin/sh\n" + GOOD,
    "something after": GOOD + b"x" * 100,
    "a comment": GOOD[:-2] + b"\xff\xff" + b"x" * 65_535,
    "more entries said than there are": GOOD[:-14] + b"\x60\xea\x60\xea" + GOOD[-10:],
}


@pytest.mark.parametrize("data", AROUND.values(), ids=AROUND)
def test_what_is_around_the_members_changes_nothing(worker: Worker, data: bytes):
    """It may be refused or not: what predicts are the members."""
    worker.offer(data)


# --- bombs: small enough to be read, and much when they are understood -----------------------------


def many_entries() -> bytes:
    return with_directory([entry(b"a")] * 500_000, count=65_535)


def many_fields(member: str, count: int) -> bytes:
    fields = b"{" + b",".join(b'"%x":0' % number for number in range(count)) + b"}"
    return zipped(members(GOOD) | {member: fields})


def many_items(member: str, item: bytes, count: int) -> bytes:
    return zipped(members(GOOD) | {member: b"[" + b",".join([item] * count) + b"]"})


def deep_json(member: str) -> bytes:
    return zipped(members(GOOD) | {member: b'{"a":' * 100_000 + b"1" + b"}" * 100_000})


def many_lines() -> bytes:
    return zipped(members(GOOD) | {"model.txt": b"Tree=0\n" * 4_000_000})


def many_tiny_trees() -> bytes:
    return zipped(
        members(GOOD)
        | {"model.txt": members(GOOD)["model.txt"].replace(b"tree_sizes=", b"tree_sizes=" + b"0 " * 9_000_000)}
    )


def many_probes() -> bytes:
    contents = members(GOOD)
    metadata = json.loads(contents["metadata.json"])
    metadata["probes"] = [
        {"film": {"title": "a"}, "situation": "unreleased", "prediction": 0, "low": 0, "high": 0}
    ] * 10_000
    return zipped(contents | {"metadata.json": json.dumps(metadata, separators=(",", ":")).encode()})


BOMBS: dict[str, Callable[[], bytes]] = {
    "half a million entries": many_entries,
    "a million unknown fields": lambda: many_fields("encoder.json", 1_000_000),
    "metadata of unknown fields": lambda: many_fields("metadata.json", 80_000),
    "five million lists": lambda: many_items("encoder.json", b"[]", 5_000_000),
    "metadata of lists": lambda: many_items("metadata.json", b"[]", 300_000),
    "deep encoder": lambda: deep_json("encoder.json"),
    "deep metadata": lambda: deep_json("metadata.json"),
    "four million lines": many_lines,
    "nine million trees": many_tiny_trees,
    "ten thousand probes": many_probes,
}


@pytest.mark.parametrize("make", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_without_much_memory(worker: Worker, make: Callable[[], bytes]):
    answer = worker.offer(make())
    assert not answer["accepted"]
    assert answer["problem"]
    assert len(answer["problem"]) < 2000
