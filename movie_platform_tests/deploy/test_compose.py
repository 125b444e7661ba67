"""The compose file, the deployed instance's configuration and the Dockerfile agree, and leave no door open."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster_docker.container_context import DockerContainerContext
from docker.utils.build import exclude_paths

from movie_platform.settings import ServingSettings, Settings, describe_settings
from movie_platform_tests.deploy.instance_configuration import as_dagster_reads_it

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
LOCAL = yaml.safe_load((ROOT / "dagster.yaml").read_text())
DEPLOYED = yaml.safe_load((ROOT / "deploy/dagster.yaml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
DAGSTER = ("code-location", "webserver", "daemon")
SERVING = ("serving-a", "serving-b")
OF_THE_GRPC_SERVER = {"DAGSTER_CURRENT_IMAGE", "DAGSTER_CLI_API_GRPC_CONTAINER_CONTEXT"}
OF_THE_BUCKET = {
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL_S3",
}
SECRET = re.compile("PASSWORD|SECRET|TOKEN|KEY|WEBHOOK")
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")

each_service = pytest.mark.parametrize("name", SERVICES)


def interpolated(text: str, **given: str) -> str:
    """The text as compose passes it on. What must be given and is not shows as `<NAME>`."""

    def value(found: re.Match[str]) -> str:
        name, kind, other = found.groups()
        return given.get(name) or (other if kind == "-" else f"<{name}>")

    return _VARIABLE.sub(value, text)


def environment(service: str) -> dict[str, str]:
    return {name: interpolated(value) for name, value in SERVICES[service]["environment"].items()}


def container_context(**given: str) -> dict[str, Any]:
    text = SERVICES["code-location"]["environment"]["DAGSTER_CLI_API_GRPC_CONTAINER_CONTEXT"]
    context: dict[str, Any] = json.loads(interpolated(text, COMPOSE_PROJECT_NAME=COMPOSE["name"], **given))
    return context


# --- settings -------------------------------------------------------------------------------------


def test_a_run_has_the_environment_of_the_code_location():
    """Otherwise runs and sensors would have different settings."""
    passed = DEPLOYED["run_launcher"]["config"]["env_vars"]
    assert sorted(passed) == sorted(environment("code-location").keys() - OF_THE_GRPC_SERVER)


@pytest.mark.parametrize("service", ["webserver", "daemon"])
def test_who_starts_runs_has_the_values_that_it_passes_on(service: str):
    own = environment("code-location")
    assert environment(service) == {name: own[name] for name in own.keys() - OF_THE_GRPC_SERVER}


def test_the_platform_is_given_every_setting():
    """But for the folder of the image, and what only a laptop has."""
    settings = {setting.name for setting in describe_settings(Settings)}
    without = {"DAGSTER_HOME", "TMDB_CATALOGUE", "TMDB_FAULTS"}
    of_the_stack = OF_THE_BUCKET | OF_THE_GRPC_SERVER | {"BUCKET", "POSTGRES_PASSWORD"}
    assert without < settings
    assert environment("code-location").keys() == (settings - without) | of_the_stack


def test_the_service_is_given_every_setting_and_nothing_of_the_platform_s():
    """But for the address and the folder of the image."""
    settings = {setting.name for setting in describe_settings(ServingSettings)}
    without = {"SERVING_HOST", "SERVING_PORT", "SERVING_CACHE"}
    assert without < settings
    for service in SERVING:
        assert environment(service).keys() == (settings - without) | OF_THE_BUCKET


def test_each_setting_is_what_env_says():
    """Under its own name, so that a line of `.env` does what it says."""
    for service in (*DAGSTER, *SERVING):
        for name, value in SERVICES[service]["environment"].items():
            if name not in OF_THE_GRPC_SERVER | {"MOVIE_PLATFORM_STORAGE"}:
                assert re.match(rf"\$\{{{name}[:}}]", value), name


# --- Dagster's instance ---------------------------------------------------------------------------


def test_both_parts_of_the_instance_are_one_that_dagster_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The image has them one after the other: a key of both would count once."""
    assert LOCAL.keys().isdisjoint(DEPLOYED)
    for name in ("BUCKET", "POSTGRES_PASSWORD"):
        monkeypatch.setenv(name, f"of {name}")
    read = as_dagster_reads_it({**LOCAL, **DEPLOYED}, tmp_path)
    assert read["DockerRunLauncher"]["env_vars"] == DEPLOYED["run_launcher"]["config"]["env_vars"]
    assert read["DagsterPostgresStorage"]["postgres_db"]["password"] == "of POSTGRES_PASSWORD"
    assert read["DagsterPostgresStorage"]["postgres_db"]["hostname"] in SERVICES
    assert read["S3ComputeLogManager"]["bucket"] == "of BUCKET"


def test_what_dagster_would_refuse_is_noticed(tmp_path: Path):
    """So that the test above means something."""
    launcher = {"module": "dagster_docker", "class": "DockerRunLauncher", "config": {"network_mode": "host"}}
    with pytest.raises(dg.DagsterInvalidConfigError):
        as_dagster_reads_it({**LOCAL, "run_launcher": launcher}, tmp_path)


def test_the_code_location_is_where_the_workspace_looks_for_it():
    (location,) = yaml.safe_load((ROOT / "deploy/workspace.yaml").read_text())["load_from"]
    assert location["grpc_server"]["host"] == "code-location"
    assert f'"--port", "{location["grpc_server"]["port"]}"' in DOCKERFILE


def test_a_run_s_container_has_networks_and_volumes_that_compose_makes():
    made = DockerContainerContext.create_from_config(container_context())  # type: ignore[no-untyped-call]
    code_location = SERVICES["code-location"]
    assert made.networks == [f"{COMPOSE['name']}_{network}" for network in code_location["networks"]]
    assert made.container_kwargs["volumes"] == [f"{COMPOSE['name']}_{volume}" for volume in code_location["volumes"]]
    assert COMPOSE["networks"].keys() >= set(code_location["networks"])
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            assert volume.startswith(("./", "${")) or volume.partition(":")[0] in COMPOSE["volumes"], volume


def test_a_run_s_container_is_as_confined_as_the_others():
    kwargs = container_context(RUN_MEMORY="5g")["docker"]["container_kwargs"]
    common = COMPOSE["x-common"]
    assert kwargs["mem_limit"] == kwargs["memswap_limit"] == "5g"
    assert {name: kwargs[name] for name in ("init", "read_only", "cap_drop", "security_opt")} == {
        name: common[name] for name in ("init", "read_only", "cap_drop", "security_opt")
    }
    assert list(kwargs["tmpfs"]) == common["tmpfs"]
    assert kwargs["log_config"] == {"type": common["logging"]["driver"], "config": common["logging"]["options"]}


def test_a_run_has_the_time_to_stop_that_dagster_waits_for():
    """Docker kills it later than Dagster gives up waiting, not in the middle of the day that it is storing."""
    kwargs = container_context()["docker"]["container_kwargs"]
    assert kwargs["stop_timeout"] >= LOCAL["run_monitoring"]["cancel_timeout_seconds"]


# --- who reaches whom -----------------------------------------------------------------------------


@each_service
def test_a_port_is_this_machine_s_own_unless_somebody_says_otherwise(name: str):
    ports = [interpolated(port) for port in SERVICES[name].get("ports", [])]
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in ports), ports


def test_the_service_and_its_proxy_do_not_reach_the_records():
    on_records = {name for name, service in SERVICES.items() if "records" in service.get("networks", [])}
    assert on_records == {*DAGSTER, "postgres"}
    assert SERVICES["postgres"]["networks"] == ["records"]
    assert COMPOSE["networks"]["records"]["internal"] is True


@each_service
def test_only_who_starts_and_ends_runs_has_the_docker_socket(name: str):
    service = SERVICES[name]
    has_it = any("docker.sock" in volume for volume in service.get("volumes", []))
    assert has_it == ("group_add" in service) == (name in {"webserver", "daemon"})


@each_service
def test_no_service_shares_the_machine(name: str):
    assert SERVICES[name].keys().isdisjoint({"privileged", "pid", "ipc", "userns_mode", "devices"})
    assert SERVICES[name].get("network_mode", "none") == "none"


@each_service
def test_a_container_is_limited_and_comes_back(name: str):
    service = SERVICES[name]
    assert re.fullmatch(r"\d+[mg]", interpolated(service["mem_limit"]))
    assert service["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}
    assert service["restart"] == ("no" if name == "s3-folder" else "unless-stopped")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@each_service
def test_a_container_that_stays_says_whether_it_is_well(name: str):
    """By itself, or by its image."""
    ours = name in {"code-location", *SERVING} and DOCKERFILE.count("HEALTHCHECK ") == 2
    ends = name == "s3-folder"
    assert ("healthcheck" in SERVICES[name]) != (ours or ends)


# --- secrets --------------------------------------------------------------------------------------


def test_no_secret_has_a_default():
    """Not even a bad one that is meant to be changed."""
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", TEXT))
    assert {name: default for name, default in defaults.items() if SECRET.search(name) and default} == {}
    assert re.search(r"\$\{POSTGRES_PASSWORD:\?", TEXT)


@each_service
def test_no_secret_stands_in_the_file(name: str):
    """Each comes from a variable."""
    for variable, value in SERVICES[name].get("environment", {}).items():
        if SECRET.search(variable):
            assert re.sub(r"\W", "", _VARIABLE.sub("", value)) == "", variable


# --- images ---------------------------------------------------------------------------------------


def test_the_platform_is_one_image_and_runs_are_made_of_it():
    (image,) = {SERVICES[name]["image"] for name in DAGSTER}
    assert SERVICES["code-location"]["environment"]["DAGSTER_CURRENT_IMAGE"] == image
    assert interpolated(image, REGISTRY="ghcr.io/someone/", VERSION="1.2.3") == "ghcr.io/someone/movie-platform:1.2.3"
    (image,) = {SERVICES[name]["image"] for name in SERVING}
    serving = interpolated(image, REGISTRY="ghcr.io/someone/", VERSION="1.2.3")
    assert serving == "ghcr.io/someone/movie-platform-serving:1.2.3"


def test_what_is_built_is_what_is_published():
    built = {name: service["build"]["target"] for name, service in SERVICES.items() if "build" in service}
    assert built == {"code-location": "platform", "serving-a": "serving"}
    assert set(built.values()) <= set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, flags=re.MULTILINE))
    published = yaml.safe_load((ROOT / ".github/images.yaml").read_text())["services"]
    assert published.keys() == built.keys()
    (command,) = re.findall(r"docker compose .*build.*--push (.*)", (ROOT / ".github/workflows/ci.yaml").read_text())
    assert command.split() == sorted(built)
    # The instance takes the git tag for both: what it checks out, and the images'.
    assert 'VERSION="$GITHUB_REF_NAME"' in (ROOT / ".github/workflows/ci.yaml").read_text()


def test_nothing_gets_into_an_image_but_what_the_dockerfile_copies(tmp_path: Path):
    """And all of that does."""
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, flags=re.MULTILINE)
        for source in shlex.split(line)[:-1]
    ]
    wanted = {source if (ROOT / source).is_file() else f"{source}/module.py" for source in copied}
    unwanted = {
        ".env",
        ".env.example",
        ".git/config",
        ".dagster/storage/runs.db",
        "data/raw_movies/2026-01-05.jsonl.gz",
        "deploy/certificates/api.key",
        "deploy/stack",
        "movie_platform/__pycache__/module.cpython-312.pyc",
        "serving/pages/__pycache__/module.cpython-312.pyc",
        "movie_platform_tests/test_documents.py",
    }
    for name in wanted | unwanted:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    let_in = exclude_paths(str(tmp_path), (ROOT / ".dockerignore").read_text().splitlines(), ".none")
    assert {name for name in let_in if (tmp_path / name).is_file()} == wanted
