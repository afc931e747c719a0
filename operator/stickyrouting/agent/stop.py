"""``sticky-agent-stop``: HAProxy's preStop hook. Asks the agent to end the proxy and blocks until it may be
stopped.

Law: standard library only, as little of it as possible: it must start fast on a busy node. A dead or hanging
agent must not hang it: it asks again until the stop delay has passed (the sidecar is restarted), then returns
with an error.
"""

import os
import socket
import sys
import time
from enum import Enum

SILENCE_SECONDS = 10.0
"""The agent says each second that it is still waiting; after this long without a word it is taken for dead.
"""
RETRY_SECONDS = 0.5


class Answer(Enum):
    """How one conversation with the agent ended."""

    DONE = "done"
    LOST = "lost"
    SILENT = "silent"


def ask(path: str, elapsed: float) -> Answer:
    """Ask the agent behind the unix socket ``path`` to end the proxy, begun ``elapsed`` seconds ago; block
    until it is.

    ``LOST``: it spoke and went away; ``SILENT``: it never spoke.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(SILENCE_SECONDS)
        try:
            link.connect(path)
            link.sendall(f"stop {elapsed:.3f}\n".encode())
        except OSError:
            return Answer.SILENT
        return _listen(link)


def _listen(link: socket.socket) -> Answer:
    answer, pending = Answer.SILENT, b""
    while True:
        try:
            received = link.recv(4096)
        except OSError:
            return answer
        if not received:
            return answer
        answer = Answer.LOST
        *lines, pending = (pending + received).split(b"\n")
        if b"done" in lines:
            return Answer.DONE


def wait_for_end(path: str, delay: float) -> bool:
    """Block until the proxy may be stopped; False after ``delay`` seconds without a word of the agent."""
    start = time.monotonic()
    patience = start + delay
    while True:
        answer = ask(path, time.monotonic() - start)
        if answer is Answer.DONE:
            return True
        now = time.monotonic()
        if answer is Answer.LOST:
            patience = now + delay
        if now >= patience:
            return False
        time.sleep(min(RETRY_SECONDS, patience - now))


def main() -> int:
    """Run the hook; the exit code is 1 if the agent could not be asked and the stop delay was waited out
    instead.
    """
    path = os.path.join(os.environ.get("STICKY_RUN_DIR", "/run/sticky"), "agent.sock")
    try:
        delay = float(os.environ.get("STOP_DELAY_SECONDS") or 10.0)
    except ValueError:
        delay = 10.0
    if wait_for_end(path, delay):
        return 0
    sys.stderr.write(
        f"the agent does not answer on {path}: waited {delay:g} s instead of for the last request\n"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
