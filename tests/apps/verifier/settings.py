"""What a run of the verifier is told."""

from dataclasses import dataclass


class SettingsError(ValueError):
    """The run cannot start; the message says which setting to change."""


@dataclass(frozen=True, slots=True)
class Target:
    """One address of the proxies."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Settings:
    """One run.

    ``targets``: addresses that the connections are spread over. ``rate``: requests per second, all sessions
    together. ``births_per_second``: sessions added while running, beside the first ``sessions``. ``workers``:
    requests in flight at most. ``reopen``: share of requests after which the connection is closed, so that a
    session meets every proxy. ``timeout``: seconds one request may take. ``limit``: requests after which the
    run sends no more (0: no limit).
    """

    targets: tuple[Target, ...]
    sessions: int = 500
    rate: float = 500.0
    births_per_second: float = 1.0
    workers: int = 32
    reopen: float = 0.05
    timeout: float = 10.0
    limit: int = 0
    max_sessions: int = 5000
    seed: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot run."""
        if not self.targets:
            raise SettingsError("no target: name at least one address of the proxies (--target HOST:PORT)")
        if not 1 <= self.sessions <= self.max_sessions:
            raise SettingsError(f"sessions is {self.sessions}: choose 1 to {self.max_sessions}")
        if self.rate <= 0 or self.workers < 1 or self.timeout <= 0:
            raise SettingsError("rate and timeout must be above 0, workers at least 1")
        if not 0 <= self.reopen <= 1:
            raise SettingsError(f"reopen is {self.reopen}: it is a share from 0 to 1")


def parse_target(text: str) -> Target:
    """Parse "host:port", "[ip6]:port" or "http://host:port"."""
    bare = text.removeprefix("http://").rstrip("/")
    host, colon, port = bare.rpartition(":")
    if not colon or not port.isdecimal() or not host.strip("[]"):
        raise SettingsError(f"target {text!r}: write it as HOST:PORT, for example 198.18.192.7:8080")
    return Target(host.strip("[]"), int(port))
