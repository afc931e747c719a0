"""Session counts as the product shows them: by pod in the status, in all by every proxy. Parsing is pure."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from demo.kube import Kubectl
from demo.pods import Health, list_pods
from demo.settings import NAMESPACE, PROXY_SELECTOR, SHOP

AGENT_METRICS = 9404
AGENT_SESSIONS = "sticky_agent_sessions"
AGENT_FAILED_OVER = "sticky_agent_failed_over_sessions_total"
SHARE = 0.05
"""While sessions come and go, the status writes a number anew only when it moved by more than this share."""


@dataclass(frozen=True, slots=True)
class Counts:
    """``pods``: what the status says of each, None while it says nothing. ``proxies``: what each counts in all."""

    pods: dict[str, int] | None = None
    proxies: dict[str, int] = field(default_factory=dict)


def parse_status(sticky: Mapping[str, Any]) -> dict[str, int] | None:
    """Sessions by pod from a StickyService; None while its counts can't be used."""
    status = sticky.get("status", {})
    if "sessions" not in status:
        return None
    return {e["name"]: e["sessions"] for e in status.get("endpoints", []) if "sessions" in e}


def parse_metric(text: str, name: str) -> float:
    """Value of a metric without labels in the text format; raises ``ValueError`` if there is none."""
    for line in text.splitlines():
        word, _, value = line.partition(" ")
        if word == name:
            return float(value)
    raise ValueError(f"no metric {name}")


def sum_metric(text: str, name: str) -> float:
    """Sum of a metric over all its labels in the text format; 0 if there is none."""
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(f"{name}{{"))


def differences(counts: Counts, truth: Mapping[str, int], share: float = SHARE) -> list[str]:
    """What is counted otherwise than it is: every proxy exactly, the status up to ``share`` for each pod."""
    if counts.pods is None:
        return ["the status gives no numbers"]
    total = sum(truth.values())
    found = [f"proxy {name}: {seen} of {total}" for name, seen in counts.proxies.items() if seen != total]
    if not counts.proxies:
        found.append("no proxy counts")
    for pod in sorted(truth.keys() | counts.pods.keys()):
        there, seen = truth.get(pod, 0), counts.pods.get(pod, 0)
        if abs(there - seen) > share * max(there, seen):
            found.append(f"status of {pod}: {seen} of {there}")
    return found


async def read_counts(kubectl: Kubectl, namespace: str = NAMESPACE) -> Counts:
    """Counts now."""
    sticky, proxies = await asyncio.gather(
        kubectl.get("stickyservice", SHOP, "-n", namespace), list_pods(kubectl, namespace, PROXY_SELECTOR)
    )
    ready = [pod.name for pod in proxies if pod.health is Health.READY]
    sums = await asyncio.gather(*(_sessions_of(kubectl, namespace, pod) for pod in ready))
    return Counts(parse_status(sticky), dict(zip(ready, sums, strict=True)))


async def read_failed_over(kubectl: Kubectl) -> int:
    """Sessions that the present proxies have counted as failed over since they began."""
    proxies = await list_pods(kubectl, NAMESPACE, PROXY_SELECTOR)
    texts = await asyncio.gather(*(_metrics_of(kubectl, NAMESPACE, pod.name) for pod in proxies))
    return int(sum(sum_metric(text, AGENT_FAILED_OVER) for text in texts))


async def _sessions_of(kubectl: Kubectl, namespace: str, pod: str) -> int:
    return int(parse_metric(await _metrics_of(kubectl, namespace, pod), AGENT_SESSIONS))


async def _metrics_of(kubectl: Kubectl, namespace: str, pod: str) -> str:
    return await kubectl.run(
        "get", "--raw", f"/api/v1/namespaces/{namespace}/pods/{pod}:{AGENT_METRICS}/proxy/metrics"
    )
