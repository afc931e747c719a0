"""What feeds the agent from outside: mounted files, the copy of the last applied state, the watch, the key slots."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from stickyrouting.agent.files import WatchedPath
from stickyrouting.agent.keys import Identity, KeySlots
from stickyrouting.agent.settings import Directories
from stickyrouting.agent.sources import DesiredState, Origin
from stickyrouting.metrics import agent as names
from stickyrouting.metrics.table import Metrics
from stickyrouting.model.desired import DESIRED_KEY
from stickyrouting.model.errors import InvalidKeys
from stickyrouting.model.keys import GENERATION_FILE, SLOTS

log = logging.getLogger(__name__)

FILES_SECONDS = 1.0
"""Mounted files are looked at (a system call each) this often."""


@dataclass(slots=True)
class Feeds:
    """Keeps ``desired`` and ``keys`` as new as their sources; ``wake`` is called when one of them changed.

    ``present`` is awaited each second with the identity to show to others; it raises InvalidKeys, OSError.
    """

    directories: Directories
    desired: DesiredState
    keys: KeySlots
    present: Callable[[Identity], Awaitable[None]]
    metrics: Metrics
    wake: Callable[[], None]
    _refused: bytes = field(default=b"", repr=False)

    @property
    def applied_copy(self) -> Path:
        """Where the last applied state is kept over restarts of the agent."""
        return self.directories.state / DESIRED_KEY

    async def run(self) -> None:
        """Follow the files until cancelled."""
        mounted = self.directories.config / DESIRED_KEY
        desired_file = WatchedPath(mounted)
        slot_files = [WatchedPath(self.directories.keys / slot / GENERATION_FILE) for slot in SLOTS]
        self._read(Origin.APPLIED, self.applied_copy)
        while True:
            if desired_file.changed():
                self._read(Origin.MOUNTED, mounted)
            # All are asked, so that each notes what it saw.
            replaced = any([file.changed() for file in slot_files])
            if (replaced or self.keys.incomplete) and self.keys.refresh():
                self.wake()
            await self._present()
            await asyncio.sleep(FILES_SECONDS)

    def offer(self, origin: Origin, data: bytes) -> None:
        """Take a copy of the desired state if it is newer."""
        if self.desired.offer(origin, data):
            self.wake()

    def _read(self, origin: Origin, path: Path) -> None:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("the %s can't be read: %s", origin, error)
            self.metrics.count(names.INVALID, input="desired")
            return
        self.offer(origin, data)

    async def _present(self) -> None:
        keyring = self.keys.keyring
        if keyring is None or keyring.identity.certificate == self._refused:
            return
        try:
            await self.present(keyring.identity)
        except OSError as error:
            log.warning("certificate can't be put into service now, trying again: %s", error)
        except InvalidKeys as error:
            self._refused = keyring.identity.certificate
            self.metrics.count(names.INVALID, input="certificate")
            log.warning("certificate of generation=%d not taken: %s", keyring.generation, error)
