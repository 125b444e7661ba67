"""The bundle's format: round trip, probes, golden files, and refusing what is not a bundle."""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from movie_platform.rating_model.bundle import Bundle, BundleError
from movie_platform.rating_model.config import MOST_SERIES_FILMS, MOST_TERMS
from movie_platform.rating_model.fields import Situation
from movie_platform.rating_model.model import RatingModel
from movie_platform.rating_model.series import SeriesTable
from movie_platform.rating_model.text import TextScorer
from movie_platform.rating_model.trees import tree_count
from movie_platform_tests.rating_model.examples import SMALL, example_films
from movie_platform_tests.rating_model.golden import GOLDEN

PINNED: dict[int, dict[Situation, list[list[float]]]] = {
    1: {
        "unreleased": [
            [6.398713423616509, 5.1494570210720525, 7.009887187477063],
            [6.404386172562291, 5.155129770017835, 7.015559936422846],
            [6.6983022900756355, 5.449045887531179, 7.30947605393619],
        ],
        "released": [
            [6.398713423616509, 5.163248264895575, 7.010443699418763],
            [6.404386172562291, 4.8954322611161585, 7.15153212476177],
            [6.6983022900756355, 5.285580348071401, 7.397799784694464],
        ],
    },
    2: {
        "unreleased": [
            [6.579798378241, 4.854618892641, 7.716218810181],
            [6.692889260987, 4.967709775387, 7.8293096929270005],
            [6.36460768371, 4.63942819811, 7.5010281156500005],
        ],
        "released": [
            [6.369366915374, 4.941043790107018, 7.701090041804491],
            [6.531522558616, 4.923366139044478, 8.030916538154589],
            [6.236781377458001, 4.693532887852543, 7.67565726420972],
        ],
    },
}
"""Predictions of the golden bundles for ``pinned_films``, as they were when the bundles were made."""

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


def pinned_films() -> pd.DataFrame:
    """Three films of which the third follows a series that the golden bundle of version 2 knows."""
    films = example_films(3, seed=9)
    films.loc[2, "title"] = "Zugumadu 4: Again"
    return films


@pytest.fixture(scope="module")
def golden_1() -> bytes:
    return GOLDEN[1].read_bytes()


@pytest.fixture(scope="module")
def golden_2() -> bytes:
    return GOLDEN[2].read_bytes()


@pytest.fixture(scope="module", params=GOLDEN)
def golden(request: pytest.FixtureRequest) -> bytes:
    """Of each format version."""
    return GOLDEN[request.param].read_bytes()


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


@pytest.mark.parametrize("version", GOLDEN)
def test_a_golden_bundle_still_predicts_the_same(version):
    """A bundle once written stays readable, and means the same."""
    data = GOLDEN[version].read_bytes()
    assert len(data) < 100_000
    loaded = Bundle.from_bytes(data)
    assert loaded.metadata.format_version == version
    loaded.check_probes()
    for situation, pinned in PINNED[version].items():
        predictions = loaded.model.predict(pinned_films(), situation=situation)
        assert predictions[["prediction", "low", "high"]].to_numpy().tolist() == pinned
    assert loaded.model.predict(pinned_films())["situation"].tolist() == ["released"] * 3
    assert loaded.to_bytes() == data


def test_a_bundle_of_version_1_says_how_it_was_trained(golden_1: bytes):
    """It knew neither series nor half-lives, and one set of trees is for both situations."""
    loaded = Bundle.from_bytes(golden_1)
    assert (loaded.metadata.config.max_series_films, loaded.metadata.config.recency_half_life) == (0, None)
    assert loaded.metadata.profile is None
    assert loaded.model.encoder.series is None
    assert loaded.model.text_of("released") == loaded.model.text_of("unreleased") == loaded.model.model_text


def test_a_bundle_of_version_2_has_what_is_new_in_it(golden_2: bytes):
    loaded = Bundle.from_bytes(golden_2)
    assert loaded.metadata.config.recency_half_life == 15
    assert loaded.metadata.profile is not None
    assert loaded.model.encoder.series is not None
    assert loaded.model.text_of("released") != loaded.model.text_of("unreleased")


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
Bundle.from_bytes(pathlib.Path({str(GOLDEN[2])!r}).read_bytes()).check_probes()
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


def forged(data: bytes, name: str, change: Callable[[dict[str, Any]], Any]) -> bytes:
    """The bundle with one of its JSON members changed in place."""
    contents = members(data)
    document = json.loads(contents[name])
    change(document)
    return zipped(contents | {name: json.dumps(document).encode()})


NEW: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "first_released_tree": ("metadata.json", lambda metadata: metadata.update(first_released_tree=6)),
    "profile": ("metadata.json", lambda metadata: metadata.update(profile=None)),
    "config.max_series_films": ("metadata.json", lambda metadata: metadata["config"].update(max_series_films=40_000)),
    "config.recency_half_life": ("metadata.json", lambda metadata: metadata["config"].update(recency_half_life=None)),
}


@pytest.mark.parametrize("field", NEW)
def test_what_is_new_in_version_2_does_not_belong_in_version_1(golden_1: bytes, field):
    """Read, it would be left out when the bundle is written again, which would then mean something else."""
    with pytest.raises(BundleError, match=rf"^metadata.json: {field}: a bundle of format 1 does not have it; "):
        Bundle.from_bytes(forged(golden_1, *NEW[field]))


@pytest.mark.parametrize("field", NEW)
def test_what_is_new_in_version_2_belongs_there(golden_2: bytes, field):
    """What was not written would be made up, such as that all trees are for both situations."""
    *path, name = field.split(".")

    def remove(metadata: dict[str, Any]) -> None:
        for part in path:
            metadata = metadata[part]
        del metadata[name]

    with pytest.raises(BundleError, match=rf"^metadata.json: {field}: missing, and a bundle of format 2 has it; "):
        Bundle.from_bytes(forged(golden_2, "metadata.json", remove))


def test_series_belong_to_version_2_alone(golden_1: bytes, golden_2: bytes):
    """Where they are missing, or too many, is said before anything that follows from it."""
    series = json.loads(members(golden_2)["encoder.json"])["series"]
    with pytest.raises(BundleError, match=r"^encoder.json: series: they belong to format 2 alone"):
        Bundle.from_bytes(forged(golden_1, "encoder.json", lambda state: state.update(series=series)))
    with pytest.raises(BundleError, match=r"^encoder.json: series: they belong to format 2 alone"):
        Bundle.from_bytes(forged(golden_2, "encoder.json", lambda state: state.pop("series")))


@pytest.mark.parametrize(
    ("first", "message"),
    [
        (-1, r"^metadata.json: first_released_tree: "),
        (29, r"^model.txt: first_released_tree: no tree is left for one of the situations; restore"),
        (10**9, r"^model.txt: first_released_tree: "),
        ("14", r"^metadata.json: first_released_tree: "),
        (14.0, r"^metadata.json: first_released_tree: "),
    ],
)
def test_a_situation_must_have_trees(golden_2: bytes, first, message):
    model = Bundle.from_bytes(golden_2).model
    assert (model.first_released_tree, tree_count(model.model_text)) == (14, 29)
    with pytest.raises(BundleError, match=message):
        Bundle.from_bytes(
            forged(golden_2, "metadata.json", lambda metadata: metadata.update(first_released_tree=first))
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda series: series["keys"].reverse(), "series: not sorted by key and day"),
        (lambda series: series["votes"].pop(), "series: keys, days, ratings and votes have different lengths"),
        (lambda series: series["ratings"].__setitem__(4, 10.5), r"series\.ratings\.4: "),
        (lambda series: series["days"].__setitem__(0, 0), r"series\.days\.0: "),
        (lambda series: series.pop("noise_ratio"), r"series\.noise_ratio: "),
        (lambda series: series.update(titles=[]), r"series\.titles: "),
    ],
)
def test_damaged_series_are_refused(golden_2: bytes, change, message):
    with pytest.raises(BundleError, match=rf"^encoder.json: {message}.*; restore"):
        Bundle.from_bytes(forged(golden_2, "encoder.json", lambda state: change(state["series"])))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda profile: profile.update(films=7), "profile: Value error, counts: "),
        (lambda profile: profile["features"].append(profile["features"][0]), "profile: Value error, features: "),
        (lambda profile: profile["predictions"]["edges"].reverse(), r"profile\.predictions: Value error, edges: "),
        (lambda profile: profile.pop("predictions"), r"profile\.predictions: "),
    ],
)
def test_a_damaged_profile_is_refused(golden_2: bytes, change, message):
    with pytest.raises(BundleError, match=rf"^metadata.json: {message}.*; restore"):
        Bundle.from_bytes(forged(golden_2, "metadata.json", lambda metadata: change(metadata["profile"])))


def test_the_largest_encoder_that_a_config_allows_can_be_read(golden_2: bytes):
    """What training can make, readers take: as many words and films of series as the limits of the config."""
    bundle = Bundle.from_bytes(golden_2)
    rng = np.random.default_rng(2)
    text = TextScorer(
        terms=tuple(f"longer word {number:05}" for number in range(MOST_TERMS)),
        idf=rng.uniform(1, 12, MOST_TERMS),
        coefficients=rng.normal(0, 1, MOST_TERMS),
        intercept=6.1,
    )
    films = MOST_SERIES_FILMS
    series = SeriesTable(
        keys=sorted(rng.integers(2**31, 2**32, films).tolist()),
        days=[730_000] * films,
        ratings=rng.uniform(0, 10, films).round(3).tolist(),
        votes=rng.integers(10**4, 10**5, films).tolist(),
        noise_ratio=8.9,
    )
    model = replace(bundle.model, encoder=replace(bundle.model.encoder, text=text, series=series))
    again = Bundle.from_bytes(replace(bundle, model=model).to_bytes())
    assert len(again.model.encoder.text.terms) == MOST_TERMS
    assert again.model.encoder.series is not None
    assert len(again.model.encoder.series.keys) == MOST_SERIES_FILMS


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
