"""A session whose pod is gone and that is not used again has ended by that, not by its idle time."""

import pytest
from prometheus_client import CollectorRegistry

from stickyrouting.affinity.lifetime import Lifetime
from stickyrouting.affinity.map import AffinityMap
from stickyrouting.affinity.outcome import Trust
from stickyrouting.agent.expiry import Expiry
from stickyrouting.agent.hub import Hub
from stickyrouting.metrics.agent import AGENT
from stickyrouting.metrics.table import Metrics

EPOCH, START, IDLE = 1_795_209_000, 1000.0, 600


@pytest.mark.parametrize(
    ("used_again_on", "ends"),
    [(None, {"idle": 1, "lost": 1}), (2, {"idle": 2}), (3, {"idle": 1, "lost": 1})],
    ids=["not used again", "failed over", "failed over to one that went too"],
)
async def test_a_session_lost_with_its_pod_is_counted_as_lost_unless_it_failed_over(
    used_again_on: int | None, ends: dict[str, float]
) -> None:
    now, listed, registry = [START], {1, 2}, CollectorRegistry()
    lifetime, metrics = Lifetime(IDLE, 43200, EPOCH), Metrics(AGENT, registry)
    held = AffinityMap(lifetime, lambda id_: id_ in listed)
    hub = Hub(lambda: None, held, metrics, lambda: None, lambda: now[0])
    expiry = Expiry(hub, metrics, lambda: lifetime)
    for number, pod in enumerate((1, 2)):
        key = f"{EPOCH + int(START)}{number:022}".encode()
        held.report((key, pod, IDLE * 1000), Trust.CHANGE, now[0])
        if number == 0 and used_again_on is not None:
            held.report((key, used_again_on, IDLE * 1000), Trust.CHANGE, now[0])
    listed.remove(1)
    now[0] += IDLE + 2
    await expiry.step()
    told = {
        sample.labels["reason"]: sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "sticky_agent_session_ends_total"
    }
    assert told == ends
