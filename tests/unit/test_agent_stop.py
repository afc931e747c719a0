"""The preStop client asks, waits, asks again when the agent is restarted, and never hangs without one."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from stickyrouting.agent import stop
from stickyrouting.agent.control import StopSocket, parse_stop


async def test_the_client_returns_when_the_agent_says_done(tmp_path: Path) -> None:
    asked: list[float] = []
    ended = asyncio.Event()

    def on_stop(elapsed: float) -> None:
        asked.append(elapsed)
        ended.set()

    server = await StopSocket(tmp_path / "agent.sock", on_stop, ended).start()
    assert await asyncio.to_thread(stop.wait_for_end, str(tmp_path / "agent.sock"), 5.0) is True
    assert len(asked) == 1
    assert asked[0] < 5
    server.close()


async def test_a_client_that_says_something_else_is_told_what_to_say(tmp_path: Path) -> None:
    server = await StopSocket(tmp_path / "agent.sock", lambda _: None, asyncio.Event()).start()
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "agent.sock"))
    writer.write(b"GET / HTTP/1.1\r\n")
    assert await reader.read() == b"error: say: stop <elapsed seconds>\n"
    writer.close()
    server.close()


@pytest.mark.parametrize(
    ("line", "elapsed"), [("stop 0\n", 0.0), ("stop 3.25\n", 3.25), ("stop -1\n", None), ("\n", None)]
)
def test_a_stop_request_is_parsed(line: str, elapsed: float | None) -> None:
    assert parse_stop(line) == elapsed


class Clock:
    """Stands for the time module: sleeping is what makes time pass."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stop, "time", clock)
    return clock


def test_without_an_agent_the_delay_is_waited_out(clock: Clock, tmp_path: Path) -> None:
    assert stop.wait_for_end(str(tmp_path / "agent.sock"), 10.0) is False
    assert clock.now == pytest.approx(10.0)


def test_an_agent_that_is_restarted_is_asked_again_with_the_time_that_has_passed(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([(stop.Answer.LOST, 30.0), (stop.Answer.SILENT, 0.0), (stop.Answer.DONE, 5.0)])
    asked = []

    def ask(_: str, elapsed: float) -> stop.Answer:
        asked.append(elapsed)
        answer, took = next(answers)
        clock.now += took
        return answer

    monkeypatch.setattr(stop, "ask", ask)
    assert stop.wait_for_end("agent.sock", 10.0) is True
    assert asked == [0.0, 30.5, 31.0]


def test_an_agent_that_never_speaks_does_not_hang_the_client(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(_: str, __: float) -> stop.Answer:
        clock.now += stop.SILENCE_SECONDS
        return stop.Answer.SILENT

    monkeypatch.setattr(stop, "ask", ask)
    assert stop.wait_for_end("agent.sock", 10.0) is False
    assert clock.now == 10.0


def test_the_client_imports_nothing_heavy() -> None:
    heavy = "{'asyncio', 'aiohttp', 'msgspec', 'ssl', 'logging', 'dataclasses'}"
    code = f"import sys, stickyrouting.agent.stop; print(sorted({heavy} & set(sys.modules)))"
    root = Path(stop.__file__).parents[2]
    shown = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert shown.stdout == "[]\n"
