"""Which provider is used: STICKY_PROVIDER says it, else kind where a Docker engine answers, else native."""

import os
from collections.abc import Callable, Mapping

from lab import docker
from lab.current import CurrentCluster
from lab.errors import LabError
from lab.kind import KindCluster
from lab.native.cluster import NativeCluster
from lab.paths import Places, places
from lab.provider import Provider

VARIABLE = "STICKY_PROVIDER"
NAMES = ("kind", "native", "current")


def choose_name(environ: Mapping[str, str], docker_answers: Callable[[], bool]) -> str:
    """Return the provider's name; raises LabError for an unknown one."""
    wanted = environ.get(VARIABLE, "")
    if wanted and wanted not in NAMES:
        raise LabError(f"{VARIABLE}={wanted} is unknown; use one of {', '.join(NAMES)}")
    return wanted or ("kind" if docker_answers() else "native")


def choose(environ: Mapping[str, str] = os.environ, where: Places | None = None) -> Provider:
    """Return the provider for this machine and environment."""
    at = where or places(environ)
    match choose_name(environ, docker.answers):
        case "kind":
            return KindCluster(at)
        case "current":
            return CurrentCluster(environ)
        case _:
            return NativeCluster(at)
