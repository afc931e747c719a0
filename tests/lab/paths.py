"""Where things live: the checkout, its kubeconfig and the cache that all checkouts of a user share."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Places:
    """The folders of one checkout and of the cache."""

    checkout: Path
    cache: Path

    @property
    def state(self) -> Path:
        """Everything of the running cluster; removed by ``down``."""
        return self.cache / "cluster"

    @property
    def kubeconfig(self) -> Path:
        """Where ``up`` writes the administrator's kubeconfig."""
        return self.checkout / "build" / "kubeconfig"


def places(environ: Mapping[str, str] = os.environ, checkout: Path = CHECKOUT) -> Places:
    """Return the folders: STICKY_CACHE, else XDG_CACHE_HOME/sticky-routing, else ~/.cache/sticky-routing."""
    base = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME", "/root")) / ".cache")
    cache = environ.get("STICKY_CACHE") or str(Path(base) / "sticky-routing")
    return Places(checkout=checkout, cache=Path(cache).absolute())
