"""While a pod is added, one command of the agent's plan after the other, no session of it is given to another pod."""

from pathlib import Path

import msgspec
import pytest

from haproxy.harness import KEYS, Answer
from haproxy.lost_site import HOW, PODS, Site, make_site
from stickyrouting.agent.ending import Stage
from stickyrouting.agent.observe import observe
from stickyrouting.agent.plan import make_plan
from stickyrouting.agent.steps import ReplaceMap, Step
from stickyrouting.agent.target import make_target
from stickyrouting.model.desired import Algorithm, Lost, Placement
from stickyrouting.render.haproxy_names import NEWBORN
from stickyrouting.render.maps import MapName, hint

NEW = 4


async def steps_to_grow(site: Site) -> tuple[Step, ...]:
    """Return what the agent's plan tells the worker once the new pod is listed."""
    listed = tuple(site.pods.endpoint(id_) for id_ in (*PODS, NEW))
    desired = msgspec.structs.replace(site.proxy.desired, endpoints=listed, highest_id=NEW)
    running = await observe(site.proxy.master, site.proxy.settings)
    assert running is not None
    plan = make_plan(make_target(desired, KEYS, Stage.SERVING), running, site.proxy.settings)
    (worker,) = plan.workers
    return worker.steps


async def take(site: Site, step: Step) -> None:
    """Do one step."""
    if isinstance(step, ReplaceMap):
        await site.proxy.runtime.replace_map(site.proxy.settings.map_path(step.name), step.entries)
    else:
        await site.proxy.runtime.run(step)


def assert_its_own(answer: Answer) -> None:
    """Assert that the session's own pod answered, or that its client was asked to come back."""
    assert (answer.status, answer.pod) in ((503, 0), (200, NEW))


@HOW
@pytest.mark.parametrize("algorithm", [Algorithm.LEAST_SESSIONS, Algorithm.ROUND_ROBIN])
async def test_no_step_gives_a_session_of_the_new_pod_to_another_nor_a_birth_a_cookie_without_its_pod(
    algorithm: Algorithm, lost: Lost, tmp_path: Path
) -> None:
    async with make_site(tmp_path, lost, placement=Placement(algorithm)) as site:
        await site.pods.start(NEW)
        cookie, _ = await site.client.born()
        await site.proxy.bind(cookie, NEW)
        steps = await steps_to_grow(site)
        assert len(steps) > 5
        for step in steps:
            await take(site, step)
            # Its next request takes the slow path as long as no answer of the pod has come.
            assert_its_own(await site.client.get(cookie))
            assert await site.proxy.value(cookie) & ~NEWBORN == NEW
            births = [await site.client.get() for _ in range(8)]
            assert [b.cookie.split(".")[1] for b in births] == [hint(KEYS.hint_key, b.pod) for b in births]
        assert (await site.client.get(cookie)).pod == NEW
        assert NEW in {(await site.client.get()).pod for _ in range(32)}


async def test_the_steps_add_a_server_then_name_it_then_let_it_take_births(tmp_path: Path) -> None:
    async with make_site(tmp_path, Lost(), placement=Placement(Algorithm.LEAST_SESSIONS)) as site:
        await site.pods.start(NEW)
        steps = await steps_to_grow(site)
    words = [step.name if isinstance(step, ReplaceMap) else step.text.split(" app/")[0] for step in steps]
    added = words.index("add server")
    assert words[added:] == [
        "add server",
        "enable health",
        "enable server",
        MapName.HINT2ID,
        MapName.ID2HINT,
        MapName.BIRTHS,
        "set server",
    ]
