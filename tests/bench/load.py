"""The load: wrk, from Debian's package."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Plan
from bench.ratio import BenchError, render_script
from lab.progress import Progress

INSTALL = ("apt-get", "install", "-y", "wrk")
SPARE_SECONDS = 20


def ensure_wrk(progress: Progress) -> str:
    """Return wrk's path; installed first if it is missing, else ``BenchError`` with the command to run."""
    if found := shutil.which("wrk"):
        return found
    if os.geteuid() == 0 and shutil.which(INSTALL[0]):
        with progress.step("installed wrk"):
            subprocess.run(INSTALL, capture_output=True, check=False)
    if found := shutil.which("wrk"):
        return found
    raise BenchError(f"wrk is missing: run `{' '.join(INSTALL)}` as root, or put a wrk of your own on PATH")


def write_script(path: Path, cookies: Sequence[str]) -> Path:
    """Write the script that sends ``cookies`` in turn."""
    path.write_text(render_script(cookies))
    return path


def run_wrk(wrk: str, plan: Plan, script: Path, url: str) -> str:
    """Send load for ``plan.seconds``; return wrk's output, raise ``BenchError`` if it failed."""
    command = [wrk, "-t1", f"-c{plan.connections}", f"-d{plan.seconds}s", "-s", str(script), url]
    bound = plan.seconds + SPARE_SECONDS
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=bound)
    except subprocess.TimeoutExpired:
        raise BenchError(f"wrk did not end within {bound} s") from None
    if done.returncode:
        raise BenchError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
