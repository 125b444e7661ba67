"""The pages in a real browser: with and without JavaScript, by keyboard, and looked over by axe.

Needs Debian's Chromium (`apt-get install chromium`); without one the tests are skipped.
"""

import base64
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib.resources import files
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, ViewportSize, expect, sync_playwright

from movie_platform.settings import ServingSettings
from movie_platform.storage import DiskStorage
from movie_platform_tests.serving.predicted import DAY, film, put
from movie_platform_tests.serving.service import bundle_of, release_bundle, running
from movie_platform_tests.serving.test_model_card import in_detail, put_decision, put_metrics, put_outcomes
from serving.app import create_app
from serving.model_card import FORECAST_PLOTS, PLOTS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text()
PAGES = (
    "/?per_page=4",
    "/?title=zzz",
    "/?from=2026-05-01&to=2026-04-01",
    "/films/1",
    "/try",
    "/model-card",
    "/nothing",
)
NARROW: ViewportSize = {"width": 390, "height": 844}
WIDE: ViewportSize = {"width": 1280, "height": 900}
EXPECTED = re.compile(r"Failed to load resource: the server responded with a status of (404|422|503)")

PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
"""One pixel, as PNG."""

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH: apt-get install chromium"),
    pytest.mark.xdist_group("browser"),  # one browser, one site
]
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with forty films, three days of metrics, one refusal."""
    folder = tmp_path_factory.mktemp("site")
    storage = DiskStorage(folder / "storage")
    champion = release_bundle(storage, bundle_of(DAY))
    put(
        storage,
        *(
            film(
                number,
                title=f"Film {number}",
                original_title="Wiedersehen" if number == 2 else f"Film {number}",
                prediction=8 - number / 20,
                genres=["Drama", "Comedy"][: 1 + number % 2],
                original_language="de" if number % 4 == 2 else "en",
                release_date=DAY + timedelta(days=number),
            )
            for number in range(1, 41)
        ),
    )
    for number in range(3):
        put_metrics(
            storage,
            DAY - timedelta(days=number),
            bundle_sha256=champion.sha256,
            rmse=0.6 + number / 100,
            **in_detail(names=("Drama", "Science Fiction", "x" * 120)),
        )
    put_outcomes(storage)
    put_decision(storage, DAY - timedelta(days=1), released=False)
    for name in PLOTS:
        storage.put(f"metrics/{DAY}/{name}.png", PICTURE)
    for name in FORECAST_PLOTS:
        storage.put(f"prediction_outcomes/{DAY}/{name}.png", PICTURE)
    settings = ServingSettings(MOVIE_PLATFORM_STORAGE=str(folder / "storage"), SERVING_CACHE=str(folder / "cache"))
    with running(create_app(settings)) as client:
        yield str(client.base_url).rstrip("/")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Browser, url: str) -> Iterator[Open]:
    """Return what opens a page of the service; at the end nothing may have gone wrong in any of them."""
    contexts: list[BrowserContext] = []
    troubles: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            troubles.append(message.text)

    def open_(path: str, **options: Any) -> Page:
        context = browser.new_context(base_url=url, **{"viewport": WIDE, **options})
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", hear)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.goto(path)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert [trouble for trouble in troubles if not EXPECTED.match(trouble)] == []


def titles(page: Page) -> list[str]:
    return page.locator(".film h3").all_inner_texts()


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["1280", "390"])
def test_axe_finds_nothing_serious(open_page: Open, path: str, scheme: str, viewport: ViewportSize):
    # axe is put into the page as an inline script, which the page's policy rightly forbids.
    page = open_page(path, color_scheme=scheme, viewport=viewport, bypass_csp=True)
    page.add_script_tag(content=AXE)
    page.evaluate("document.querySelectorAll('details').forEach((element) => { element.open = true; })")

    found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]

    serious = [
        (one["id"], [node["html"][:120] for node in one["nodes"]])
        for one in found
        if one["impact"] in {"serious", "critical"}
    ]
    assert serious == []


@pytest.mark.parametrize("path", PAGES)
def test_nothing_sticks_out_at_any_width(open_page: Open, path: str):
    page = open_page(path)

    for width in (320, 390, 600, 768, 1000, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_prediction_can_be_looked_over_by_axe_too(open_page: Open):
    page = open_page("/try?title=Snow&release_year=2150", bypass_csp=True)
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".score")).to_be_visible()
    page.add_script_tag(content=AXE)

    found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]

    assert [one["id"] for one in found if one["impact"] in {"serious", "critical"}] == []


# --- filtering -------------------------------------------------------------------------------------


def test_filters_apply_as_they_change_and_the_focus_stays(open_page: Open):
    page = open_page("/")
    assert len(titles(page)) == 30

    genre = page.get_by_label("Genre")
    genre.focus()
    genre.select_option("Comedy")

    expect(page.get_by_role("heading", level=2).first).to_have_text(re.compile("^20 films"))
    expect(genre).to_be_focused()
    expect(page.get_by_role("status")).to_have_text(re.compile("^20 films"))
    assert page.url.endswith("/?genre=Comedy")


def test_a_title_is_searched_for_while_it_is_typed(open_page: Open):
    page = open_page("/")

    page.get_by_label("Title").press_sequentially("wieder", delay=20)

    expect(page.locator(".film")).to_have_count(1)
    expect(page.get_by_label("Title")).to_be_focused()
    expect(page.get_by_label("Title")).to_have_value("wieder")
    assert titles(page) == ["Film 2"]


def test_going_back_brings_the_list_and_the_fields_back(open_page: Open):
    page = open_page("/")
    page.get_by_label("Genre").select_option("Comedy")
    expect(page.locator("[data-count]")).to_have_text(re.compile("^20 films"))

    page.go_back()

    expect(page.locator("[data-count]")).to_have_text(re.compile("^40 films"))
    expect(page.get_by_label("Genre")).to_have_value("")


def test_a_filter_that_makes_no_sense_is_told_beside_its_field_and_goes_away(open_page: Open):
    page = open_page("/?from=2026-01-20")

    page.get_by_label("Until", exact=True).fill("2026-01-10")
    error = page.locator("#to-error")
    expect(error).to_contain_text("swap the two")
    expect(page.get_by_label("Until", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_role("status")).to_contain_text("swap the two")

    page.get_by_label("Until", exact=True).fill("2026-01-22")
    expect(page.locator(".film")).to_have_count(3)
    expect(error).to_be_hidden()
    assert page.get_by_label("Until", exact=True).get_attribute("aria-invalid") is None


def test_filters_work_without_javascript(open_page: Open):
    page = open_page("/", java_script_enabled=False)

    page.get_by_label("Genre").select_option("Comedy")
    page.get_by_label("Order").select_option("title")
    page.get_by_role("button", name="Show").click()

    expect(page.locator("[data-count]")).to_have_text(re.compile("^20 films"))
    expect(page.get_by_label("Order")).to_have_value("title")
    page.get_by_role("link", name="Remove the filter Comedy").click()
    expect(page.locator("[data-count]")).to_have_text(re.compile("^40 films"))
    page.get_by_role("link", name="Next").click()
    expect(page.locator(".film")).to_have_count(10)


def test_languages_have_names(open_page: Open):
    page = open_page("/")

    assert page.get_by_label("Language").locator("option").all_inner_texts() == ["Any language", "English", "German"]
    assert "German" in page.locator(".film", has_text="Film 2").first.inner_text()


def test_on_a_phone_the_list_comes_before_most_fields(open_page: Open):
    page = open_page("/", viewport=NARROW)

    expect(page.get_by_label("Genre")).to_be_hidden()
    page.get_by_text("Genre, language, dates and order").click()
    page.get_by_label("Genre").select_option("Comedy")
    expect(page.locator("[data-count]")).to_have_text(re.compile("^20 films"))

    page.set_viewport_size(WIDE)
    expect(page.get_by_label("Genre")).to_be_visible()


def test_a_service_that_stops_answering_does_not_leave_an_old_list(open_page: Open):
    page = open_page("/")
    page.route(
        re.compile("genre=Comedy"),
        lambda route: route.fulfill(status=503, body="<h1>Later</h1>", content_type="text/html"),
    )

    page.get_by_label("Genre").select_option("Comedy")

    expect(page.get_by_role("heading", name="Later")).to_be_visible()


# --- films -----------------------------------------------------------------------------------------


def test_a_film_leads_to_its_page_and_back(open_page: Open):
    page = open_page("/")
    page.get_by_role("link", name="Film 2", exact=True).click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Film 2")
    expect(page.get_by_role("img", name="7.9, likely between")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("^Average film"))).to_be_visible()
    page.get_by_role("link", name="Upcoming films", exact=True).click()
    expect(page.locator(".film")).to_have_count(30)


# --- trying a film ---------------------------------------------------------------------------------


@pytest.mark.parametrize("javascript", [True, False])
def test_a_film_is_tried(open_page: Open, url: str, javascript: bool):
    page = open_page("/try", java_script_enabled=javascript)

    page.get_by_label("Title").fill("Example Movie")
    page.get_by_label("or only the year").fill("2024")
    page.get_by_label("Drama").check()
    page.get_by_label("Votes on TMDB").fill("560")
    page.get_by_role("button", name="Predict").click()

    asked = {"title": "Example Movie", "release_year": 2024, "genres": ["Drama"], "vote_count": 560}
    expected = httpx.post(f"{url}/predict", json=asked, trust_env=False).json()["prediction"]
    expect(page.locator(".score")).to_have_text(f"{expected:.1f} of 10")
    expect(page.get_by_role("heading", name="Prediction for Example Movie")).to_be_visible()
    expect(page.get_by_label("Drama")).to_be_checked()
    if javascript:
        expect(page.locator("#result")).to_be_focused()


@pytest.mark.parametrize("javascript", [True, False])
def test_what_is_wrong_is_told_and_can_be_mended(open_page: Open, javascript: bool):
    page = open_page("/try", java_script_enabled=javascript)
    page.get_by_label("Title").fill("Snow")
    page.get_by_label("Votes on TMDB").fill("many")
    page.get_by_role("button", name="Predict").click()

    expect(page.get_by_role("alert")).to_contain_text("2 things need another look")
    expect(page.locator("#vote_count-error")).to_contain_text("is not a whole number")
    expect(page.get_by_label("Votes on TMDB")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Title")).to_have_value("Snow")
    if javascript:
        expect(page.locator("#summary")).to_be_focused()
    page.get_by_role("alert").get_by_role("link", name="number of votes").click()
    expect(page.get_by_label("Votes on TMDB")).to_be_focused()

    page.get_by_label("Votes on TMDB").fill("")
    page.get_by_label("Release date", exact=True).fill("2026-12-24")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".score")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_film_is_tried_by_keyboard_alone(open_page: Open):
    page = open_page("/try")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Start with an example")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Title")).to_have_value("The Lighthouse of Lisbon")

    page.get_by_label("Title").focus()
    page.get_by_label("Comedy").focus()
    page.keyboard.press("Space")
    expect(page.get_by_label("Comedy")).to_be_checked()
    page.get_by_label("Title").press("Enter")

    expect(page.locator("#result")).to_be_focused()
    expect(page.locator(".score")).to_be_visible()


# --- the model card --------------------------------------------------------------------------------


def test_the_model_card_has_every_figure_as_a_table(open_page: Open):
    page = open_page("/model-card")

    expect(page.get_by_role("img", name=re.compile("^Before release: root mean square error"))).to_be_visible()
    page.get_by_text("The figures of every day as a table").click()
    expect(page.get_by_role("row", name=re.compile("^2026-01-02 refused"))).to_be_visible()


def test_the_model_card_has_every_part_and_feature_in_a_table_to_open(open_page: Open):
    page = open_page("/model-card", viewport=NARROW)

    for summary, row in (("All parts", "genre Science Fiction"), ("Features, and why", "votes only after release")):
        expect(page.get_by_role("row", name=re.compile(f"^{row}"))).to_be_hidden()
        page.get_by_text(summary).click()
        expect(page.get_by_role("row", name=re.compile(f"^{row}"))).to_be_visible()


def test_the_model_card_shows_the_plots_of_the_served_day(open_page: Open):
    page = open_page("/model-card")
    for picture in page.locator("figure img").all():
        picture.scroll_into_view_if_needed()
        expect(picture).to_have_js_property("naturalWidth", 1)
    expect(page.locator("figure img")).to_have_count(len(PLOTS) + len(FORECAST_PLOTS))


def test_the_skip_link_leads_to_the_content_and_loads_nothing(open_page: Open):
    page = open_page("/")
    navigations: list[str] = []
    page.on("request", lambda request: navigations.append(request.url) if request.is_navigation_request() else None)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.wait_for_timeout(300)
    assert navigations == []


def test_print_leaves_out_what_cannot_be_used(open_page: Open):
    page = open_page("/try")
    page.emulate_media(media="print")

    expect(page.get_by_role("button", name="Predict")).to_be_hidden()


def test_the_api_is_described_without_the_internet(open_page: Open, url: str):
    page = open_page("/docs")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()

    expect(page.get_by_text("/predict/batch").first).to_be_visible()
    assert [address for address in asked if not address.startswith((url, "data:"))] == []
