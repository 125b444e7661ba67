"""Load on a server of this machine, made by wrk.

What belongs here: sending given bodies for given seconds, and what was measured. What does not: which bodies, and to
which server.
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["Load", "LoadError", "find_wrk", "load"]

# A body is JSON without a line of its own, so it never holds what ends a Lua text of this kind. The last line of the
# output is ours. A request that no answer came for counts as an error.
_SCRIPT = """
local bodies = {%s}
local requests, place = {}, 0
function init()
  for number, body in ipairs(bodies) do
    requests[number] = wrk.format("POST", nil, {["Content-Type"] = "application/json"}, body)
  end
end
function request()
  place = place %% #requests + 1
  return requests[place]
end
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('{"requests": %%d, "seconds": %%f, "errors": %%d, "p50": %%f, "p99": %%f}\\n',
    summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.timeout + errors.status,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


class LoadError(Exception):
    """No load could be made. The message names the remedy."""


class Load(NamedTuple):
    """What came of some seconds of requests. Times are in milliseconds."""

    per_second: float
    p50: float
    p99: float
    requests: int
    errors: int


def find_wrk() -> str:
    """Return where wrk is."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise LoadError("wrk, which makes the load, is not installed: install wrk: apt install wrk")
    return wrk


def load(url: str, bodies: Sequence[str], *, connections: int, seconds: int) -> Load:
    """Post the bodies in turn over so many connections, each of which waits for its answer, for so many seconds."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "load.lua")
        script.write_text(_SCRIPT % ",\n".join(f"[==[{body}]==]" for body in bodies))
        command = [find_wrk(), "--threads=1", f"--connections={connections}", f"--duration={seconds}"]
        command += ["--timeout=30s", f"--script={script}", url]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 our own arguments
    if done.returncode:
        raise LoadError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    figures = json.loads(done.stdout.splitlines()[-1])
    return Load(
        per_second=figures["requests"] / figures["seconds"],
        p50=figures["p50"],
        p99=figures["p99"],
        requests=figures["requests"],
        errors=figures["errors"],
    )
