"""The load: wrk, from Debian's package, with a script that sends sessions in turn and says what came back."""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.ratio import BenchError
from bench.reading import Load, parse_load
from lab.progress import Progress

SPARE_SECONDS = 20

_SCRIPT = """\
local cookies = {{
{cookies}
}}
local requests = {{}}
local n = 0
init = function(args)
  math.randomseed(os.time())
  for i, cookie in ipairs(cookies) do
    requests[i] = wrk.format("GET", "/", cookie ~= "" and {{["Cookie"] = cookie}} or {{}})
  end
  n = math.random(#requests)
end
request = function()
  n = n % #requests + 1
  return requests[n]
end
{delay}done = function(summary, latency)
  local errors = summary.errors
  local bad = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("bench %d %d %d %d %d %d\\n", summary.requests, bad, summary.duration,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
"""
_DELAY = """\
delay = function()
  return math.random(0, {twice_ms})
end
"""


def ensure_tool(name: str, progress: Progress) -> str:
    """Return the path of a Debian package's program of the same name; installed if it is missing and may be.

    Raises ``BenchError`` with the command to run.
    """
    install = ("apt-get", "install", "-y", name)
    if found := shutil.which(name):
        return found
    if os.geteuid() == 0 and shutil.which(install[0]):
        with progress.step(f"installed {name}"):
            subprocess.run(install, capture_output=True, check=False)
    if found := shutil.which(name):
        return found
    raise BenchError(f"{name} is missing: run `{' '.join(install)}` as root, or put one of your own on PATH")


def render_script(cookies: Sequence[str], pace_ms: int = 0) -> str:
    """Script for wrk: each request carries the next session's cookie, all made before the clock runs; "" is none.

    ``pace_ms``: how long each connection waits before a request, on average.
    """
    # Lua reads a JSON string of plain characters; Envoy's cookies hold quotes.
    listed = ",\n".join(f"  {json.dumps(cookie)}" for cookie in cookies)
    delay = _DELAY.format(twice_ms=2 * pace_ms) if pace_ms else ""
    return _SCRIPT.format(cookies=listed, delay=delay)


def run_wrk(wrk: str, script: Path, url: str, connections: int, seconds: int) -> Load:
    """Send load for ``seconds``; raises ``BenchError`` if wrk failed or saw a bad answer."""
    command = [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url]
    bound = seconds + SPARE_SECONDS
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=bound)
    except subprocess.TimeoutExpired:
        raise BenchError(f"wrk did not end within {bound} s") from None
    if done.returncode:
        raise BenchError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    return parse_load(done.stdout + done.stderr)
