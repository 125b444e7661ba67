#!/usr/bin/env python3
"""Makes .env on EC2, at each start: the facts of the instance, and the settings and secrets of Parameter Store.

The facts (bucket, region and so on) are in /etc/movie-platform.env, or in the file that is named. Each parameter
directly under the path PARAMETERS of that file is a setting with the parameter's name, and wins over a fact. What
`deploy/stack env` has made stays: run that next. The machine's Python runs this, with its own boto3, since the first
image may not have been built yet. No value is ever printed.
"""

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import boto3
from botocore.exceptions import BotoCoreError, ClientError

ROOT = Path(__file__).resolve().parents[1]
KEPT = "POSTGRES_PASSWORD"
"""Made once by `deploy/stack env`; the database was made with it."""
NOT_FROM_PARAMETERS = {KEPT, "DOCKER_GID", "VERSION"}
"""What is made on this machine, or changed by `deploy/ec2-update`."""


def fail(message: str) -> NoReturn:
    """End, with what is wrong and what to do."""
    sys.exit(f"ec2_env: {message}")


def read_lines(path: Path) -> dict[str, str]:
    """The lines NAME=VALUE of a file, as they stand there."""
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def parameters(path: str, region: str) -> dict[str, str]:
    """The settings under a path of Parameter Store, decrypted."""
    pages = boto3.client("ssm", region_name=region).get_paginator("get_parameters_by_path")
    try:
        found = [p for page in pages.paginate(Path=path, WithDecryption=True) for p in page["Parameters"]]
    except (BotoCoreError, ClientError) as error:
        fail(f"Parameter Store does not answer: {error}")
    return {p["Name"].rsplit("/", 1)[1]: p["Value"].strip() for p in found}


def line(name: str, value: str) -> str:
    """For .env. In single quotes, compose takes everything literally, a dollar sign too."""
    if re.search(r"['\\\x00-\x1f\x7f]", value):
        fail(f"{name} has a quote, a backslash or a line break in it, which .env cannot hold")
    return f"{name}={value}" if re.fullmatch(r"[\w./:@%+,=-]*", value, re.ASCII) else f"{name}='{value}'"


def replace(path: Path, content: str) -> None:
    """The whole file or the old one, readable by its owner alone."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".env.", delete=False) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(path)


def main(facts_file: str = "/etc/movie-platform.env") -> None:
    """Make .env, or say why not and leave it as it is."""
    facts = read_lines(Path(facts_file))
    if missing := sorted({"AWS_DEFAULT_REGION", "BUCKET", "PARAMETERS"} - facts.keys()):
        fail(f"{facts_file} does not name {', '.join(missing)}")
    path = facts.pop("PARAMETERS")
    found = parameters(path, facts["AWS_DEFAULT_REGION"])
    known = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text())) - NOT_FROM_PARAMETERS
    if unknown := sorted(found.keys() - known):
        fail(f"no settings of this stack, or not for Parameter Store: {', '.join(unknown)} (under {path})")
    if not found.get("SERVING_API_KEYS"):
        fail(f"{path}/SERVING_API_KEYS is missing: the API is not opened to a network without keys")
    kept = {name: value for name, value in read_lines(ROOT / ".env").items() if name == KEPT}
    lines = [line(name, value) for name, value in {**facts, **found, **kept}.items()]
    head = "# Made at each start by deploy/ec2_env.py: change Parameter Store."
    replace(ROOT / ".env", "\n".join([head, *lines, ""]))
    sys.stderr.write(f"ec2_env: from {path}: {', '.join(sorted(found))}\n")
    if "TMDB_ACCESS_TOKEN" not in found:
        sys.stderr.write("ec2_env: no TMDB_ACCESS_TOKEN: films are synthetic, from the built-in catalogue\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
