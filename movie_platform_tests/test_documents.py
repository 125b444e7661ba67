"""What is written down agrees with the code: settings, commands, assets, lock files."""

import re
from datetime import date
from pathlib import Path

import pytest
from fastapi import FastAPI

from movie_platform.assets import ASSETS
from movie_platform.cli import EXAMPLE_FILM, cli
from movie_platform.definitions import build_definitions
from movie_platform.releases import Champion
from movie_platform.settings import ServingSettings, Settings, describe_settings
from movie_platform.tmdb.catalogue import FAULTS
from serving.app import create_app
from serving.films import FilmRequest
from serving.middleware import BODY_LIMIT, BODY_LIMITS, SECONDS
from serving.protocol import HEAD_BYTES, HEAD_SECONDS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SERVING = (ROOT / "docs/serving.md").read_text()
COLLECTION = (ROOT / "docs/collection.md").read_text()
DOCUMENTS = [
    "README.md",
    "CHANGELOG.md",
    ".env.example",
    *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
]
MAKEFILE = (ROOT / "Makefile").read_text()
SETTINGS = list(describe_settings())
ASSET_NAMES = {asset.key.path[-1] for asset in ASSETS}
LOCKS = ["dev", "platform", "serving"]

each_lock = pytest.mark.parametrize("name", LOCKS)
each_lock_file = pytest.mark.parametrize("name", [path.stem for path in (ROOT / "locks").glob("*.lock")])


def lock(name: str) -> str:
    return (ROOT / f"locks/{name}.lock").read_text()


def pinned(name: str) -> set[tuple[str, str, str]]:
    """Every package of a lock file: name, version, and the marker if it is not for every Python and system."""
    return set(re.findall(r"^([a-z0-9._-]+)(?:\[\S*\])?==(\S+)(?: ; (.*?))? \\$", lock(name), flags=re.MULTILINE))


def table_rows(first_cell: str, document: str = README) -> list[list[str]]:
    """The cells of a document's table rows that begin with code that matches the pattern."""
    found = re.findall(rf"^\| `({first_cell})` \| (.*) \|$", document, flags=re.MULTILINE)
    return [[name, *rest.split(" | ")] for name, rest in found]


# --- settings -------------------------------------------------------------------------------------


def test_env_example_names_every_setting_with_its_default():
    """In the order of the code, commented out: copying the file changes nothing."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    assert [line.removeprefix("#") for line in lines if re.match("#?[A-Z_]+=", line)] == [
        f"{setting.name}={setting.default}" for setting in SETTINGS
    ]
    assert all(line.startswith("#") or not line for line in lines)


def test_readme_lists_every_setting_with_its_default_and_no_other():
    """A blank default is `not set`, since nobody sees a blank."""
    assert table_rows("[A-Z][A-Z_]+") == [
        [setting.name, f"`{setting.default}`" if setting.default else "not set", setting.description]
        for setting in SETTINGS
    ]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_document_names_a_setting_that_does_not_exist(document: str):
    """In the prose, too."""
    named = re.findall(r"\b(?:MOVIE_PLATFORM|TMDB|SERVING)_[A-Z_]+\b", (ROOT / document).read_text())
    assert set(named) <= {setting.name for setting in SETTINGS}


# --- commands -------------------------------------------------------------------------------------


def targets() -> dict[str, str]:
    """What `make help` shows, by target."""
    return dict(re.findall(r"^([a-z-]+):.*?## (.*)$", MAKEFILE, flags=re.MULTILINE))


def test_readme_lists_every_make_target_and_no_other():
    """`make` itself is `make help`."""
    assert [name.split()[1] for name, *_ in table_rows("make [^`]+")] == [name for name in targets() if name != "help"]


def test_readme_lists_every_command_of_the_command_line_and_no_other():
    assert {name.split()[1] for name, *_ in table_rows("movie-platform [^`]+")} == set(cli.commands)


def test_every_command_in_a_document_exists():
    for document in DOCUMENTS:
        named = re.findall(r"`(?:\.venv/bin/)?movie-platform ([a-z]+)", (ROOT / document).read_text())
        assert set(named) <= set(cli.commands), document


def test_every_make_target_is_phony_and_says_what_it_does():
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, flags=re.MULTILINE)
    assert sorted(phony.split()) == sorted(targets())
    assert set(re.findall(r"^([a-z-]+):", MAKEFILE, flags=re.MULTILINE)) == set(targets())


def test_every_make_command_in_a_document_exists():
    for document in DOCUMENTS:
        named = re.findall(r"(?:^|`)(?:[A-Z_]+=\S+ )?make ([a-z-]+)", (ROOT / document).read_text(), flags=re.MULTILINE)
        assert set(named) <= set(targets()), document


@pytest.mark.parametrize(
    ("file", "command"), [(".ci/run", r"^make ([a-z-]+)$"), (".github/workflows/ci.yaml", r"\{target: ([a-z-]+),")]
)
def test_ci_runs_the_commands_of_people(file: str, command: str):
    commands = re.findall(command, (ROOT / file).read_text(), flags=re.MULTILINE)
    assert list(dict.fromkeys(commands)) == ["check", "test", "stack-test"]


# --- assets and files -----------------------------------------------------------------------------


def test_readme_shows_the_file_of_every_asset_and_no_other():
    """Down to how the names end."""
    resources = build_definitions(settings=Settings(MOVIE_PLATFORM_STORAGE="never-written")).resources or {}
    shown = re.findall(r"\b([a-z_]+)/2026-01-05(\.[a-z.]+)", README)
    assert dict(shown) == {
        asset.key.path[-1]: resources[asset.get_io_manager_key_for_asset_key(asset.key)].extension for asset in ASSETS
    }


@pytest.mark.parametrize("document", ["README.md", "CHANGELOG.md"])
def test_every_asset_is_named(document: str):
    words = set(re.findall(r"[a-z_]+", (ROOT / document).read_text()))
    assert words >= ASSET_NAMES


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_asset_that_is_named_exists(document: str):
    """An asset's name is one that begins like one of ours."""
    named = re.findall(r"\b(?:raw|preprocessed|trained|predicted)_[a-z_]+\b", (ROOT / document).read_text())
    assert set(named) <= ASSET_NAMES


def test_every_link_of_readme_to_a_file_leads_somewhere():
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_document_is_unfinished(document: str):
    """No placeholder stands alone on its line."""
    assert re.findall(r"^(?:[A-Z]{5,}|.*\b(?:TODO|FIXME|XXX)\b.*)$", (ROOT / document).read_text(), re.MULTILINE) == []


def test_the_licence_and_the_changelog_are_there():
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert "Version 2.0" in (ROOT / "LICENSE").read_text()
    assert re.match(r"# Changelog\n", (ROOT / "CHANGELOG.md").read_text())


# --- checks and faults ----------------------------------------------------------------------------


def test_the_page_of_checks_has_every_check_as_it_is_and_no_other():
    rows = table_rows("[a-z_]+", (ROOT / "docs/checks.md").read_text())
    assert rows == [
        [asset.key.path[-1], f"`{spec.name}`", "refuses" if spec.blocking else "warns", str(spec.description)]
        for asset in ASSETS
        for spec in asset.check_specs
    ]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_check_that_is_named_exists(document: str):
    """In the prose, too: `check <name>` and `<name> check`."""
    text = (ROOT / document).read_text()
    named = re.findall(r"\bchecks? `([a-z_]+)`", text) + re.findall(r"`([a-z_]+)` checks?\b", text)
    assert set(named) <= {spec.name for asset in ASSETS for spec in asset.check_specs}


def test_every_fault_is_described_as_it_is_and_no_other():
    rows = table_rows("[a-z0-9-]+", COLLECTION)
    assert [(name, what) for name, what, *_ in rows] == list(FAULTS.items())


def test_every_fault_names_a_test_that_exists():
    named = re.findall(r" \| `((?:tmdb/)?test_[a-z]+\.py)::(test_[a-z0-9_]+)` \|$", COLLECTION, flags=re.MULTILINE)
    rows = re.findall(r"^\| (?!what happens|fault \||---).*\|$", COLLECTION, flags=re.MULTILINE)
    assert len(named) == len(rows) > len(FAULTS)
    for module, test in named:
        assert f"def {test}(" in (ROOT / "movie_platform_tests" / module).read_text(), test


# --- the service ----------------------------------------------------------------------------------


@pytest.fixture
def service(tmp_path: Path) -> FastAPI:
    return create_app(ServingSettings(MOVIE_PLATFORM_STORAGE=str(tmp_path), SERVING_CACHE=str(tmp_path / "own")))


def test_the_page_of_the_service_has_every_address_and_no_other(service: FastAPI):
    named = {name for name, *_ in table_rows("(?:GET|POST) [^`]+", SERVING)}
    described = {
        f"{method.upper()} {path}" for path, methods in service.openapi()["paths"].items() for method in methods
    }
    pages = {"GET /", "GET /films/{tmdb_id}", "GET /try", "GET /model-card", "GET /docs"}
    assert named == described | pages


def test_the_page_of_the_service_has_every_metric_and_no_other(service: FastAPI):
    telemetry = service.state.service.telemetry
    telemetry.serves(
        Champion(partition=date(2026, 1, 5), sha256="0" * 64, path="a", code_version="b", synthetic=False),
        swapped=False,
    )
    exposed = re.findall(r"^# HELP (serving_\S+)", telemetry.exposition().decode(), flags=re.MULTILINE)
    assert {name for name, *_ in table_rows("serving_[a-z_]+", SERVING)} == {
        name for name in exposed if not name.endswith("_created")
    }


def test_the_demo_ends_with_the_request_that_the_documents_show():
    """And the service answers it."""
    shown = {found for text in (README, SERVING) for found in re.findall(r"-d '(.+)'", text)}
    assert shown == {EXAMPLE_FILM}
    assert FilmRequest.model_validate_json(EXAMPLE_FILM).as_film().vote_count == 560


def test_the_page_of_the_service_states_its_limits():
    assert BODY_LIMIT == 256 * 2**10
    assert dict(BODY_LIMITS) == {"/predict/batch": 16 * 2**20}
    assert "| 256 KiB; 16 MiB for a batch |" in SERVING
    assert f"| {SECONDS:g} s |" in SERVING
    assert f"| {HEAD_BYTES // 2**10} KiB, within {HEAD_SECONDS:g} s |" in SERVING


# --- lock files -----------------------------------------------------------------------------------


@each_lock_file
def test_every_pinned_package_has_hashes(name: str):
    """So that nobody can put another file under its name."""
    requirements = re.split(r"^(?=[a-z0-9])", lock(name), flags=re.MULTILINE)[1:]
    assert len(requirements) == len(pinned(name)) > 20
    for requirement in requirements:
        assert re.search(r"\\\n    --hash=sha256:[0-9a-f]{64}\b", requirement), requirement


@each_lock_file
def test_a_lock_file_names_no_registry(name: str):
    """Whoever installs decides where packages come from."""
    options = [line for line in lock(name).splitlines() if line.startswith("-")]
    assert options == []
    assert "://" not in lock(name)


@each_lock
def test_numpy_and_scipy_have_one_version_for_every_python(name: str):
    """Other versions would give other bytes."""
    for package in ("numpy", "scipy"):
        of_package = {pin for pin in pinned(name) if pin[0] == package}
        assert of_package == {pin for pin in pinned("dev") if pin[0] == package}
        ((_, _, marker),) = of_package
        assert marker == ""


@pytest.mark.parametrize("name", ["platform", "serving"])
def test_what_is_deployed_is_what_was_tested(name: str):
    """The same version of every package, or one of those that the tests have for different Pythons."""
    tested = {(package, version) for package, version, _ in pinned("dev")}
    assert {(package, version) for package, version, _ in pinned(name)} <= tested


def test_the_service_installs_without_dagster_and_the_platform_without_the_service():
    packages = {name: {package for package, *_ in pinned(name)} for name in LOCKS}
    assert not {package for package in packages["serving"] if package.startswith("dagster")}
    assert "fastapi" in packages["serving"]
    assert "fastapi-offline" not in packages["platform"]
    assert "dagster" in packages["platform"]
