"""What the demo is told, and the names that it uses."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
REPORT = CHECKOUT / "build" / "demo.json"
EXAMPLES = CHECKOUT / "deploy" / "examples"
CHART = CHECKOUT / "deploy" / "helm"

NAMESPACE = "demo"
SYSTEM = "sticky-routing"
RELEASE = "sticky-routing"
SHOP = "shop"
PROXY = "shop-sticky"
SHOP_SELECTOR = "app=shop"
PROXY_SELECTOR = "app.kubernetes.io/name=sticky-proxy,app.kubernetes.io/instance=shop"
OPERATOR_SELECTOR = f"app.kubernetes.io/instance={RELEASE}"


class SettingsError(ValueError):
    """The demo cannot start; the message says which variable to change."""


@dataclass(frozen=True, slots=True)
class Settings:
    """``least``: verified requests in each phase, ``total`` in all. ``rate``, ``births``, ``newcomers``: per
    second. Times in seconds.
    """

    sessions: int = 500
    rate: float = 800.0
    births: float = 2.0
    least: int = 12_000
    total: int = 100_000
    operator_gone: float = 30.0
    unready: float = 20.0
    newcomers: float = 60.0
    idle: float = 45.0


def parse_settings(environ: Mapping[str, str]) -> Settings:
    """Settings from DEMO_SESSIONS, DEMO_RATE, DEMO_LEAST and DEMO_TOTAL; raise ``SettingsError``."""
    standard = Settings()
    return Settings(
        sessions=int(number(environ, "DEMO_SESSIONS", standard.sessions)),
        rate=number(environ, "DEMO_RATE", standard.rate),
        least=int(number(environ, "DEMO_LEAST", standard.least)),
        total=int(number(environ, "DEMO_TOTAL", standard.total)),
    )


def number(environ: Mapping[str, str], name: str, standard: float) -> float:
    """A number above 0 in variable ``name``."""
    text = environ.get(name, "")
    if not text:
        return standard
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise SettingsError(f"{name}={text!r}: give a number above 0, or leave it out for {standard:g}")
    return value
