"""The pages as a browser without JavaScript gets them."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from movie_platform.releases import Decision, release_by_hand, rollback
from movie_platform.settings import ServingSettings
from movie_platform.storage import DiskStorage, Storage
from movie_platform_tests.serving.predicted import DAY, film, put
from movie_platform_tests.serving.service import BrokenStorage, bundle_of, decide, release_bundle, running, service_of
from movie_platform_tests.serving.test_model_card import PNG, in_detail, put_metrics, put_outcomes
from serving.app import create_app

HTML = {"Accept": "text/html,application/xhtml+xml"}
FORM = {"title": "Example Movie", "release_year": "2024"}
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
SENTENCE = "This product uses TMDB and the TMDB APIs but is not endorsed, certified, or otherwise approved by TMDB."


class Page(HTMLParser):
    """A page that is well-formed: every element is closed, every id is there once, nothing is inline."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert not self._open, f"not closed: {self._open}"
        ids = [attributes["id"] for _, attributes in self.elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        for _, attributes in self.elements:
            assert "style" not in attributes
            assert not [name for name in attributes if name.startswith("on")]
            for name in ("aria-describedby", "aria-labelledby", "for"):
                assert set((attributes.get(name) or "").split()) <= set(ids)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [found for name, found in self.elements if name == tag and wanted.items() <= found.items()]

    @property
    def links(self) -> list[str]:
        return [link["href"] or "" for link in self.all("a")]

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


def page(client: httpx.Client, url: str, status: int = 200, **options) -> Page:
    answer = client.request("POST" if options else "GET", url, headers=HTML, **options)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return Page(answer.text)


def titles(found: Page) -> list[str]:
    return re.findall(r'<h3 dir="auto"><a href="/films/\d+">([^<]*)</a></h3>', found.html)


def field(found: Page, name: str) -> dict[str, str | None]:
    (attributes,) = [found_ for tag, found_ in found.elements if found_.get("id") == name and tag != "fieldset"]
    return attributes


def rows(found: Page) -> list[list[str]]:
    """Return the cells of every row of every table."""
    cells = re.compile(r"<t[hd][^>]*>(.*?)</t[hd]>", re.DOTALL)
    return [cells.findall(row) for row in re.findall(r"<tr>(.*?)</tr>", found.html, re.DOTALL)]


def error(found: Page, name: str) -> str:
    match = re.search(rf'id="{name}-error">([^<]*)<', found.html)
    assert match
    return match[1]


FILMS = (
    film(
        1,
        title="The River",
        prediction=7.7,
        low=7.04,
        high=8.56,
        genres=["Drama"],
        original_language="fr",
        poster_path="/1.jpg",
    ),
    film(2, title="Snow", prediction=6.2, genres=["Comedy", "Drama"], release_date=DAY + timedelta(days=40)),
    film(3, title="<script>alert(1)</script> & more", original_title="Ölüm", prediction=5.0, genres=[]),
    film(4, title="Old News", prediction=8.8, situation="released", release_date=DAY - timedelta(days=30)),
    film(5, title="Nobody Knows When", prediction=9.9, release_date=None, original_language=None, overview=None),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A service on synthetic films, for tests that change nothing."""
    folder = tmp_path_factory.mktemp("site")
    storage = DiskStorage(folder / "storage")
    bundle = bundle_of(DAY)
    champion = release_bundle(storage, bundle)
    put(storage, *FILMS)
    for number in range(3):
        put_metrics(storage, DAY - timedelta(days=number), bundle_sha256=champion.sha256, rmse=0.6 + number / 100)
    refusal = Decision(
        partition=DAY - timedelta(days=1),
        released=False,
        reasons=["RMSE for unreleased films is 0.61, no better than the 0.60 of the champion."],
        candidate=champion,
        compared_with=None,
        compared_films=0,
        rmse={},
        champion_in_force=None,
        synthetic=True,
    )
    storage.put(f"champion_bundle/{refusal.partition}.json", refusal.model_dump_json().encode())
    storage.put(f"metrics/{DAY}/feature_importance.png", PNG)
    variables = ServingSettings(MOVIE_PLATFORM_STORAGE=str(folder / "storage"), SERVING_CACHE=str(folder / "cache"))
    with running(create_app(variables)) as client:
        yield client


# --- every page ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/films/1", "/films/3", "/films/4", "/films/5", "/try", "/model-card", "/nothing"]
)
def test_every_page_has_its_landmarks_headings_and_banner(site, path: str):
    found = page(site, path, status=404 if path == "/nothing" else 200)

    levels = [int(tag[1]) for tag, _ in found.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert "#main" in found.links
    assert found.all("main", id="main")
    assert "model of 2026-01-03" in found.words
    assert ("Synthetic films" in found.words) == (path != "/nothing")
    assert SENTENCE not in found.words


@pytest.mark.parametrize(("path", "current"), [("/", "/"), ("/try", "/try"), ("/model-card", "/model-card")])
def test_the_navigation_says_where_one_is(site, path: str, current: str):
    assert [link["href"] for link in page(site, path).all("a", **{"aria-current": "page"})] == [current]


@pytest.mark.parametrize("path", ["/static/site.css", "/static/site.js", "/static/icon.svg", "/static/tmdb.svg"])
def test_what_pages_refer_to_is_there(site, path: str):
    assert site.get(path).status_code == 200


def test_no_page_needs_another_host_than_tmdb(site):
    for path in ("/", "/films/1", "/try", "/model-card"):
        found = page(site, path)
        addresses = [attributes.get("src") or "" for _, attributes in found.elements]
        addresses += [link["href"] or "" for link in found.all("link")]
        assert all(address.startswith("/") for address in addresses if address)


# --- upcoming films --------------------------------------------------------------------------------


def test_films_that_are_still_to_come_are_ranked_by_their_prediction(site):
    found = page(site, "/")

    assert titles(found) == ["The River", "Snow", "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more"]
    assert "3 films, released from 4 January 2026 on" in found.words
    assert "7.7, likely between 7.0 and 8.6" in found.words
    assert "4 January 2026 · Drama · fr" in found.words
    assert found.all("p", lang="en", **{"class": "original"})


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"genre": "comedy"}, ["Snow"]),
        ({"genre": ["Drama", "Comedy"]}, ["Snow"]),
        ({"language": "fr"}, ["The River"]),
        ({"title": "RIV"}, ["The River"]),
        ({"from": "2026-02-01"}, ["Snow"]),
        ({"to": "2026-01-03"}, ["Old News"]),
        ({"from": "2025-12-01", "to": "2026-01-10", "genre": "Drama"}, ["Old News", "The River"]),
        ({"genre": "Drama", "sort": "title"}, ["Snow", "The River"]),
        ({"genre": "", "language": " ", "title": "", "from": "", "to": "", "sort": "", "utm": "x"}, 3),
        ({"per_page": "1", "page": "2"}, ["Snow"]),
    ],
)
def test_filters_are_those_of_the_address(site, query: dict[str, str | list[str]], expected: list[str] | int):
    found = titles(page(site, f"/?{urlencode(query, doseq=True)}"))

    assert (len(found) if isinstance(expected, int) else found) == expected


def test_the_form_shows_what_the_list_is_filtered_by_and_each_filter_can_be_removed(site):
    found = page(site, "/?genre=18&genre=comedy&title=snow&from=2026-01-05")

    assert field(found, "title")["value"] == "snow"
    assert field(found, "from")["value"] == "2026-01-05"
    assert "<option selected>Comedy</option>" in found.html
    assert found.all("input", type="hidden", name="genre", value="Drama")
    assert "/?genre=18&genre=comedy&from=2026-01-05" in found.links
    assert "/?genre=18&title=snow&from=2026-01-05" in found.links
    assert "/upcoming.csv?genre=18&genre=comedy&title=snow&from=2026-01-05" in found.links


def test_the_linked_csv_file_has_the_same_films(site):
    link = next(link for link in page(site, "/?genre=Drama&to=2026-01-10").links if link.startswith("/upcoming.csv?"))

    rows = site.get(link).text.splitlines()
    assert len(rows) == 2
    assert "The River" in rows[1]


def test_pages_lead_to_one_another_with_their_filters(site):
    first = page(site, "/?per_page=1&genre=Drama")
    (forward,) = [str(link["href"]) for link in first.all("a", rel="next")]
    second = page(site, forward)

    assert "Page 1 of 2" in first.words
    assert titles(second) == ["Snow"]
    assert '<ol class="films" start="2">' in second.html
    assert not second.all("a", rel="next")
    (back,) = [str(link["href"]) for link in second.all("a", rel="prev")]
    assert titles(page(site, back)) == ["The River"]
    assert "There are only 2 pages." in page(site, "/?per_page=1&genre=Drama&page=9").words


def test_only_a_ranking_has_ranks(site):
    assert 'class="rank"' in page(site, "/").html
    assert 'class="rank"' not in page(site, "/?sort=title").html


def test_an_empty_list_says_how_to_widen_it(site):
    found = page(site, "/?title=zzz&genre=Drama")

    assert "No film fits all of that." in found.words
    assert "/?genre=Drama" in found.links
    assert "/?title=zzz&genre=Drama&from=2025-01-01" in found.links


@pytest.mark.parametrize(
    ("query", "name", "told"),
    [
        ("from=soon", "from", "is not a"),
        ("from=2026-05-01&to=2026-04-01", "to", "swap the two"),
        ("genre=Dramma", "genre", "Drama"),
        ("language=xyz", "language", "language"),
        ("sort=best", "sort", "order"),
        (f"title={'x' * 201}", "title", "200"),
    ],
)
def test_a_filter_that_makes_no_sense_is_named_beside_its_field(site, query: str, name: str, told: str):
    found = page(site, f"/?{query}", status=422)

    assert told in error(found, name)
    assert field(found, name)["aria-invalid"] == "true"
    assert f"{name}-error" in (field(found, name)["aria-describedby"] or "")
    assert titles(found) == []


@pytest.mark.parametrize("query", ["page=0", "page=x", "per_page=1000"])
def test_a_page_that_makes_no_sense_is_named(site, query: str):
    assert page(site, f"/?{query}", status=422).all("div", role="alert")


# --- one film --------------------------------------------------------------------------------------


def test_a_film_shows_its_prediction_and_what_moved_it(site):
    found = page(site, "/films/1")

    assert "7.7 of 10" in found.words
    assert "between 7.0 and 8.6" in found.words
    assert "Average film" in found.words
    points = [
        float(text.replace("\N{MINUS SIGN}", "-")) for text in re.findall(r'class="points[^"]*">([^<]+)<', found.html)
    ]
    base, *steps, prediction = points[: found.html.partition("The words")[0].count('class="points')]
    assert base + sum(steps) == pytest.approx(prediction, abs=0.04)


def test_a_prediction_by_another_bundle_is_told_apart_from_the_explanation(site):
    assert "explained by the model that is served now, of 3 January 2026" in page(site, "/films/1").words


def test_a_released_film_is_explained_as_before_its_release_and_the_page_says_so(site):
    assert "as if nobody had rated the film yet" in page(site, "/films/4").words


def test_a_listed_film_of_the_served_bundle_needs_no_remark(site, tmp_path, make_app, storage):
    champion = release_bundle(storage, bundle_of(DAY))
    put(storage, film(1, bundle_sha256=champion.sha256))

    with running(make_app(storage)) as client:
        assert "What follows is explained" not in page(client, "/films/1").words


def test_unseen_things_are_warned_of(site):
    assert "Take this with more care" in page(site, "/try", data={**FORM, "release_year": "2150"}).words


def test_an_invented_film_has_no_link_to_tmdb_and_no_poster(site):
    found = page(site, "/films/1")

    assert not [link for link in found.links if "themoviedb" in link]
    assert not found.all("img")


@pytest.mark.parametrize("path", ["/films/99", "/films/0", f"/films/{10**30}", "/films/abc", "/films/-1", "/films/"])
def test_a_film_that_is_not_there_is_a_page_too(site, path: str):
    assert "There is nothing here" in page(site, path, status=404).words


def test_real_films_have_posters_tmdbs_attribution_and_a_link(storage, make_app):
    put(
        storage, film(603, synthetic=False, poster_path="/abc-1.jpg"), film(604, synthetic=False, poster_path='/../x"y')
    )

    with running(make_app(storage)) as client:
        listed, one = page(client, "/"), page(client, "/films/603")

    assert [img["src"] for img in listed.all("img", alt="")] == ["https://image.tmdb.org/t/p/w154/abc-1.jpg"]
    assert "https://www.themoviedb.org/movie/603" in one.links
    for found in (listed, one):
        assert SENTENCE in found.words
        assert found.all("img", alt="TMDB")
        assert "Synthetic" not in found.words


# --- trying a film ---------------------------------------------------------------------------------


def test_the_form_predicts_what_the_api_predicts(site):
    form = {
        **FORM,
        "vote_count": "560",
        "popularity": "123,4",
        "genres": ["Drama", "Mystery"],
        "original_language": "fr",
    }
    asked = {**form, "release_year": 2024, "vote_count": 560, "popularity": 123.4}

    found = page(site, "/try", data=form)
    answer = site.post("/predict", json=asked).json()

    assert f"{answer['prediction']:.1f} of 10" in found.words
    assert f"between {answer['interval']['low']:.1f} and {answer['interval']['high']:.1f}" in found.words
    assert "Asked as a film that is already rated" in found.words


def test_an_unreleased_film_is_asked_as_one(site):
    assert "Asked as a film that nobody has rated yet" in page(site, "/try", data=FORM).words


def test_what_was_written_is_kept(site):
    form = {**FORM, "overview": "A <b>bold</b> tale", "genres": ["Drama"], "original_language": "fr"}
    found = page(site, "/try", data=form)

    assert field(found, "title")["value"] == "Example Movie"
    assert "A &lt;b&gt;bold&lt;/b&gt; tale</textarea>" in found.html
    assert "checked" in found.all("input", name="genres", value="Drama")[0]
    assert "checked" not in found.all("input", name="genres", value="Comedy")[0]
    assert "selected" in found.all("option", value="fr")[0]


def test_the_example_fills_the_form_and_can_be_predicted(site):
    link = next(link for link in page(site, "/try").links if link.startswith("/try?"))
    found = page(site, link)

    assert field(found, "title")["value"] == "The Lighthouse of Lisbon"
    assert len([box for box in found.all("input", name="genres") if "checked" in box]) == 2
    assert "Prediction for" not in found.words


@pytest.mark.parametrize(
    ("changed", "name", "told"),
    [
        ({"title": ""}, "title", "missing"),
        ({"title": "x" * 501}, "title", "500"),
        ({"release_year": ""}, "release_date", "missing, and so is the year"),
        ({"release_year": "1492"}, "release_year", "1870"),
        ({"release_year": "next"}, "release_year", "digits"),
        ({"release_date": "31.12.2026"}, "release_date", "YYYY-MM-DD"),
        ({"release_date": "2023-01-01"}, "release_year", "leave one of the two out"),
        ({"genres": "Dramma"}, "genres", "Drama"),
        ({"original_language": "french"}, "original_language", "language"),
        ({"vote_count": "-1"}, "vote_count", "0"),
        ({"vote_count": "1e3"}, "vote_count", "digits"),
        ({"popularity": "high"}, "popularity", "number"),
    ],
)
def test_what_is_wrong_is_told_beside_its_field_and_in_the_summary(site, changed, name: str, told: str):
    found = page(site, "/try", status=422, data={**FORM, **changed})

    assert told in error(found, name)
    assert [link for link in found.links if link == f"#{name}"]
    assert found.all("div", id="summary", role="alert")
    assert found.html.startswith("<!doctype html>")
    assert "<title>Error: " in found.html
    assert 'class="score"' not in found.html


def test_several_errors_are_told_at_once_and_a_bad_year_is_not_called_missing(site):
    found = page(site, "/try", status=422, data={"title": "", "release_year": "soon", "vote_count": "many"})

    assert "3 things need another look" in found.words
    found = page(site, "/try", status=422, data={**FORM, "release_year": "soon"})
    assert "One thing needs another look" in found.words
    assert error(found, "release_date") == ""


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{}", "application/json", 415),
        (b"title=x", "", 415),
        (b"title=%ff&release_year=2024", "application/x-www-form-urlencoded", 400),
        ("title=ö".encode(), "application/x-www-form-urlencoded", 400),
        (b"&".join([b"genres=x"] * 100), "application/x-www-form-urlencoded", 400),
        (b"title=" + b"x" * 3 * 10**5, "application/x-www-form-urlencoded", 413),
    ],
)
def test_what_is_no_form_is_refused(site, body: bytes, kind: str, status: int):
    assert site.post("/try", content=body, headers={**HTML, "Content-Type": kind}).status_code == status


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(
            ["title", "overview", "release_date", "release_year", "genres", "vote_count", "popularity", "x"]
        ),
        st.one_of(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
            st.sampled_from(
                ["2024", "2026-02-30", "2026-11-20", "Drama", "9" * 400, "1e999", "nan", "-0", "١٢", "\x00"]
            ),
        ),
    )
)
def test_no_form_breaks_the_page(site, form: dict[str, str]):
    answer = site.post("/try", data=form or {"x": ""}, headers=HTML)

    assert answer.status_code in {200, 422}
    Page(answer.text)


def test_texts_of_a_form_are_not_logged(site, caplog):
    with caplog.at_level("DEBUG"):
        page(site, "/try", data={**FORM, "title": "Sesquipedalian"})

    assert "Sesquipedalian" not in caplog.text


# --- the model card --------------------------------------------------------------------------------


def test_the_model_card_names_the_model_and_its_figures_beside_the_baselines(site):
    found = page(site, "/model-card")

    assert "Before release, it is off by 0.60 points" in found.words
    assert "mean of all films would be off by 0.82" in found.words
    assert "431 films" in found.words
    assert "It is better." in found.words
    assert "No, this is the newest released model." in found.words
    assert "Held back by the gate" in found.words
    assert "no better than the 0.60" in found.words


def test_the_model_card_draws_the_days_and_has_them_as_a_table(site):
    found = page(site, "/model-card")

    labels = re.findall(r'<text class="label \w+"[^>]*>([^<]+)</text>', found.html)
    assert labels.count("model") == labels.count("genre mean") == labels.count("mean of all") == 2
    assert "aim: 80 %" in labels
    rows = re.findall(r'<th scope="row">(2026-01-0\d|2025-12-\d\d|2026-01-\d\d)</th>', found.html)
    assert rows == ["2026-01-03", "2026-01-02", "2026-01-01"]


def test_the_model_card_shows_the_plots_that_there_are(site):
    assert [img["src"] for img in page(site, "/model-card").all("img")] == ["/plots/feature_importance.png"]


def test_a_plot_is_sent_once(site):
    answer = site.get("/plots/feature_importance.png")
    again = site.get("/plots/feature_importance.png", headers={"If-None-Match": answer.headers["etag"]})

    assert answer.headers["content-type"] == "image/png"
    assert answer.content == PNG
    assert (again.status_code, again.content) == (304, b"")
    assert site.get("/plots/residuals_by_year.png").status_code == 404
    assert site.get("/plots/champion.png").status_code == 404


def test_the_model_card_says_what_the_model_is_made_of_and_for(site):
    found = page(site, "/model-card")

    headings = re.findall(r"<h2 [^>]*>([^<]+)</h2>", found.html)
    assert headings == [
        "Served now",
        "What it is for",
        "How far off it is",
        "Where it is weak",
        "Day by day",
        "Releases",
        "A closer look",
        "What it must not be used for",
        "What it learned from",
        "What it looks at",
        "Terms of the data",
    ]
    assert "300 with at least 10 votes" in found.words
    assert "Invented by the built-in catalogue" in found.words
    (votes,) = (row for row in rows(found) if row[0] == "votes")
    assert votes[1] == "only after release"


def test_figures_of_an_earlier_version_are_shown_and_what_is_missing_is_said(site):
    found = page(site, "/model-card")

    assert ["Model", "0.600", "–"] in [row[:3] for row in rows(found)]  # noqa: RUF001
    assert "There are no figures of parts of the films: materialize metrics of its day again" in found.words


def detailed(storage: Storage, *names: str) -> None:
    """A served day with intervals and with parts of these names, and what became of forecasts."""
    champion = release_bundle(storage, bundle_of(DAY))
    put_metrics(storage, DAY, bundle_sha256=champion.sha256, **in_detail(names=names))
    put_outcomes(storage, DAY)
    storage.put(f"prediction_outcomes/{DAY}/errors_over_time.png", PNG)


def test_the_model_card_has_intervals_and_names_where_it_is_weak(storage, make_app):
    detailed(storage, "Horror")
    with running(make_app(storage)) as client:
        found = page(client, "/model-card")

    assert ["Model", "0.600 (0.550 to 0.650)"] in [row[:2] for row in rows(found)]
    assert "further off than its 0.600 overall: genre Horror: RMSE 1.000 (0.950 to 1.050), 60 films." in found.words
    assert "interval too narrow: genre Horror: holds 50 % instead of 80 %" in found.words


def test_the_model_card_shows_what_became_of_forecasts(storage, make_app):
    detailed(storage, "Horror")
    with running(make_app(storage)) as client:
        found = page(client, "/model-card")
        (picture,) = found.all("img")
        answer = client.get(picture["src"] or "")
        again = client.get(picture["src"] or "", headers={"If-None-Match": answer.headers["etag"]})
        missing = client.get("/plots/coverage_over_time.png")

    assert "90 days before release. No film yet." in found.words
    assert "30 days before release. Off by 0.71 points" in found.words
    assert ["2026-01", "30", "240", "0.710", "+0.02", "79 %"] in rows(found)
    assert (picture["src"], answer.content) == ("/plots/errors_over_time.png", PNG)
    assert (again.status_code, missing.status_code) == (304, 404)


def test_forecasts_without_an_outcome_say_when_there_will_be_one(storage, make_app):
    put_outcomes(storage, figures={"30": {"films": 0}}, by_month=[], expected="Forecasts begin on 2026-01-01.")
    with running(make_app(storage)) as client:
        found = page(client, "/model-card")
        plot = client.get("/plots/errors_over_time.png")

    assert "Forecasts begin on 2026-01-01." in found.words
    assert plot.status_code == 404


def test_the_model_card_tells_what_people_have_decided(storage, make_app):
    """Shown as text, whatever they wrote."""
    for day, seed in ((DAY, 0), (DAY + timedelta(days=1), 1)):
        decide(storage, release_bundle(storage, bundle_of(day, seed=seed)))
    now = datetime(2026, 3, 1, 8, 15, tzinfo=UTC)
    rolled_back = rollback(storage, reasons=["Rolled back by hand: <i>wrong</i> genres"], now=now)
    assert rolled_back.before is not None
    release_by_hand(storage, rolled_back.before, reasons=["Released by hand."], now=now + timedelta(hours=1))
    with running(make_app(storage)) as client:
        found = page(client, "/model-card")

    assert "Rolled back by hand: the model of" in found.words
    assert "<i>wrong</i> genres" in found.words
    assert "09:15 UTC, released by hand" in found.words


def test_names_from_data_are_text_on_the_model_card(storage, make_app):
    names = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}")
    detailed(storage, *names)
    put_outcomes(storage, left_out={"<b>reason</b>": 3})
    with running(make_app(storage)) as client:
        found = page(client, "/model-card")

    assert [script for script in found.all("script") if "src" not in script] == []
    assert [image["src"] for image in found.all("img")] == ["/plots/errors_over_time.png"]
    assert found.all("b") == []
    for name in (*names, "<b>reason</b>"):
        assert name in found.words


def test_a_damaged_document_is_named_on_the_model_card(storage, make_app):
    storage.put(f"metrics/{DAY}.json", b"{")
    storage.put(f"prediction_outcomes/{DAY}.json", b"[]")

    with running(make_app(storage)) as client:
        found = page(client, "/model-card")

    assert f"metrics/{DAY}.json is damaged" in found.words
    assert f"prediction_outcomes/{DAY}.json is damaged" in found.words


# --- nothing to show -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/films/1", "/try"])
def test_before_anything_is_made_pages_say_what_to_run(storage, make_app, path: str):
    with running(make_app(storage)) as client:
        found = page(client, path, status=503)

    assert "Nothing to show yet" in found.words
    assert "make demo" in found.words
    assert "No model is served" in found.words


def test_an_empty_model_card_says_what_to_run(storage, make_app):
    with running(make_app(storage)) as client:
        found = page(client, "/model-card")

    assert "make demo" in found.words
    assert "What it must not be used for" in found.words


def test_a_film_is_shown_without_a_model_too(storage, make_app):
    put(storage, film(1))

    with running(make_app(storage)) as client:
        found = page(client, "/films/1")

    assert "6.0 of 10" in found.words
    assert "No model is served at the moment" in found.words


def test_a_storage_that_stops_leaves_the_pages(storage: Storage, make_app):
    broken = BrokenStorage(storage)
    release_bundle(storage, bundle_of(DAY))
    put(storage, film(1))
    app = make_app(broken)
    with running(app) as client:
        broken.stop()
        service_of(app).bundles.poll()

        page(client, "/")
        page(client, "/films/1")
        assert "network" in page(client, "/model-card").words
        assert client.get("/plots/feature_importance.png").status_code == 503
