"""Whether a part of the platform answers; ends with status 0 if it does. For the containers' health checks.

Imports no Dagster, which alone would take a second of processor time at each check.
"""

import json
import sys
import urllib.request

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_SECONDS = 8


def code_location() -> bool:
    """Whether the definitions are served: Dagster's gRPC server, on port 4000."""
    with grpc.insecure_channel("127.0.0.1:4000") as channel:
        request = health_pb2.HealthCheckRequest(service="DagsterApi")
        answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=_SECONDS)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def webserver() -> bool:
    """Whether the UI answers, on port 3000."""
    with urllib.request.urlopen("http://127.0.0.1:3000/server_info", timeout=_SECONDS) as answer:
        return bool(answer.status == 200)


def daemon() -> bool:
    """Whether all daemons that must run have lately said that they do, as the web server reads it in the records."""
    query = "{ instance { daemonHealth { allDaemonStatuses { required healthy } } } }"
    request = urllib.request.Request(
        "http://webserver:3000/graphql",
        data=json.dumps({"query": query}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
        health = json.load(answer)["data"]["instance"]["daemonHealth"]
    return all(status["healthy"] for status in health["allDaemonStatuses"] if status["required"])


if __name__ == "__main__":
    sys.exit(0 if {"code-location": code_location, "webserver": webserver, "daemon": daemon}[sys.argv[1]]() else 1)
