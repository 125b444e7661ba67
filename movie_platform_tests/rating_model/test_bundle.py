"""The bundle's format: round trip, probes, golden files, and refusing what is not a bundle."""

import io
import json
import subprocess
import sys
import zipfile
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from movie_platform.rating_model.bundle import Bundle, BundleError
from movie_platform.rating_model.model import RatingModel
from movie_platform_tests.rating_model.examples import SMALL, example_films

GOLDEN = Path(__file__).parent / "golden_bundle_1.zip"
PINNED = [
    [6.398713423616509, 5.163248264895575, 7.010443699418763],
    [6.404386172562291, 4.8954322611161585, 7.15153212476177],
    [6.6983022900756355, 5.285580348071401, 7.397799784694464],
]
"""Predictions of the golden bundle, as they were when it was made."""

NAMES = ["model.txt", "encoder.json", "metadata.json"]


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(contents: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.fixture(scope="module")
def golden() -> bytes:
    return GOLDEN.read_bytes()


def test_a_round_trip_predicts_the_same_bits(bundle: Bundle, films: pd.DataFrame):
    again = Bundle.from_bytes(bundle.to_bytes())
    for situation in ("unreleased", "released", None):
        expected = bundle.model.predict(films, situation=situation)
        pd.testing.assert_frame_equal(again.model.predict(films, situation=situation), expected, check_exact=True)
    assert again.metadata == bundle.metadata
    assert again.to_bytes() == bundle.to_bytes()


def test_the_file_is_a_stored_zip_with_fixed_times(bundle: Bundle):
    with zipfile.ZipFile(io.BytesIO(bundle.to_bytes())) as archive:
        infos = archive.infolist()
    assert [info.filename for info in infos] == NAMES
    assert {(info.date_time, info.compress_type) for info in infos} == {((1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED)}


def test_the_metadata_says_what_was_done(model: RatingModel):
    days = [date(2026, 1, 5), date(2026, 1, 3)]
    made = Bundle.make(
        model, partition=date(2026, 1, 5), code_version="v", days_used=days, days_missing=[date(2026, 1, 4)]
    )
    metadata = json.loads(members(made.to_bytes())["metadata.json"])
    assert metadata["format_version"] == 2
    assert metadata["partition"] == "2026-01-05"
    assert metadata["code_version"] == "v"
    assert metadata["config"] == SMALL.model_dump(mode="json")
    assert metadata["trained_on"]["synthetic"] is made.metadata.synthetic is True
    assert metadata["days_used"] == ["2026-01-03", "2026-01-05"]
    assert metadata["days_missing"] == ["2026-01-04"]
    assert {probe["situation"] for probe in metadata["probes"]} == {"unreleased", "released"}


def test_probes_repeat_and_notice_a_changed_model(bundle: Bundle):
    bundle.check_probes()
    Bundle.from_bytes(bundle.to_bytes()).check_probes()
    interval = bundle.model.intervals.released.model_copy(update={"upper": 9.0})
    changed = bundle.model.intervals.model_copy(update={"released": interval})
    contents = members(bundle.to_bytes())
    metadata = bundle.metadata.model_copy(update={"intervals": changed})
    contents["metadata.json"] = metadata.model_dump_json().encode()
    with pytest.raises(BundleError, match=r"^metadata.json: probe 'The Lighthouse at Kettle Point' should give"):
        Bundle.from_bytes(zipped(contents)).check_probes()


def test_the_golden_bundle_of_version_1_still_predicts_the_same(golden: bytes):
    """A bundle once written stays readable, and means the same."""
    assert len(golden) < 100_000
    loaded = Bundle.from_bytes(golden)
    loaded.check_probes()
    predictions = loaded.model.predict(example_films(3, seed=9))
    assert predictions[["prediction", "low", "high"]].to_numpy().tolist() == PINNED
    assert predictions["situation"].tolist() == ["released"] * 3


def test_a_bundle_of_version_1_is_written_as_it_was_and_says_how_it_was_trained(golden: bytes):
    """Its digest is what metrics and decisions name, and it knew neither series nor half-lives."""
    loaded = Bundle.from_bytes(golden)
    assert loaded.to_bytes() == golden
    assert (loaded.metadata.config.max_series_films, loaded.metadata.config.recency_half_life) == (0, None)
    assert loaded.metadata.profile is None
    assert loaded.model.text_of("released") == loaded.model.text_of("unreleased") == loaded.model.model_text


def test_predicting_needs_neither_scikit_learn_nor_matplotlib():
    """A bundle is loaded and asked in a process that has neither."""
    code = f"""
import pathlib, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("sklearn", "matplotlib", "threadpoolctl", "joblib"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
from movie_platform.rating_model.bundle import Bundle
Bundle.from_bytes(pathlib.Path({str(GOLDEN)!r}).read_bytes()).check_probes()
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.txt": None}, "^bundle: its 2 members are not model.txt, encoder.json, metadata.json"),
        ({"../evil.txt": b"x"}, "^bundle: its 4 members"),
        ({"model.txt": b"not a model"}, "^model.txt: does not have the fields of a model"),
        ({"model.txt": "é".encode()}, "^model.txt: "),
        ({"encoder.json": b"{}"}, "^encoder.json: genres: Field required"),
        ({"encoder.json": b"[" * 100_000}, "^encoder.json: document"),
        ({"metadata.json": b"null"}, "^metadata.json: document"),
        ({"metadata.json": b" " * (2**18 + 1)}, "^metadata.json: has 262145 bytes, more than 262144"),
        ({"metadata.json": b'{"format_version": 3}'}, "^metadata.json: format_version: .*newer one"),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy(golden: bytes, change, message):
    contents = {name: content for name, content in (members(golden) | change).items() if content is not None}
    with pytest.raises(BundleError, match=message) as refused:
        Bundle.from_bytes(zipped(contents))
    assert "; " in str(refused.value)


def test_members_in_another_order_or_compressed_are_refused(golden: bytes):
    contents = members(golden)
    with pytest.raises(BundleError, match="in this order"):
        Bundle.from_bytes(zipped(dict(reversed(contents.items()))))
    with pytest.raises(BundleError, match=r"^model.txt: is compressed"):
        Bundle.from_bytes(zipped(contents, zipfile.ZIP_DEFLATED))


def test_an_encoder_of_another_model_is_refused(golden: bytes):
    """Members of two bundles do not make a third."""
    state = json.loads(members(golden)["encoder.json"])
    removed = state["genres"].pop()
    with pytest.raises(BundleError, match=r"^encoder.json: its features are not those of metadata.json"):
        Bundle.from_bytes(zipped(members(golden) | {"encoder.json": json.dumps(state).encode()}))
    metadata = json.loads(members(golden)["metadata.json"])
    metadata["features"].remove(f"genre {removed}")
    contents = {"encoder.json": json.dumps(state).encode(), "metadata.json": json.dumps(metadata).encode()}
    with pytest.raises(BundleError, match=r"^model.txt: does not have the \d+ features of the encoder"):
        Bundle.from_bytes(zipped(members(golden) | contents))


def assert_refused_or_usable(data: bytes) -> Bundle | None:
    """Any other outcome, another exception or a crash, fails the test."""
    try:
        loaded = Bundle.from_bytes(data)
    except BundleError:
        return None
    predictions = loaded.model.predict(example_films(20))[["low", "prediction", "high"]].to_numpy()
    assert (np.isfinite(predictions) & (predictions >= 0) & (predictions <= 10)).all()
    return loaded


@settings(deadline=None)
@given(st.data())
def test_a_damaged_file_is_refused_or_means_the_same(golden: bytes, data):
    """Cut short, with bytes flipped, inserted or removed: the members' check sums hold."""
    damaged = bytearray(golden)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(
            st.one_of(st.integers(0, len(damaged)), st.integers(max(len(damaged) - 300, 0), len(damaged)))
        )
        length = data.draw(st.sampled_from([0, 1, 1, 1, 4, len(damaged)]))
        damaged[start : start + length] = data.draw(st.binary(max_size=8))
    loaded = assert_refused_or_usable(bytes(damaged))
    if loaded is not None:
        assert loaded.to_bytes() == golden


@settings(deadline=None)
@given(st.data())
def test_a_forged_member_is_refused_or_predicts_ratings(golden: bytes, data):
    """With correct check sums, nothing that a member says crashes the reader or LightGBM, or leaves 0..10."""
    contents = members(golden)
    name = data.draw(st.sampled_from(NAMES))
    forged = bytearray(contents[name])
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(forged)))
        length = data.draw(st.integers(0, 3))
        forged[start : start + length] = data.draw(
            st.one_of(
                st.binary(max_size=3), st.sampled_from([b"0", b"9", b"-", b"1e999", b"99999999999", b"null", b" "])
            )
        )
    assert_refused_or_usable(zipped(contents | {name: bytes(forged)}))
