"""HAProxy's sockets: to the current worker or, through the master, to each worker; one connection per exchange."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from stickyrouting.haproxy.command import Command
from stickyrouting.haproxy.errors import NoAnswer
from stickyrouting.haproxy.map_commands import AddToMap, CommitMap, PrepareMap
from stickyrouting.haproxy.process_commands import Reload, ShowProc, Worker
from stickyrouting.model.errors import Unreachable
from stickyrouting.render.maps import MapEntry

T = TypeVar("T")
TIMEOUT_SECONDS = 5.0
RELOAD_SECONDS = 60.0
"""A new worker reads its files and starts its servers before a reload is answered; CPU may be scarce."""
PORTION_BYTES = 8_000
"""Half of HAProxy's buffer: no line, and no payload, is longer."""
PREFIX_BYTES = 16
"""At most, of what addresses a command to a worker and parts it from the next."""
_NO_TARGET = "Can't find the target"


class RuntimeClient:
    """Sends commands to one worker. Every method raises Unreachable if it is gone, NoAnswer if it is silent."""

    def __init__(self, path: str, timeout: float = TIMEOUT_SECONDS) -> None:
        self._path = path
        self._timeout = timeout

    async def run(self, command: Command[T]) -> T:
        """Send one command and return its answer, parsed; raises CommandRefused, AnswerUnreadable."""
        return command.parse(await self._send((command.text,)))

    async def run_all(self, commands: Sequence[Command[Any]]) -> None:
        """Send commands, in order, many at a time; the first that is refused raises CommandRefused.

        What stands behind it in the same portion was sent too, what comes in later portions was not.
        """
        for portion in _command_portions(commands):
            await self._run_portion(portion)

    async def replace_map(self, path: str, entries: Sequence[MapEntry]) -> None:
        """Put a whole new content of a map into force in one step."""
        version = await self.run(PrepareMap(path))
        for portion in _portions(entries):
            await self.run(AddToMap(path, version, portion))
        await self.run(CommitMap(path, version))

    async def _run_portion(self, portion: Sequence[Command[Any]]) -> None:
        answers = split_answers(await self._send([command.text for command in portion]))
        if len(answers) == len(portion):
            for command, answer in zip(portion, answers, strict=True):
                command.parse(answer)
            return
        # An answer with an empty line in it: which is whose can't be told, so each is asked for itself.
        for command in portion:
            await self.run(command)

    async def _send(self, texts: Sequence[str]) -> str:
        return await self._exchange(f"{';'.join(texts)}\n")

    async def _exchange(self, text: str) -> str:
        try:
            async with asyncio.timeout(self._timeout):
                reader, writer = await asyncio.open_unix_connection(self._path)
                try:
                    writer.write(text.encode())
                    writer.write_eof()
                    answer = await reader.read()
                finally:
                    writer.close()
        except TimeoutError as error:
            raise NoAnswer(f"haproxy says nothing on {self._path} for {self._timeout:g} s") from error
        except OSError as error:
            raise Unreachable(f"haproxy does not answer on {self._path}: {error}") from error
        return answer.decode(errors="replace")


class WorkerClient(RuntimeClient):
    """Sends commands to one worker through the master, which passes on what follows ``@!<pid>``."""

    def __init__(self, path: str, timeout: float, pid: int) -> None:
        super().__init__(path, timeout)
        self._pid = pid

    async def _send(self, texts: Sequence[str]) -> str:
        try:
            answer = await self._exchange(f"{';'.join(f'@!{self._pid} {text}' for text in texts)}\n")
        except NoAnswer:
            # Seen on 3.0: a command for a worker that has just ended may be swallowed by the master.
            if await self._is_listed():
                raise
            answer = _NO_TARGET
        if answer.startswith(_NO_TARGET):
            raise Unreachable(f"haproxy has no worker {self._pid}")
        return answer

    async def _is_listed(self) -> bool:
        report = await RuntimeClient(self._path, self._timeout).run(ShowProc())
        return any(worker.pid == self._pid for worker in (*report.workers, *report.old_workers))


class MasterClient:
    """Sends commands to the master process, and through it to every worker, old ones included."""

    def __init__(self, path: str, timeout: float = TIMEOUT_SECONDS) -> None:
        self._path = path
        self._timeout = timeout
        self._master = RuntimeClient(path, timeout)

    async def run(self, command: Command[T]) -> T:
        """Send a command to the master itself."""
        return await self._master.run(command)

    async def workers(self) -> tuple[Worker, ...]:
        """Return all workers, the current one first."""
        report = await self.run(ShowProc())
        return (*report.workers, *report.old_workers)

    async def reload(self) -> None:
        """Start a new worker from the files; raises ReloadFailed."""
        await RuntimeClient(self._path, RELOAD_SECONDS).run(Reload())

    def worker(self, pid: int) -> WorkerClient:
        """Return a client of one worker."""
        return WorkerClient(self._path, self._timeout, pid)

    async def every_worker(self, command: Command[T]) -> dict[int, T]:
        """Send a command to every worker; one that ended meanwhile is left out, any other failure is raised."""
        pids = [worker.pid for worker in await self.workers()]
        results = await asyncio.gather(
            *(self.worker(pid).run(command) for pid in pids), return_exceptions=True
        )
        answers: dict[int, T] = {}
        for pid, result in zip(pids, results, strict=True):
            if isinstance(result, Unreachable):
                continue
            if isinstance(result, BaseException):
                raise result
            answers[pid] = result
        return answers


def split_answers(text: str) -> list[str]:
    """Return the answers to commands that were sent in one line: each ends with an empty line."""
    answers, current = [], ""
    for line in text.splitlines():
        if line:
            current += f"{line}\n"
        else:
            answers.append(current)
            current = ""
    return answers


def _command_portions(commands: Sequence[Command[Any]]) -> Iterator[list[Command[Any]]]:
    current: list[Command[Any]] = []
    size = 0
    for command in commands:
        length = len(command.text) + PREFIX_BYTES
        if current and size + length > PORTION_BYTES:
            yield current
            current, size = [], 0
        current.append(command)
        size += length
    if current:
        yield current


def _portions(entries: Sequence[MapEntry]) -> list[tuple[MapEntry, ...]]:
    portions: list[tuple[MapEntry, ...]] = []
    current: list[MapEntry] = []
    size = 0
    for entry in entries:
        length = len(entry[0]) + len(entry[1]) + 2
        if current and size + length > PORTION_BYTES:
            portions.append(tuple(current))
            current, size = [], 0
        current.append(entry)
        size += length
    return [*portions, tuple(current)] if current else portions
