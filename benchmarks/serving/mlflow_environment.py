"""The environment that MLflow's own servers run in, made from ``locks/mlflow.lock``: ``.bench/mlflow``.

    python -m benchmarks.serving.mlflow_environment

It is apart from the project's, since MLflow's server and Dagster want different versions of the same packages. The
benchmark serves a pipeline from it; the tests, for which ``make test`` makes it, record trainings on a server of it.
"""

import subprocess
import sys
from pathlib import Path

import uv

from benchmarks.serving.servers import ServerError

__all__ = ["mlflow_environment", "run"]

_ROOT = Path(__file__).resolve().parents[2]


def mlflow_environment() -> Path:
    """Return an environment with exactly what mlflow's lock file names; made when there is none yet.

    Raises ServerError when it cannot be made.
    """
    lock, environment = _ROOT / "locks" / "mlflow.lock", _ROOT / ".bench" / "mlflow"
    made_from = environment / lock.name
    if not made_from.is_file() or made_from.read_bytes() != lock.read_bytes():
        program = uv.find_uv_bin()
        run(program, "venv", "--clear", "--python", sys.executable, environment)
        run(program, "pip", "sync", "--python", environment / "bin" / "python", "--require-hashes", lock)
        made_from.write_bytes(lock.read_bytes())
    return environment


def run(*command: str | Path) -> None:
    """Run a command to its end. Raises ServerError with the end of its output when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 our own arguments
    if done.returncode:
        raise ServerError(f"{' '.join(map(str, command))} failed:\n{done.stderr[-2000:]}")


if __name__ == "__main__":
    mlflow_environment()
