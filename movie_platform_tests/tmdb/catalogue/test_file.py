"""Catalogue files: JSON lines, compressed or not, and what is said about those that are not."""

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from movie_platform.tmdb.catalogue import CatalogueFileError, read_catalogue

ITEMS = [{"id": 1, "title": "Amélie", "vote_average": 7}, {"id": 2, "title": "東京物語", "odd": [None]}]
LINES = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in ITEMS).encode()


@pytest.mark.parametrize("name", ["films.jsonl", "films.jsonl.gz", "films"])
@pytest.mark.parametrize(
    "content",
    [LINES, gzip.compress(LINES), LINES.rstrip(), b"\xef\xbb\xbf" + LINES, LINES.replace(b"\n", b"\r\n\r\n")],
    ids=["plain", "gzip", "no last line end", "byte order mark", "empty lines"],
)
def test_content_not_name_says_how_to_read(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    assert read_catalogue(path) == ITEMS


@pytest.mark.parametrize(
    ("content", "line", "text"),
    [
        (LINES + b'{"id": 3', "line 3", "not JSON"),
        (LINES + b"\xff\xfe{}", "line 3", "not JSON"),
        (LINES + b'{"popularity": NaN}', "line 3", "NaN is not JSON"),
        (b"[" * 100_000, "line 1", "not JSON"),
        (json.dumps(ITEMS).encode(), "line 1", "one item a line"),
        (b"", "films", "no items"),
        (b"\n \n", "films", "no items"),
        (gzip.compress(LINES * 100, mtime=0)[:-20], "after line", "damaged"),
        (b"\x1f\x8bnot compressed at all", "after line 0", "damaged"),
    ],
)
def test_errors_name_file_line_and_remedy(tmp_path, content, line, text):
    path = tmp_path / "films.jsonl"
    path.write_bytes(content)
    with pytest.raises(CatalogueFileError) as caught:
        read_catalogue(path)
    for part in (str(path), line, text):
        assert part in str(caught.value)


def test_a_file_that_cannot_be_opened_names_the_setting(tmp_path):
    for path in (tmp_path / "missing.jsonl", tmp_path):
        with pytest.raises(CatalogueFileError, match="TMDB_CATALOGUE") as caught:
            read_catalogue(path)
        assert str(path) in str(caught.value)


@settings(deadline=None)
@given(content=st.binary(max_size=200), compressed=st.booleans())
def test_any_bytes_are_a_catalogue_or_a_clear_error(tmp_path_factory, content, compressed):
    path = tmp_path_factory.mktemp("catalogue") / "films"
    path.write_bytes(gzip.compress(content)[: len(content) + 10] if compressed else content)
    try:
        items = read_catalogue(path)
    except CatalogueFileError:
        return
    assert items
    assert all(isinstance(item, dict) for item in items)
