"""What MLflow is told of a training, through MLflow's own client, which is imported when there is something to tell.

What belongs here: what is recorded, how long a day may wait for it, and keeping credentials out of what is said. What
does not: whether and when a day is recorded (the asset `metrics`), and anything of Dagster.

A run of MLflow is a training of one day. A day that is made again gets a run of its own, and those before it say which
one took their place.
"""

import base64
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import date
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from pydantic import SecretStr

from movie_platform.rating_model.config import TrainingConfig
from movie_platform.settings import SettingsError

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["MlflowTracker", "TrackedTraining", "TrackingError"]

T = TypeVar("T")

PATIENCE: Final = 10.0
"""For how many seconds a day waits for MLflow, whatever MLflow's client does meanwhile."""
REST: Final = 30.0
"""How many times as long as a day has waited for nothing MLflow is left alone afterwards: the days of a run add up."""

_SWITCHES: Final = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
_DEFAULTS: Final = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "5", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
"""MLflow itself would wait for 120 s, eight times."""
_LONGEST_REASON: Final = 600


class TrackingError(Exception):
    """The training could not be recorded. The message says why, in a line without credentials."""


@dataclass(frozen=True, kw_only=True)
class TrackedTraining:
    """What is recorded of a day's training."""

    day: date
    config: TrainingConfig
    """The very object that the training was given, as its bundle has it."""
    figures: Mapping[str, Mapping[str, Mapping[str, float]]]
    """As `Evaluation.figures`: situation, then `model` or a baseline, then metric."""
    code_version: str
    bundle_sha256: str
    synthetic: bool
    dagster_run_id: str


class MlflowTracker:
    """Records trainings on one MLflow server, in one experiment.

    `storage` tells the days of one storage from those of another in the same experiment. Raises `SettingsError` when
    MLflow's client is not installed; whether the server answers shows in `record`.
    """

    def __init__(self, uri: SecretStr, *, experiment: str, storage: str, patience: float = PATIENCE) -> None:
        if find_spec("mlflow") is None:
            raise SettingsError(
                "MLFLOW_TRACKING_URI: MLflow's client is not installed; pip install 'movie-platform[tracking]', or "
                "unset it"
            )
        parts = urlsplit(uri.get_secret_value())
        self._address = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
        self._user = SecretStr(unquote(parts.username or ""))
        self._password = SecretStr(unquote(parts.password or ""))
        self._experiment, self._storage = experiment, storage
        self._patience, self._rests_until = patience, 0.0

    def record(self, training: TrackedTraining) -> str:
        """Record the training and return the address of its page in MLflow.

        The former runs of the day, unfinished ones too, are marked as superseded. Raises `TrackingError`, and nothing
        else, when that could not be done in time.
        """
        if (begun := time.monotonic()) < self._rests_until:
            raise TrackingError(
                f"{self._address} has let an earlier day wait for nothing, and is left alone for a while"
            )
        given_up = threading.Event()
        try:
            client = self._client()
            begun = time.monotonic()
            return _within(self._patience, lambda: self._record(client, training, given_up))
        except TimeoutError:
            reason = f"{self._address} took longer than {self._patience:g} s"
        except Exception as error:  # noqa: BLE001 whatever MLflow's client raises, the day is worth more
            reason = self._without_secrets(f"{type(error).__name__}: {error}")
        given_up.set()
        now = time.monotonic()
        self._rests_until = now + REST * (now - begun)
        raise TrackingError(reason)  # outside of the handlers: an exception would keep MLflow's, whatever that says

    def _client(self) -> "MlflowClient":
        # MLflow's client is set up by variables alone: the first before it is imported, and credentials are not left in
        # the address, which its exceptions repeat.
        environment = os.environ  # noqa: TID251 written for MLflow, not read
        environment.update(_SWITCHES)
        for name, value in _DEFAULTS.items():
            environment.setdefault(name, value)
        if self._user.get_secret_value():
            environment["MLFLOW_TRACKING_USERNAME"] = self._user.get_secret_value()
            environment["MLFLOW_TRACKING_PASSWORD"] = self._password.get_secret_value()

        from mlflow import MlflowClient  # noqa: PLC0415 seconds, and only where MLflow is used

        return MlflowClient(tracking_uri=self._address)

    def _record(self, client: "MlflowClient", training: TrackedTraining, given_up: threading.Event) -> str:
        from mlflow.entities import Metric, Param  # noqa: PLC0415

        day, now = training.day.isoformat(), int(time.time() * 1000)
        known = client.get_experiment_by_name(self._experiment)
        experiment = known.experiment_id if known else client.create_experiment(self._experiment)
        tags = {
            "partition": day,
            "storage": self._storage,
            "code_version": training.code_version,
            "bundle_sha256": training.bundle_sha256,
            "synthetic": str(training.synthetic).lower(),
            "dagster_run_id": training.dagster_run_id,
        }
        run = client.create_run(experiment, run_name=day, tags=tags).info.run_id
        client.log_batch(
            run,
            params=[Param(name, value) for name, value in _parameters(training.config).items()],
            metrics=[Metric(name, value, now, 0) for name, value in _metrics(training.figures)],
        )
        if given_up.is_set():  # the day says that it is not recorded: the run stays unfinished, the former in place
            raise TrackingError("too late")
        # Looked for only now: a run that came twice, through a request that was sent again, is found too.
        for former in client.search_runs([experiment], f"tags.partition = '{day}'"):
            tags = former.data.tags
            if former.info.run_id == run or tags.get("storage") != self._storage or "superseded_by" in tags:
                continue
            client.set_tag(former.info.run_id, "superseded_by", run)
            status = "FAILED" if former.info.status == "RUNNING" else None
            client.update_run(former.info.run_id, status=status, name=f"{day} (superseded)")
        client.set_terminated(run)
        return f"{self._address}/#/experiments/{experiment}/runs/{run}"

    def _without_secrets(self, text: str) -> str:
        """The text in one line, not too long, without what a server or a client could repeat of the credentials."""
        environment = os.environ  # noqa: TID251 MLflow's variables, to keep them out of what is said
        user = self._user.get_secret_value() or environment.get("MLFLOW_TRACKING_USERNAME", "")
        password = self._password.get_secret_value() or environment.get("MLFLOW_TRACKING_PASSWORD", "")
        basic = base64.b64encode(f"{user}:{password}".encode()).decode()
        for secret in (basic, password, quote(password, safe=""), environment.get("MLFLOW_TRACKING_TOKEN", "")):
            text = text.replace(secret, "***") if secret else text
        return " ".join(text.split())[:_LONGEST_REASON]


def _parameters(config: TrainingConfig) -> dict[str, str]:
    """Every hyperparameter as MLflow keeps it: text as it is, anything else as JSON."""
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in config.model_dump(mode="json").items()
    }


def _metrics(figures: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Iterator[tuple[str, float]]:
    """Every figure under a name that MLflow's pages group by situation, like `unreleased/genre_mean rmse`."""
    for situation, models in figures.items():
        for model, metrics in models.items():
            for metric, value in metrics.items():
                yield f"{situation}/{metric}" if model == "model" else f"{situation}/{model} {metric}", value


def _within(seconds: float, call: Callable[[], T]) -> T:
    """What the call returns or raises; `TimeoutError` when that takes longer.

    In a thread that nobody waits for: the time-outs of MLflow's client are of a single read, and looking up a name
    has none.
    """
    outcome: Future[Any] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except Exception as error:  # noqa: BLE001 raised where the result is waited for
            outcome.set_exception(error)

    threading.Thread(target=run, name="mlflow", daemon=True).start()
    result: T = outcome.result(timeout=seconds)
    return result
