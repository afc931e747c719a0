"""The certificate for clients: what of a Secret can serve, what is said of the rest, and who has to wait."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from prometheus_client import CollectorRegistry

from haproxy.server_certificates import DAY, Pair, make_pair, written
from stickyrouting.agent.client_bundle import Content, make_bundle, read_content
from stickyrouting.agent.client_tls import ClientTls, Places
from stickyrouting.agent.running import Running, WorkerState
from stickyrouting.agent.target import STARTED_WITH
from stickyrouting.haproxy.command import Command
from stickyrouting.haproxy.commands import AbortCertificate, CommitCertificate, SetCertificate
from stickyrouting.haproxy.errors import CommandRefused
from stickyrouting.haproxy.runtime import MasterClient
from stickyrouting.metrics.agent import AGENT
from stickyrouting.metrics.table import Metrics
from stickyrouting.model.desired import Desired, Tls, encode_desired
from stickyrouting.model.errors import InvalidKeys, Unreachable
from stickyrouting.model.report import TlsReport
from stickyrouting.render.maps import MapEntry, MapName
from unit.builders import make_desired

TLS = Tls("shop-tls")
OURS, THEIRS = make_pair(), make_pair()
EC_KEY = ec.generate_private_key(ec.SECP256R1())
OLD_FORM = make_pair(key=EC_KEY)
DONE = "Committing clients.pem.\nSuccess!\n"


class Worker:
    """HAProxy's worker as far as certificates go: notes its commands, refuses what it is told to refuse."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.answers: dict[str, str] = {}
        self.gone = False

    def worker(self, _: int) -> "Worker":
        return self

    async def run(self, command: Command[Any]) -> Any:
        if self.gone:
            raise Unreachable("haproxy has no worker 7")
        verb = command.text.partition(" ")[0]
        self.commands.append(verb)
        return command.parse(self.answers.get(verb, DONE if verb == "commit" else "Transaction created\n"))


class Kubelet:
    """A proxy's view of one Secret, and its agent's part that follows it."""

    def __init__(self, root: Path) -> None:
        self.root, self.worker, self.now = root, Worker(), 0.0
        (root / "run").mkdir()
        self.metrics = Metrics(AGENT, CollectorRegistry())
        self.tls = self.restarted()

    def restarted(self) -> ClientTls:
        places = Places(self.root / "tls", self.root / "run" / "clients.pem")
        self.tls = ClientTls(places, cast(MasterClient, self.worker), self.metrics, lambda: self.now)
        return self.tls

    def mount(self, pair: Pair | None) -> None:
        place = self.root / "tls" / TLS.secret
        place.mkdir(parents=True, exist_ok=True)
        for name in ("tls.crt", "tls.key"):
            (place / name).unlink(missing_ok=True)
        for name, data in (pair.secret if pair else {}).items():
            (place / name).write_bytes(data)
        if pair and not self.now:
            self.now = pair.ends - 3600

    async def step(self, running: Running | None) -> str:
        self.tls.look(TLS)
        await self.tls.serve(running)
        return self.tls.fault

    @property
    def served(self) -> bytes:
        return self.tls.places.file.read_bytes()


@pytest.fixture
def kubelet(tmp_path: Path) -> Kubelet:
    return Kubelet(tmp_path)


def bundle_of(pair: Pair) -> bytes:
    return pair.certificate + pair.key


def running(desired: Desired, pid: int = 7) -> Running:
    started = MapEntry(STARTED_WITH, base64.urlsafe_b64encode(encode_desired(desired)).decode())
    return Running(WorkerState(pid, {}, {MapName.STATE: (started,)}))


PLAIN, SECURE = running(make_desired()), running(make_desired(tls=TLS))


@pytest.mark.parametrize(
    ("certificate", "key"),
    [
        (OURS.certificate, OURS.key),
        (OURS.certificate + THEIRS.certificate, OURS.key),
        (OURS.certificate.replace(b"\n", b"\r\n"), b"\n\n" + OURS.key),
        (b"subject=/CN=shop\n" + OURS.certificate + b"\n\n", b"Bag Attributes\n" + OURS.key),
        (OLD_FORM.certificate, written(EC_KEY, form="TraditionalOpenSSL")),
        (
            OLD_FORM.certificate,
            b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
            + written(EC_KEY, form="TraditionalOpenSSL"),
        ),
    ],
    ids=["plain", "chain", "carriage returns", "remarks", "older form", "parameters"],
)
def test_what_tools_write_is_made_one_text_without_an_empty_line(
    certificate: bytes, key: bytes, tmp_path: Path
) -> None:
    made = make_bundle(Content(certificate, key), tmp_path)
    assert b"\n\n" not in made.pem
    assert b"\r" not in made.pem
    assert made.pem.startswith(b"-----BEGIN CERTIFICATE-----\n")
    assert made.pem.count(b"PRIVATE KEY-----\n") == 2
    assert list(tmp_path.iterdir()) == [], "no key is left behind"


WEAK = make_pair(key=rsa.generate_private_key(65537, 1024))
CUT = OURS.key.splitlines(keepends=True)
BROKEN = {
    "no certificate in PEM": (b"", OURS.key),
    "tls.crt holds no certificate in PEM": (OURS.key, OURS.key),
    "it is no X.509 certificate": (
        b"-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n",
        OURS.key,
    ),
    "has to hold one private key in PEM, and holds 0": (OURS.certificate, OURS.certificate),
    "has to hold one private key in PEM, and holds 2": (OURS.certificate, OURS.key + THEIRS.key),
    "does not belong to the first certificate": (OURS.certificate, THEIRS.key),
    "first certificate in tls.crt": (THEIRS.certificate + OURS.certificate, OURS.key),
    "too short": (WEAK.certificate, WEAK.key),
    "certificate or private key can't be read": (OURS.certificate, b"".join((*CUT[:1], *CUT[2:]))),
    "has a passphrase": (OLD_FORM.certificate, written(EC_KEY, b"secret")),
    "has a passphrase: store": (OLD_FORM.certificate, written(EC_KEY, b"secret", "TraditionalOpenSSL")),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_what_can_not_serve_is_refused_with_what_is_wrong_and_without_a_word_of_the_key(
    fault: str, tmp_path: Path
) -> None:
    certificate, key = BROKEN[fault]
    with pytest.raises(InvalidKeys, match=fault) as caught:
        make_bundle(Content(certificate, key), tmp_path)
    for line in key.splitlines():
        assert len(line) < 20 or line.startswith(b"-----") or line.decode() not in str(caught.value)


def test_a_key_stands_in_no_representation(tmp_path: Path) -> None:
    content = Content(OURS.certificate, OURS.key)
    made = make_bundle(content, tmp_path)
    command = SetCertificate("/run/clients.pem", made.pem.decode())
    secret = OURS.key.splitlines()[1].decode()
    assert secret in command.text
    assert secret not in f"{content!r} {made!r} {command!r}"
    with pytest.raises(CommandRefused) as caught:
        command.parse(f"Unknown command: '{secret}', but maybe one of the following ones is a better match:")
    assert secret not in f"{caught.value!r} {caught.value} {caught.value.command} {caught.value.answer}"


@pytest.mark.parametrize(
    ("files", "fault"),
    [((), "it has not reached this proxy"), (("tls.crt",), "no tls.key"), (("tls.key",), "no tls.crt")],
)
def test_what_is_missing_of_a_secret_is_named(files: Sequence[str], fault: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).write_bytes(OURS.secret[name])
    with pytest.raises(InvalidKeys, match=fault):
        read_content(tmp_path)


async def test_the_running_worker_takes_it_before_the_file_does(kubelet: Kubelet) -> None:
    kubelet.mount(OURS)
    assert await kubelet.step(None) == ""
    assert (kubelet.worker.commands, kubelet.served) == ([], bundle_of(OURS)), (
        "nothing runs: it starts from it"
    )
    kubelet.mount(THEIRS)
    kubelet.worker.gone = True
    with pytest.raises(Unreachable):
        await kubelet.step(SECURE)
    assert kubelet.served == bundle_of(OURS)
    kubelet.worker.gone = False
    await kubelet.step(SECURE)
    assert (kubelet.worker.commands, kubelet.served) == (["set", "commit"], bundle_of(THEIRS))
    await kubelet.step(SECURE)
    assert kubelet.worker.commands == ["set", "commit"], "once is enough"
    await kubelet.step(running(make_desired(tls=TLS), 8))
    assert kubelet.worker.commands == ["set", "commit"] * 2, (
        "a new worker may have started from an older file"
    )


@pytest.mark.parametrize("verb", ["set", "commit"])
async def test_what_haproxy_refuses_leaves_worker_and_file_as_they_were_and_is_not_tried_again(
    kubelet: Kubelet, verb: str
) -> None:
    kubelet.mount(OURS)
    await kubelet.step(SECURE)
    kubelet.mount(THEIRS)
    kubelet.worker.answers[verb] = "inconsistencies between private key and certificate\nCan't commit!\n"
    kubelet.worker.commands.clear()
    for _ in range(3):
        fault = await kubelet.step(SECURE)
        assert fault == (
            "Secret shop-tls: HAProxy refuses it: inconsistencies between private key and certificate Can't commit!"
        )
    assert kubelet.worker.commands.count(verb) == 1
    assert "abort" in kubelet.worker.commands
    assert (kubelet.served, kubelet.tls.report) == (bundle_of(OURS), TlsReport(OURS.ends, fault))
    kubelet.worker.answers.clear()
    kubelet.mount(make_pair())
    assert await kubelet.step(SECURE) == ""


async def test_a_certificate_is_taken_at_the_moment_from_which_it_is_valid(kubelet: Kubelet) -> None:
    later = make_pair(DAY)
    kubelet.mount(OURS)
    kubelet.now = later.ends - 89 * 86400 - 1
    await kubelet.step(SECURE)
    kubelet.mount(later)
    assert "is not valid before" in await kubelet.step(SECURE)
    assert kubelet.served == bundle_of(OURS)
    kubelet.now += 1
    assert await kubelet.step(SECURE) == ""
    assert kubelet.served == bundle_of(later)


async def test_one_that_ends_while_it_serves_is_told_and_stays(kubelet: Kubelet) -> None:
    kubelet.mount(OURS)
    assert await kubelet.step(SECURE) == ""
    kubelet.now = OURS.ends
    assert "the certificate ended" in await kubelet.step(SECURE)
    assert kubelet.tls.report is not None
    assert (kubelet.served, kubelet.tls.report.expires) == (bundle_of(OURS), OURS.ends)


async def test_an_agent_that_starts_anew_knows_the_last_good_one(kubelet: Kubelet) -> None:
    kubelet.mount(OURS)
    await kubelet.step(SECURE)
    kubelet.mount(None)
    kubelet.restarted()
    assert "it has not reached this proxy" in await kubelet.step(SECURE)
    assert kubelet.tls.report is not None
    assert kubelet.tls.report.expires == OURS.ends


def test_who_has_no_certificate_waits_unless_clients_are_served_without(kubelet: Kubelet) -> None:
    desired = make_desired(tls=TLS)
    kubelet.tls.look(TLS)
    assert kubelet.tls.servable(desired, None) == make_desired(), "this pod was made before TLS was asked for"
    kubelet.mount(None)
    kubelet.tls.look(TLS)
    assert kubelet.tls.servable(desired, None) is None
    assert kubelet.tls.servable(desired, PLAIN) == make_desired()
    assert kubelet.tls.servable(make_desired(), None) == make_desired()
    kubelet.mount(OURS)
    kubelet.tls.look(TLS)
    assert kubelet.tls.servable(desired, PLAIN) == desired


async def test_without_tls_nothing_is_told_of_a_certificate(kubelet: Kubelet) -> None:
    kubelet.mount(OURS)
    await kubelet.step(SECURE)
    assert kubelet.tls.look(None) is True
    await kubelet.tls.serve(PLAIN)
    assert kubelet.tls.report is None
    assert (
        kubelet.metrics.registry.get_sample_value("sticky_agent_tls_certificate_expiry_timestamp_seconds")
        == 0
    )


def test_commands_are_literal() -> None:
    assert SetCertificate("/run/c.pem", "PEM\n").text == "set ssl cert /run/c.pem <<\nPEM\n"
    assert CommitCertificate("/run/c.pem").text == "commit ssl cert /run/c.pem"
    assert AbortCertificate("/run/c.pem").text == "abort ssl cert /run/c.pem"
    with pytest.raises(CommandRefused, match="Can't commit"):
        CommitCertificate("/run/c.pem").parse("No ongoing transaction! !\nCan't commit /run/c.pem!\n")
