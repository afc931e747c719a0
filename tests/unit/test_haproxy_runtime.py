"""Many commands in few exchanges: what is sent, literally, and whose answer is whose."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stickyrouting.haproxy.commands import AddServer, SetAddress, SetWeight
from stickyrouting.haproxy.errors import CommandRefused
from stickyrouting.haproxy.runtime import PORTION_BYTES, RuntimeClient, WorkerClient, split_answers
from stickyrouting.model.desired import HealthCheck
from stickyrouting.model.errors import Unreachable


@dataclass
class FakeSocket:
    """HAProxy's socket: keeps each line, answers as it is told."""

    path: str
    answer: Callable[[str], str]
    lines: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.read()).decode()
        self.lines.append(line)
        writer.write(self.answer(line).encode())
        writer.close()


@pytest.fixture
async def haproxy(tmp_path: Path) -> AsyncIterator[FakeSocket]:
    fake = FakeSocket(str(tmp_path / "s"), lambda line: "\n" * (line.count(";") + 1))
    server = await asyncio.start_unix_server(fake.serve, fake.path)
    yield fake
    server.close()


def test_each_answer_ends_with_an_empty_line() -> None:
    assert split_answers("\nNew server registered.\n\n\nIP changed\nport too\n\n") == [
        "",
        "New server registered.\n",
        "",
        "IP changed\nport too\n",
    ]
    assert split_answers("") == []


async def test_commands_go_in_one_line_and_through_the_master_each_with_its_worker(
    haproxy: FakeSocket,
) -> None:
    commands = [SetWeight(1, 0), SetWeight(2, 9)]
    await RuntimeClient(haproxy.path).run_all(commands)
    await WorkerClient(haproxy.path, 5, 77).run_all(commands)
    assert haproxy.lines == [
        "set server app/s1 weight 0;set server app/s2 weight 9\n",
        "@!77 set server app/s1 weight 0;@!77 set server app/s2 weight 9\n",
    ]


async def test_many_commands_go_in_portions_in_their_order(haproxy: FakeSocket) -> None:
    commands = [SetWeight(number, 1) for number in range(1_000, 2_000)]
    await WorkerClient(haproxy.path, 5, 4_194_304).run_all(commands)
    assert max(len(line) for line in haproxy.lines) <= PORTION_BYTES
    assert len(haproxy.lines) == 6
    sent = [word for line in haproxy.lines for word in line.strip().split(";")]
    assert sent == [f"@!4194304 {command.text}" for command in commands]
    await RuntimeClient(haproxy.path).run_all([])
    assert len(haproxy.lines) == 6


async def test_the_first_command_that_is_refused_is_named_and_later_portions_are_not_sent(
    haproxy: FakeSocket,
) -> None:
    haproxy.answer = lambda line: "\n" + "No such server.\n\n" * line.count(";")
    commands = [SetWeight(number, 1) for number in range(1_000, 2_000)]
    with pytest.raises(CommandRefused, match="s1001 weight 1"):
        await RuntimeClient(haproxy.path).run_all(commands)
    assert len(haproxy.lines) == 1


async def test_answers_that_can_not_be_told_apart_are_asked_for_one_by_one(haproxy: FakeSocket) -> None:
    add = AddServer(1, "198.18.0.1", 80, 1, HealthCheck())
    answers = {add.text: "New server registered.\n\n", SetWeight(1, 2).text: "\n"}
    haproxy.answer = lambda line: answers.get(line.strip(), "odd\n\nodd\n\nodd\n\n")
    await RuntimeClient(haproxy.path).run_all([add, SetWeight(1, 2)])
    assert [line.strip() for line in haproxy.lines[1:]] == [add.text, SetWeight(1, 2).text]


async def test_each_answer_is_read_by_its_own_command(haproxy: FakeSocket) -> None:
    haproxy.answer = lambda _: "IP changed from 'a' to 'b'\n\n\n"
    await RuntimeClient(haproxy.path).run_all([SetAddress(1, "198.18.0.1", 80), SetWeight(1, 2)])
    with pytest.raises(CommandRefused, match="weight 2"):
        await RuntimeClient(haproxy.path).run_all([SetWeight(1, 2), SetAddress(1, "198.18.0.1", 80)])


async def test_a_worker_that_is_gone_is_unreachable_for_many_commands_too(haproxy: FakeSocket) -> None:
    haproxy.answer = lambda _: "Can't find the target CLI!\n"
    with pytest.raises(Unreachable, match="no worker 77"):
        await WorkerClient(haproxy.path, 5, 77).run_all([SetWeight(1, 2), SetWeight(2, 2)])
