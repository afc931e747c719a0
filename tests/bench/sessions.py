"""Sessions of the bench: opened through a proxy, and asked for again to see that they stay."""

import http.client
from collections.abc import Sequence
from dataclasses import dataclass

from bench.process import HOST, PATIENCE_SECONDS
from bench.ratio import BenchError

TAKING_UP = 3
"""Our proxy gives a cookie at the first answer and confirms it at the second; the third is on the fast path."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the server's name, and the cookie as ``name=value``, empty without one."""

    server: str
    cookie: str


@dataclass(frozen=True, slots=True)
class Session:
    """A session on its server."""

    cookie: str
    server: str


def open_sessions(port: int, count: int) -> list[Session]:
    """Open sessions; each goes on without a new cookie, else ``BenchError``."""
    link = connect(port)
    try:
        return [_open(link) for _ in range(count)]
    finally:
        link.close()


def name_sessions(port: int, count: int) -> list[Session]:
    """Open sessions whose cookies are made here, for a proxy that makes none."""
    link = connect(port)
    try:
        cookies = [f"STICKY=session-{number:06}" for number in range(count)]
        return [Session(cookie, get(link, cookie).server) for cookie in cookies]
    finally:
        link.close()


def check_sessions(port: int, sessions: Sequence[Session]) -> None:
    """Ask once more for every session; raises ``BenchError`` if one is on another server now."""
    link = connect(port)
    try:
        # In order of the servers: taking turns would otherwise meet each session's server by chance.
        for session in sorted(sessions, key=lambda each: each.server):
            server = get(link, session.cookie).server
            if server != session.server:
                raise BenchError(
                    f"a session moved from {session.server} to {server}, the bench does not count"
                )
    finally:
        link.close()


def connect(port: int) -> http.client.HTTPConnection:
    """Return a connection that is kept alive."""
    return http.client.HTTPConnection(HOST, port, timeout=PATIENCE_SECONDS)


def get(link: http.client.HTTPConnection, cookie: str) -> Answer:
    """Send one request; raises ``BenchError`` if the answer is not 200."""
    link.request("GET", "/", headers={"Cookie": cookie} if cookie else {})
    response = link.getresponse()
    body = response.read().decode()
    if response.status != 200:
        raise BenchError(f"{link.host}:{link.port} answered {response.status}, the bench does not count")
    return Answer(body, parse_cookie(response.getheader("Set-Cookie", "")))


def parse_cookie(header: str) -> str:
    """Return ``name=value`` of a Set-Cookie header (RFC 6265, section 5.2)."""
    return header.partition(";")[0].strip()


def _open(link: http.client.HTTPConnection) -> Session:
    cookie, answer = "", Answer("", "")
    for _ in range(TAKING_UP):
        answer = get(link, cookie)
        cookie = answer.cookie or cookie
    if not cookie or answer.cookie:
        raise BenchError(f"no session that goes on: cookie {cookie!r}, last answer {answer}")
    return Session(cookie, answer.server)
