"""What the page about several machines shows is configuration that Dagster takes. Nothing of it is started."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster_postgres.utils import pg_url_from_config

from movie_platform_tests.deploy.instance_configuration import as_dagster_reads_it

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/scaling.md").read_text()
LOCAL = yaml.safe_load((ROOT / "dagster.yaml").read_text())
DEPLOYED = yaml.safe_load((ROOT / "deploy/dagster.yaml").read_text())


def block(heading: str) -> dict[str, Any]:
    """The one block of configuration below a heading of the page."""
    (section,) = re.findall(rf"^## {heading}$(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL)
    (text,) = re.findall(r"```yaml\n(.*?)```", section, flags=re.DOTALL)
    shown: dict[str, Any] = yaml.safe_load(text)
    assert shown.keys() <= LOCAL.keys() | DEPLOYED.keys()
    return shown


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """How Dagster reads the deployed configuration with some of its keys replaced."""
    for name in ("BUCKET", "POSTGRES_PASSWORD"):
        monkeypatch.setenv(name, f"of-{name}")
    return lambda shown: as_dagster_reads_it({**LOCAL, **DEPLOYED, **shown}, tmp_path)


def test_records_on_rds_are_a_database_whose_host_is_proved(read):
    postgres = read(block("Records on RDS"))["DagsterPostgresStorage"]
    url = pg_url_from_config(postgres)
    assert url.startswith("postgresql+psycopg2://dagster:of-POSTGRES_PASSWORD@records.example.")
    assert "sslmode=verify-full" in url
    assert "sslrootcert=" in url


def test_runs_on_ecs_have_variables_of_the_deployed_ones_and_no_secret_among_them(read):
    launcher = read(block("Runs on ECS"))["EcsRunLauncher"]
    assert launcher["use_current_ecs_task_config"] is True
    assert launcher["secrets_tag"] is None
    secrets = [secret["name"] for secret in launcher["secrets"]]
    known = DEPLOYED["run_launcher"]["config"]["env_vars"]
    assert {*launcher["env_vars"], *secrets} <= set(known)
    assert [name for name in launcher["env_vars"] if re.search("PASSWORD|SECRET|TOKEN|KEY|WEBHOOK", name)] == []


def test_more_time_to_start_is_all_that_changes_of_monitoring(read):
    shown = block("Both: time to start")
    read(shown)
    changed = dict(shown["run_monitoring"].items() - LOCAL["run_monitoring"].items())
    assert changed == {"start_timeout_seconds": 600}
    assert shown["run_monitoring"].keys() == LOCAL["run_monitoring"].keys()


def test_kubernetes_is_the_version_that_goes_with_ours():
    """Its block was checked by hand, against this version."""
    (of_aws,) = re.findall(r"dagster-aws==([\d.]+)", (ROOT / "pyproject.toml").read_text())
    assert set(re.findall(r"dagster-k8s(?:==| )([\d.]+\d)", PAGE)) == {of_aws}
    assert block("Runs on Kubernetes")["run_launcher"]["module"] == "dagster_k8s"
