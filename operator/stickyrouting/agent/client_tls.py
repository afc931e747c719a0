"""TLS towards clients: the certificate in service, and how a new one takes its place while connections go on.

Law: what can't serve changes nothing. A new certificate is first put into the running worker, and stands in the file
that HAProxy starts from only once that worker has taken it; so HAProxy refuses none at its start. Workers of before a
reload keep what they have: they accept no connections, and those that are open have shaken hands long ago.
"""

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from stickyrouting.agent.client_bundle import Bundle, Content, make_bundle, read_bundle, read_content
from stickyrouting.agent.files import write_if_changed
from stickyrouting.agent.running import Running
from stickyrouting.haproxy.commands import AbortCertificate, CommitCertificate, SetCertificate
from stickyrouting.haproxy.errors import CommandRefused
from stickyrouting.haproxy.runtime import MasterClient
from stickyrouting.metrics import agent as names
from stickyrouting.metrics.table import Metrics
from stickyrouting.model.desired import Desired, Tls
from stickyrouting.model.errors import InvalidKeys
from stickyrouting.model.report import TlsReport

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Places:
    """Where Secrets are mounted, each under its name, and the ``file`` that HAProxy starts from (in memory)."""

    mounts: Path
    file: Path


@dataclass(slots=True)
class ClientTls:
    """Follows the Secret that the desired state names; ``bundle`` is what shall serve, ``fault`` why it is no other."""

    places: Places
    master: MasterClient
    metrics: Metrics
    clock: Callable[[], float] = time.time
    bundle: Bundle | None = None
    fault: str = ""
    _asked: Tls | None = None
    _serving: Bundle | None = None
    _refused: tuple[bytes, str] = field(default=(b"", ""), repr=False)
    _told: tuple[int, bytes] = field(default=(0, b""), repr=False)
    _read: tuple[Content, Bundle | InvalidKeys] | None = field(default=None, repr=False)

    @property
    def report(self) -> TlsReport | None:
        """What the operator is told; nothing where clients speak plain HTTP."""
        if self._asked is None:
            return None
        return TlsReport(self._serving.ends if self._serving else 0, self.fault)

    async def follow(self, tls: Callable[[], Tls | None], wake: Callable[[], None]) -> None:
        """Look each second, and ``wake`` whoever puts it into service when something changed; until cancelled."""
        while True:
            if self.look(tls()):
                wake()
            await asyncio.sleep(LOOK_SECONDS)

    def look(self, tls: Tls | None) -> bool:
        """Read the mounted Secret again; return whether something changed."""
        before = (self._asked, self.bundle, self.fault)
        self._asked = tls
        if tls is None:
            self._forget()
        else:
            self.bundle = self.bundle or self._kept()
            self._complain(self._fault_of(tls))
        return before != (self._asked, self.bundle, self.fault)

    def servable(self, desired: Desired, running: Running | None) -> Desired | None:
        """Return what of it can be served now: without TLS as long as there is no certificate and clients are served
        without; None if this proxy has to wait for one.

        A pod of before TLS was asked for has no such mount: it is about to be replaced, and serves as it did.
        """
        if desired.tls is None or self.bundle is not None:
            return desired
        if _serves_plainly(running) or not self._mount(desired.tls).is_dir():
            return msgspec.structs.replace(desired, tls=None)
        return None

    async def serve(self, running: Running | None) -> None:
        """Put the bundle into service; raises StickyError, OSError, and may then be repeated."""
        bundle = self.bundle
        if self._asked is None or bundle is None:
            return
        if running is not None and _has_tls(running) and self._told != (running.newest.pid, bundle.pem):
            try:
                await self._tell(running.newest.pid, bundle)
            except CommandRefused as error:
                self._refuse(bundle, error)
                return
            self._told = (running.newest.pid, bundle.pem)
        write_if_changed(self.places.file, bundle.pem)
        if self._serving != bundle:
            log.info("certificate for clients in service, it ends %s", _day(bundle.ends))
        self._serving = bundle
        self.metrics.set(names.TLS_EXPIRES, bundle.ends)

    async def _tell(self, pid: int, bundle: Bundle) -> None:
        worker, path = self.master.worker(pid), str(self.places.file)
        try:
            await worker.run(SetCertificate(path, bundle.pem.decode("ascii")))
            await worker.run(CommitCertificate(path))
        except CommandRefused:
            await worker.run(AbortCertificate(path))
            raise

    def _refuse(self, bundle: Bundle, error: CommandRefused) -> None:
        self._refused = (bundle.pem, " ".join(error.answer.split()))
        self.bundle = self._serving or self._kept()
        if self._asked is not None:
            self.look(self._asked)

    def _forget(self) -> None:
        self.bundle = self._serving = None
        self.fault = ""
        self.metrics.set(names.TLS_EXPIRES, 0)

    def _fault_of(self, tls: Tls) -> str:
        """Return what is wrong with the Secret, after it was taken if it is better than what serves."""
        try:
            self._choose(tls)
        except InvalidKeys as error:
            return f"Secret {tls.secret}: {error}"
        except OSError as error:
            return f"Secret {tls.secret}: it can't be looked at now: {error.strerror}"
        return ""

    def _choose(self, tls: Tls) -> None:
        """Take what is mounted unless what serves is better; raises InvalidKeys with what is wrong with it."""
        if not self._mount(tls).is_dir():
            return
        found, now = self._parsed(read_content(self._mount(tls))), self.clock()
        if found.pem == self._refused[0]:
            raise InvalidKeys(f"HAProxy refuses it: {self._refused[1]}")
        is_other = self.bundle is None or self.bundle.pem != found.pem
        if is_other and self.bundle is not None and self.bundle.is_valid(now) and not found.is_valid(now):
            raise InvalidKeys(
                f"{_untimely(found, now)}; the one before it serves until {_day(self.bundle.ends)}"
            )
        self.bundle = found
        if not found.is_valid(now):
            raise InvalidKeys(
                f"{_untimely(found, now)}; it serves all the same, for there is none that is better"
            )

    def _parsed(self, content: Content) -> Bundle:
        if self._read is None or self._read[0] != content:
            self._read = (content, self._parse(content))
        found = self._read[1]
        if isinstance(found, InvalidKeys):
            raise found
        return found

    def _parse(self, content: Content) -> Bundle | InvalidKeys:
        try:
            return make_bundle(content, self.places.file.parent)
        except InvalidKeys as error:
            kept = (
                f"; the certificate in service stays, it ends {_day(self.bundle.ends)}" if self.bundle else ""
            )
            return InvalidKeys(f"{error}{kept}")

    def _kept(self) -> Bundle | None:
        """Return what HAProxy was started from: it outlives an agent."""
        try:
            return read_bundle(self.places.file.read_bytes(), self.places.file.parent)
        except (OSError, InvalidKeys):
            return None

    def _mount(self, tls: Tls) -> Path:
        return self.places.mounts / tls.secret

    def _complain(self, fault: str) -> None:
        if fault and fault != self.fault:
            self.metrics.count(names.INVALID, input="tls")
            log.warning("certificate for clients: %s", fault)
        self.fault = fault


def _has_tls(running: Running) -> bool:
    started = running.newest.started_with
    return started is not None and started.tls is not None


def _serves_plainly(running: Running | None) -> bool:
    started = running.newest.started_with if running else None
    return started is not None and started.tls is None


def _untimely(bundle: Bundle, now: float) -> str:
    if now < bundle.begins:
        return f"the certificate is not valid before {_day(bundle.begins)}"
    return f"the certificate ended {_day(bundle.ends)}: renew it"


def _day(moment: int) -> str:
    return dt.datetime.fromtimestamp(moment, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
